package series

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"time"
)

// Writer appends blocks to a file. It has one user at a time, and a file has one writer.
type Writer struct {
	file *os.File
	size int64
	ids  map[string]uint64
	next uint64 // the number of the next new series
}

// Open opens a file for appending, mode 0600, and makes it when it is missing. What a killed writer left half written
// is cut off.
func Open(path string) (*Writer, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	w := &Writer{file: f, ids: map[string]uint64{}}
	if err := w.resume(); err != nil {
		return nil, errors.Join(fmt.Errorf("samples %s: %w", path, err), f.Close())
	}
	return w, nil
}

// resume reads what is there, cuts off what is torn and stands at the end.
func (w *Writer) resume() error {
	r := NewReader(w.file)
	for {
		_, err := r.Next()
		if errors.Is(err, io.EOF) || errors.Is(err, ErrTorn) {
			break
		}
		if err != nil {
			return err
		}
	}
	for i, ls := range r.table {
		w.ids[ls.Key()] = uint64(i)
	}
	w.next = uint64(len(r.table))
	w.size = r.Good()
	if err := w.cutBack(); err != nil {
		return err
	}
	if w.size > 0 {
		return nil
	}
	return w.write([]byte(magic))
}

// Append adds one block. When it fails, nothing of the block is in the file and the next Append may work.
func (w *Writer) Append(t time.Time, samples []Sample) error {
	var added []string
	news := []byte{}
	body := make([]byte, 0, 10*len(samples))
	for _, s := range samples {
		key := s.Labels.Key()
		id, ok := w.ids[key]
		if !ok {
			id = w.next + uint64(len(added))
			w.ids[key] = id
			added = append(added, key)
			news = appendLabels(news, s.Labels)
		}
		body = binary.AppendUvarint(body, id)
		body = binary.LittleEndian.AppendUint64(body, math.Float64bits(s.Value))
	}
	payload := binary.AppendVarint(nil, t.UnixMilli())
	payload = binary.AppendUvarint(payload, uint64(len(added)))
	payload = append(payload, news...)
	payload = binary.AppendUvarint(payload, uint64(len(samples)))
	payload = append(payload, body...)

	err := w.block(payload)
	if err != nil {
		for _, key := range added {
			delete(w.ids, key)
		}
		return err
	}
	w.next += uint64(len(added))
	return nil
}

func (w *Writer) block(payload []byte) error {
	if len(payload) > MaxBlock {
		return fmt.Errorf("samples %s: a block of %d bytes; at most %d", w.file.Name(), len(payload), MaxBlock)
	}
	b := make([]byte, 0, headLength+len(payload))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(payload, castagnoli()))
	return w.write(append(b, payload...))
}

func (w *Writer) write(b []byte) error {
	if _, err := w.file.Write(b); err != nil {
		return errors.Join(fmt.Errorf("write samples: %w", err), w.cutBack())
	}
	w.size += int64(len(b))
	return nil
}

// cutBack removes everything behind the last whole block.
func (w *Writer) cutBack() error {
	if err := w.file.Truncate(w.size); err != nil {
		return err
	}
	_, err := w.file.Seek(w.size, io.SeekStart)
	return err
}

func appendLabels(b []byte, ls Labels) []byte {
	b = binary.AppendUvarint(b, uint64(len(ls)))
	for _, l := range ls {
		b = appendText(b, l.Name)
		b = appendText(b, l.Value)
	}
	return b
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// Sync makes what was appended survive a crash of the machine.
func (w *Writer) Sync() error { return w.file.Sync() }

// Close closes the file.
func (w *Writer) Close() error { return w.file.Close() }
