package node

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// Lines of many writers are whole in the file, each once, however flushes fall between them; no write waits for one.
func TestBuffered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lines")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	b := &buffered{file: file}
	const writers, lines = 4, 2000
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := range lines {
				if _, err := fmt.Fprintf(b, "%d-%d\n", w, i); err != nil {
					t.Error(err)
				}
				if i%100 == 0 {
					if err := b.flush(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
	b.writing.Lock() // a flush that takes long
	written := make(chan struct{})
	go func() {
		defer close(written)
		if _, err := b.Write([]byte("last\n")); err != nil {
			t.Error(err)
		}
	}()
	<-written
	b.writing.Unlock()
	if err := b.flush(); err != nil {
		t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for line := range bytes.Lines(got) {
		seen[string(line)]++
	}
	if len(seen) != writers*lines+1 || seen["last\n"] != 1 || bytes.Count(got, []byte("\n")) != len(seen) {
		t.Errorf("%d lines, %d of them differ, want %d", bytes.Count(got, []byte("\n")), len(seen), writers*lines+1)
	}
}
