package node

import (
	"io"
	"os"
	"strings"
	"unicode/utf8"
)

// How much of a server's log goes into a message.
const (
	tailBytes = 4096
	tailLines = 12
)

// logTail returns the last lines of a file behind an offset, valid UTF-8 and without control characters.
func logTail(path string, from int64) string {
	lines := strings.Split(logWords(path, from, tailBytes), "\n")
	return strings.Join(lines[max(0, len(lines)-tailLines):], "\n")
}

// logWords returns the last bytes of a file behind an offset, valid UTF-8 and without control characters.
func logWords(path string, from, most int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	if _, err := f.Seek(max(from, end-most), io.SeekStart); err != nil {
		return ""
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(string(b), "")))
}

func printable(r rune) rune {
	if r == '\n' || r == '\t' || (r >= ' ' && r != 0x7f && r != utf8.RuneError) {
		return r
	}
	return -1
}

// withLog adds the last lines of a log to a message.
func withLog(message, tail string) string {
	if tail == "" {
		return message + " (its log is empty)"
	}
	return message + "; its last words:\n" + tail
}
