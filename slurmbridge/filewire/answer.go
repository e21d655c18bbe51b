package filewire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
)

// FileError is an error of the other host's file system. It wraps *fs.PathError, and with it what it is, where a caller may
// want to know: an error of package fs, or that there is no room.
type FileError struct {
	Op, Path, Words string
	kind            byte
}

// Error is as that of fs.PathError.
func (f *FileError) Error() string { return f.Op + " " + f.Path + ": " + f.Words }

// Unwrap returns a *fs.PathError of what the error is, or of its words.
func (f *FileError) Unwrap() error {
	for _, k := range failureKinds() {
		if k.number == f.kind {
			return &fs.PathError{Op: f.Op, Path: f.Path, Err: k.is}
		}
	}
	return &fs.PathError{Op: f.Op, Path: f.Path, Err: errors.New(f.Words)}
}

type failureKind struct {
	number byte
	is     error
}

// failureKinds are the errors that keep their identity on the way. A number is never used again for another.
func failureKinds() []failureKind {
	return []failureKind{
		{1, fs.ErrNotExist}, {2, fs.ErrPermission}, {3, syscall.ENOSPC}, {4, syscall.EDQUOT}, {5, syscall.ENOTDIR}, {6, syscall.EISDIR},
	}
}

// failureOf makes a FileError of any error, about a path.
func failureOf(op, path string, err error) *FileError {
	f := &FileError{Op: op, Path: path, Words: err.Error()}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		f.Words = number.Error() // without the name of the file that would have become the one that was meant
	}
	for _, k := range failureKinds() {
		if errors.Is(err, k.is) {
			f.kind = k.number
			break
		}
	}
	return f
}

func (f *FileError) encode(to *frames) {
	parts := [][]byte{{f.kind}}
	for _, s := range []string{f.Op, f.Path, f.Words} {
		s = s[:min(len(s), 1<<16-1)]
		parts = append(parts, binary.BigEndian.AppendUint16(nil, uint16(len(s))), []byte(s))
	}
	to.frame(kindFailure, parts...)
}

func parseFailure(b []byte) error {
	if len(b) < 1 {
		return fmt.Errorf("answer: %w: an empty failure", errCut)
	}
	f := &FileError{kind: b[0]}
	b = b[1:]
	for _, s := range []*string{&f.Op, &f.Path, &f.Words} {
		if len(b) < 2 || len(b) < 2+int(binary.BigEndian.Uint16(b)) {
			return fmt.Errorf("answer: %w: a short failure", errCut)
		}
		n := 2 + int(binary.BigEndian.Uint16(b))
		*s, b = string(b[2:n]), b[n:]
	}
	if len(b) > 0 {
		return fmt.Errorf("answer: %w: a failure with %d more bytes", errCut, len(b))
	}
	return f
}

// ParseRead reads the whole answer to ReadRequest(paths). The files that are missing are left out.
func ParseRead(answer []byte, paths []string) (map[string][]byte, error) {
	found := make(map[string][]byte, len(paths))
	r := bytes.NewReader(answer)
	u := unframes{r: r}
	for _, p := range paths {
		k, b, err := u.next()
		switch {
		case err != nil:
			return nil, fmt.Errorf("answer: %w", err)
		case k == kindContent:
			found[p] = append([]byte{}, b...) // an empty file is there
		case k == kindFailure:
			return nil, parseFailure(b)
		case k != kindMissing || len(b) > 0:
			return nil, unexpected(k, b)
		}
	}
	if err := u.finish(r); err != nil {
		return nil, err
	}
	return found, nil
}

// ParseWrite reads the whole answer to WriteRequest.
func ParseWrite(answer []byte) error {
	r := bytes.NewReader(answer)
	u := unframes{r: r}
	return u.finish(r)
}

// finish expects the end of the message and nothing after it.
func (u *unframes) finish(rest io.Reader) error {
	k, b, err := u.next()
	switch {
	case err != nil:
		return fmt.Errorf("answer: %w", err)
	case k == kindFailure:
		return parseFailure(b)
	case k != kindEnd || len(b) > 0:
		return unexpected(k, b)
	}
	if n, err := rest.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return fmt.Errorf("answer: %w: there is more after its end", errCut)
	}
	return nil
}

func unexpected(k kind, b []byte) error {
	return fmt.Errorf("answer: %w: a frame %q of %d bytes", errCut, byte(k), len(b))
}

// Stream is the answer to OpenRequest: the content of a file, as it comes. It implements io.Reader, and io.EOF comes only
// after the whole content.
type Stream struct {
	u    unframes
	rest []byte
	err  error
}

// NewStream reads as far as the answer to whether the file could be opened.
func NewStream(r io.Reader) (*Stream, error) {
	s := &Stream{u: unframes{r: r}}
	k, b, err := s.u.next()
	switch {
	case err != nil:
		return nil, fmt.Errorf("answer: %w", err)
	case k == kindFailure:
		return nil, parseFailure(b)
	case k != kindOpened || len(b) > 0:
		return nil, unexpected(k, b)
	}
	return s, nil
}

// Read reads the content.
func (s *Stream) Read(p []byte) (int, error) {
	for len(s.rest) == 0 && s.err == nil && len(p) > 0 {
		k, b, err := s.u.next()
		switch {
		case err != nil:
			s.err = fmt.Errorf("answer: %w", err)
		case k == kindContent:
			s.rest = b
		case k == kindFailure:
			s.err = parseFailure(b)
		case k == kindEnd && len(b) == 0:
			s.err = io.EOF
		default:
			s.err = unexpected(k, b)
		}
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	if n > 0 || len(p) == 0 {
		return n, nil
	}
	return 0, s.err
}
