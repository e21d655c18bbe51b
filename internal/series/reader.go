package series

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"time"
)

// ErrTorn says that the file ends within a block, or that a block's sum is wrong: what came before it is whole.
var ErrTorn = errors.New("the rest of the samples is torn")

// Reader reads the blocks of a file in order.
type Reader struct {
	in     *bufio.Reader
	table  []Labels
	good   int64
	opened bool
}

// NewReader reads from the beginning of a file.
func NewReader(r io.Reader) *Reader { return &Reader{in: bufio.NewReader(r)} }

// Good is the number of bytes, from the beginning of the file, that were read as whole blocks.
func (r *Reader) Good() int64 { return r.good }

// Next returns the next block. io.EOF is the end of the file; an error that wraps ErrTorn is the end of what is whole,
// and what the reader of a file that still grows meets now and then. Any other error: this is no file of samples, or
// it cannot be read.
func (r *Reader) Next() (Block, error) {
	if !r.opened {
		if err := r.open(); err != nil {
			return Block{}, err
		}
	}
	payload, err := r.payload()
	if err != nil {
		return Block{}, err
	}
	b, err := r.decode(payload)
	if err != nil {
		return Block{}, fmt.Errorf("%w: %w", ErrTorn, err)
	}
	r.good += int64(headLength + len(payload))
	return b, nil
}

func (r *Reader) open() error {
	head := make([]byte, len(magic))
	n, err := io.ReadFull(r.in, head)
	if n == 0 && errors.Is(err, io.EOF) {
		return io.EOF
	}
	if string(head[:n]) != magic[:n] {
		return fmt.Errorf("not a file of samples: it does not begin with %s", magic)
	}
	if err != nil {
		return cut(err)
	}
	r.opened, r.good = true, int64(len(magic))
	return nil
}

func (r *Reader) payload() ([]byte, error) {
	var head [headLength]byte
	n, err := io.ReadFull(r.in, head[:])
	if n == 0 && errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil {
		return nil, cut(err)
	}
	length := binary.LittleEndian.Uint32(head[:])
	if length == 0 || length > MaxBlock {
		return nil, fmt.Errorf("%w: a block of %d bytes", ErrTorn, length)
	}
	// Read what is there instead of trusting the length: a wrong one must not cost its size in memory.
	payload, err := io.ReadAll(io.LimitReader(r.in, int64(length)))
	if err != nil {
		return nil, err
	}
	if len(payload) < int(length) {
		return nil, cut(io.ErrUnexpectedEOF)
	}
	if crc32.Checksum(payload, castagnoli()) != binary.LittleEndian.Uint32(head[4:]) {
		return nil, fmt.Errorf("%w: wrong sum", ErrTorn)
	}
	return payload, nil
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

func cut(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: cut within a block", ErrTorn)
	}
	return err
}

func (r *Reader) decode(payload []byte) (Block, error) {
	d := decoder{b: payload}
	t := d.varint()
	table := r.table
	for range d.count(1) {
		ls := make(Labels, 0, 8)
		for range d.count(2) {
			ls = append(ls, Label{d.text(), d.text()})
		}
		table = append(table, ls)
	}
	n := d.count(9)
	b := Block{Time: time.UnixMilli(t).UTC(), Samples: make([]Sample, 0, n)}
	for range n {
		id, bits := d.uvarint(), d.bits()
		if id >= uint64(len(table)) {
			return Block{}, fmt.Errorf("series %d of %d", id, len(table))
		}
		b.Samples = append(b.Samples, Sample{table[id], math.Float64frombits(bits)})
	}
	if d.bad || len(d.b) > 0 {
		return Block{}, errors.New("a block that is not well formed")
	}
	r.table = table
	return b, nil
}

// decoder takes values off a payload; after the first that is missing it is bad and returns zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads a number of things of which each takes at least size bytes.
func (d *decoder) count(size int) int {
	v := d.uvarint()
	if v > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(v)
}

func (d *decoder) text() string {
	n := d.count(1)
	s := string(d.b[:n])
	d.b = d.b[n:]
	return s
}

func (d *decoder) bits() uint64 {
	if len(d.b) < 8 {
		d.fail()
		return 0
	}
	v := binary.LittleEndian.Uint64(d.b)
	d.b = d.b[8:]
	return v
}
