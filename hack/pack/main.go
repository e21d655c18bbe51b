// Pack compresses a file with zstd: pack FILE PACKED. The same file makes the same bytes. It unpacks five times as fast as
// gzip, which matters to a program that starts.
package main

import (
	"fmt"
	"os"

	"github.com/klauspost/compress/zstd"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("%d arguments, want FILE PACKED", len(args))
	}
	text, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	w, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	return os.WriteFile(args[1], w.EncodeAll(text, nil), 0o600)
}
