package filewire

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"path"
)

// File is a file and its whole content.
type File struct {
	Path    string
	Content []byte
}

// request is what one run of assay-node files is asked for: one of the three.
type request struct {
	read  []string
	write []File
	open  *opening
}

type opening struct {
	path   string
	offset int64
}

// ReadRequest asks for files.
func ReadRequest(paths []string) ([]byte, error) { return request{read: paths}.encode() }

// WriteRequest asks to make or replace files.
func WriteRequest(files []File) ([]byte, error) { return request{write: files}.encode() }

// OpenRequest asks for a file from an offset in bytes.
func OpenRequest(file string, offset int64) ([]byte, error) {
	return request{open: &opening{file, offset}}.encode()
}

func (r request) encode() ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	f := newFrames(&b)
	for _, p := range r.read {
		f.frame(kindRead, []byte(p))
	}
	for _, w := range r.write {
		f.frame(kindWrite, binary.BigEndian.AppendUint16(nil, uint16(len(w.Path))), []byte(w.Path), w.Content)
	}
	if r.open != nil {
		f.frame(kindOpen, binary.BigEndian.AppendUint64(nil, uint64(r.open.offset)), []byte(r.open.path))
	}
	err := f.end()
	return b.Bytes(), err
}

func (r request) check() error {
	for _, p := range r.read {
		if err := checkPath("read", p); err != nil {
			return err
		}
	}
	for _, w := range r.write {
		if err := checkPath("write", w.Path); err != nil {
			return err
		}
		if len(w.Content) > MaxFile {
			return fmt.Errorf("write %s: %d bytes are more than the %d MiB that are written whole", w.Path, len(w.Content), MaxFile>>20)
		}
	}
	if r.open == nil {
		return nil
	}
	if r.open.offset < 0 {
		return fmt.Errorf("open %s: the offset %d is negative", r.open.path, r.open.offset)
	}
	return checkPath("open", r.open.path)
}

func checkPath(verb, p string) error {
	if !path.IsAbs(p) {
		return fmt.Errorf("%s %q: it is not an absolute path", verb, p)
	}
	if len(p) >= 1<<16 {
		return fmt.Errorf("%s %.40q...: the path is longer than 64 KiB", verb, p)
	}
	return nil
}

// parseRequest reads a whole request, before anything of it is done.
func parseRequest(r io.Reader) (request, error) {
	var out request
	u := unframes{r: r}
	for {
		k, b, err := u.next()
		if err != nil {
			return request{}, fmt.Errorf("request: %w", err)
		}
		switch {
		case k == kindEnd && len(b) == 0:
			if err := out.whole(); err != nil {
				return request{}, fmt.Errorf("request: %w", err)
			}
			return out, nil
		case k == kindRead:
			out.read = append(out.read, string(b))
		case k == kindWrite && len(b) >= 2 && len(b) >= 2+int(binary.BigEndian.Uint16(b)):
			n := 2 + int(binary.BigEndian.Uint16(b))
			out.write = append(out.write, File{string(b[2:n]), b[n:]})
		case k == kindOpen && len(b) >= 8 && out.open == nil:
			out.open = &opening{string(b[8:]), int64(binary.BigEndian.Uint64(b))}
		default:
			return request{}, fmt.Errorf("request: %w: a frame %q of %d bytes", errCut, byte(k), len(b))
		}
	}
}

// whole refuses a request that asks for two kinds of things.
func (r request) whole() error {
	kinds := 0
	for _, asked := range []bool{len(r.read) > 0, len(r.write) > 0, r.open != nil} {
		if asked {
			kinds++
		}
	}
	if kinds > 1 {
		return fmt.Errorf("%w: it asks for more than one kind of thing", errCut)
	}
	return r.check()
}
