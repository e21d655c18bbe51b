// Package filewire carries files between a controller and a host that shares their file system: what assay-node files
// reads, does and answers. A part of a message never passes for the whole: its end is marked, and each frame carries a
// check over all that came before it.
//
//	message  preface frame... end
//	frame    kind (1 byte) · length (4) · payload · CRC-32C over the message up to here (4)
//
//	request  read (path)... · write (path, content)... · open (offset, path)
//	answer   content or missing for each path of a read, in order; nothing for a write; opened and content... for an
//	         open; or failure, wherever it happens
//
// Numbers are big-endian.
package filewire

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
)

// preface begins a message. The number is the version of the format.
const preface = "assay-files 1\n"

// MaxFile is the largest file that is read or written whole, in bytes.
const MaxFile = 64 << 20

// maxPayload is a file with its path.
const maxPayload = MaxFile + 1<<16

type kind byte

const (
	kindRead    kind = 'r'
	kindWrite   kind = 'w'
	kindOpen    kind = 'o'
	kindContent kind = 'c'
	kindMissing kind = 'm'
	kindOpened  kind = 'y'
	kindFailure kind = 'f'
	kindEnd     kind = '.'
)

// errCut says that a message is not whole, or not one of ours.
var errCut = errors.New("the message is cut off or damaged")

// frames writes a message. The first error stays.
type frames struct {
	w   *bufio.Writer
	sum uint32
	err error
}

func newFrames(w io.Writer) *frames {
	f := &frames{w: bufio.NewWriterSize(w, 64<<10)}
	f.put([]byte(preface))
	return f
}

func (f *frames) put(b []byte) {
	if f.err == nil {
		f.sum = crc32.Update(f.sum, crc32.MakeTable(crc32.Castagnoli), b)
		_, f.err = f.w.Write(b)
	}
}

// frame writes one frame, its payload in parts.
func (f *frames) frame(k kind, parts ...[]byte) {
	length := 0
	for _, p := range parts {
		length += len(p)
	}
	f.put(binary.BigEndian.AppendUint32([]byte{byte(k)}, uint32(length)))
	for _, p := range parts {
		f.put(p)
	}
	f.put(binary.BigEndian.AppendUint32(nil, f.sum))
}

// flush sends what was written.
func (f *frames) flush() error {
	if f.err == nil {
		f.err = f.w.Flush()
	}
	return f.err
}

// end marks the end and sends the rest.
func (f *frames) end() error {
	f.frame(kindEnd)
	return f.flush()
}

// unframes reads a message.
type unframes struct {
	r     io.Reader
	sum   uint32
	begun bool
}

func (u *unframes) get(b []byte) error {
	if _, err := io.ReadFull(u.r, b); err != nil {
		return fmt.Errorf("%w: %w", errCut, noEOF(err))
	}
	u.sum = crc32.Update(u.sum, crc32.MakeTable(crc32.Castagnoli), b)
	return nil
}

// noEOF keeps an end in the middle of a message from being taken for that of a file.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it ended early")
	}
	return err
}

// next returns the next frame, checked. After kindEnd there is none.
func (u *unframes) next() (kind, []byte, error) {
	if !u.begun {
		first := make([]byte, len(preface))
		if err := u.get(first); err != nil {
			return 0, nil, err
		}
		if string(first) != preface {
			return 0, nil, fmt.Errorf("%w: it begins with %q, not with %q", errCut, first, preface)
		}
		u.begun = true
	}
	var head [5]byte
	if err := u.get(head[:]); err != nil {
		return 0, nil, err
	}
	length := binary.BigEndian.Uint32(head[1:])
	if length > maxPayload {
		return 0, nil, fmt.Errorf("%w: a frame of %d bytes", errCut, length)
	}
	payload, err := u.payload(int(length))
	if err != nil {
		return 0, nil, err
	}
	want := u.sum
	var check [4]byte
	if err := u.get(check[:]); err != nil {
		return 0, nil, err
	}
	if binary.BigEndian.Uint32(check[:]) != want {
		return 0, nil, fmt.Errorf("%w: a checksum differs", errCut)
	}
	return kind(head[0]), payload, nil
}

// payload grows with what comes: a damaged length does not take memory.
func (u *unframes) payload(length int) ([]byte, error) {
	b := make([]byte, 0, min(length, 1<<20))
	for len(b) < length {
		n := min(length-len(b), 1<<20)
		b = append(b, make([]byte, n)...)
		if err := u.get(b[len(b)-n:]); err != nil {
			return nil, err
		}
	}
	return b, nil
}
