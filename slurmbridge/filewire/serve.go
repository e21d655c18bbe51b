package filewire

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// atOnce is how many files are read side by side: on a network file system each takes a round trip of its own.
const atOnce = 16

// Serve does what one request asks for, on this host. What goes wrong with a file is in the answer; an error says that
// the request could not be read or the answer not be written.
func Serve(in io.Reader, out io.Writer) error {
	r, err := parseRequest(in)
	if err != nil {
		return err
	}
	f := newFrames(out)
	var failed *FileError
	switch {
	case r.open != nil:
		failed = serveOpen(f, *r.open)
	case len(r.write) > 0:
		failed = serveWrite(r.write)
	default:
		failed = serveRead(f, r.read)
	}
	if failed != nil {
		failed.encode(f)
	}
	if err := f.end(); err != nil {
		return fmt.Errorf("answer: %w", err)
	}
	return nil
}

// look is what reading a file gave: its content, or nil when it is missing.
type look struct {
	content []byte
	missing bool
	err     error
}

func serveRead(f *frames, paths []string) *FileError {
	for len(paths) > 0 {
		now := paths[:min(len(paths), atOnce)]
		paths = paths[len(now):]
		looks := make([]look, len(now))
		var reading sync.WaitGroup
		for i, p := range now {
			reading.Go(func() { looks[i] = readWhole(p) })
		}
		reading.Wait()
		for i, l := range looks {
			switch {
			case l.err != nil:
				return failureOf("read", now[i], l.err)
			case l.missing:
				f.frame(kindMissing)
			default:
				f.frame(kindContent, l.content)
			}
		}
	}
	return nil
}

func readWhole(path string) look {
	file, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return look{missing: true}
	}
	if err != nil {
		return look{err: err}
	}
	b, err := io.ReadAll(io.LimitReader(file, MaxFile+1))
	if err = errors.Join(err, file.Close()); err == nil && len(b) > MaxFile {
		err = fmt.Errorf("it holds more than the %d MiB that are read whole: open it", MaxFile>>20)
	}
	return look{content: b, err: err}
}

func serveWrite(files []File) *FileError {
	for _, w := range files {
		dir := filepath.Dir(w.Path)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return failureOf("mkdir", dir, err)
		}
		if err := writeWhole(w); err != nil {
			return failureOf("write", w.Path, err)
		}
	}
	return nil
}

// writeWhole writes beside the file and renames. CreateTemp makes mode 0600.
func writeWhole(w File) error {
	f, err := os.CreateTemp(filepath.Dir(w.Path), ".write-*")
	if err != nil {
		return err
	}
	_, err = f.Write(w.Content)
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), w.Path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // what failed before counts
	}
	return err
}

func serveOpen(f *frames, o opening) *FileError {
	file, err := os.Open(o.path)
	if err != nil {
		return failureOf("open", o.path, err)
	}
	defer file.Close()
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return failureOf("open", o.path, syscall.EISDIR)
	}
	if _, err := file.Seek(o.offset, io.SeekStart); err != nil {
		return failureOf("seek", o.path, err)
	}
	f.frame(kindOpened)
	buffer := make([]byte, 256<<10)
	for {
		if f.flush() != nil {
			return nil // Serve says so: the reader has gone
		}
		n, err := file.Read(buffer)
		if n > 0 {
			f.frame(kindContent, buffer[:n])
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return failureOf("read", o.path, err)
		}
	}
}
