package results

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
)

// bin is a step of a cumulative distribution: upTo values are at or below value.
type bin struct{ value, upTo int64 }

// The HDR V2 format: https://github.com/HdrHistogram/HdrHistogram, EncodableHistogram and ZigZagEncoding.
const (
	packedCookie  = 0x1c849304
	payloadCookie = 0x1c849303
	cookieMask    = 0xf0 // the word size, which both cookies carry and no reader needs
	histDigits    = 3
	// halfMagnitude is the binary logarithm of the counters of each bucket but the first, for histDigits.
	halfMagnitude = 10
	// maxPayload is more than the widest range with histDigits can need.
	maxPayload = 1 << 20
	// maxCount keeps sums of counts exact as floats.
	maxCount = 1 << 53
)

// decoder reads histograms one after the other and keeps its memory: a result of many ranks holds tens of thousands,
// and the library makes all counters of the range for each.
type decoder struct {
	packed, payload []byte
	source          bytes.Reader
	inflated        io.ReadCloser
	tally           tally
}

// tally adds up histograms of one layout.
type tally struct {
	layout layout
	counts []int64
	// from and to are the range of the counters in use.
	from, to int
	sum      int64
}

// bins empties the tally.
func (t *tally) bins() []bin {
	used := 0
	for _, n := range t.counts[t.from:t.to] {
		if n > 0 {
			used++
		}
	}
	var out []bin
	if used > 0 {
		out = make([]bin, 0, used)
	}
	var upTo int64
	for i, n := range t.counts[t.from:t.to] {
		if n > 0 {
			upTo += n
			out = append(out, bin{t.layout.middle(int64(t.from + i)), upTo})
		}
	}
	t.reset()
	return out
}

func (t *tally) reset() {
	clear(t.counts[t.from:t.to])
	t.from, t.to, t.sum = 0, 0, 0
}

// start makes room for a histogram. Those that are added up must have one layout.
func (t *tally) start(l layout) error {
	if t.sum > 0 && t.layout != l {
		return errors.New("its range is not that of the others")
	}
	t.layout = l
	if int64(len(t.counts)) < l.counters {
		t.counts = append(t.counts, make([]int64, l.counters-int64(len(t.counts)))...)
	}
	return nil
}

func (t *tally) add(at int, n int64) {
	if t.sum == 0 {
		t.from, t.to = at, at+1
	}
	t.from, t.to = min(t.from, at), max(t.to, at+1)
	t.counts[at] += n
	t.sum += n
}

// decode reads one histogram; see add.
func (d *decoder) decode(encoded string) ([]bin, error) {
	_, err := d.add(encoded)
	return d.tally.bins(), err
}

// add reads a histogram in HDR V2, compressed, base64, with three significant digits, into the tally, and returns the
// number of its values; "" is the empty one. After an error the tally is empty. A value stands in the middle of its
// counter's range, so it is off by at most 0.05 %, or by half a µs.
func (d *decoder) add(encoded string) (int64, error) {
	if encoded == "" {
		return 0, nil
	}
	layout, err := d.unpack(encoded)
	if err == nil {
		err = d.tally.start(layout)
	}
	before := d.tally.sum
	if err == nil {
		err = d.count(layout)
	}
	if err != nil {
		d.tally.reset()
		return 0, fmt.Errorf("histogram: %w", err)
	}
	return d.tally.sum - before, nil
}

// layout is what the header says of the counters.
type layout struct {
	unit     int // binary logarithm of the first counter's range
	counters int64
}

// unpack fills the payload.
func (d *decoder) unpack(encoded string) (layout, error) {
	var err error
	d.packed, err = base64.StdEncoding.AppendDecode(d.packed[:0], []byte(encoded))
	if err != nil {
		return layout{}, fmt.Errorf("base64: %w", err)
	}
	if len(d.packed) < 8 || binary.BigEndian.Uint32(d.packed)&^cookieMask != packedCookie {
		return layout{}, errors.New("it is not in the format HDR V2, compressed")
	}
	length := binary.BigEndian.Uint32(d.packed[4:])
	if uint64(length) > uint64(len(d.packed)-8) {
		return layout{}, fmt.Errorf("it is cut: %d bytes of %d are there", len(d.packed)-8, length)
	}
	d.source.Reset(d.packed[8 : 8+int(length)])
	if err := d.reset(); err != nil {
		return layout{}, fmt.Errorf("inflate: %w", err)
	}
	var head [40]byte
	if _, err := io.ReadFull(d.inflated, head[:]); err != nil {
		return layout{}, fmt.Errorf("its head is cut: %w", err)
	}
	out, size, err := parseHead(head)
	if err != nil {
		return layout{}, err
	}
	d.payload = slices.Grow(d.payload[:0], size+1)[:size+1]
	if _, err := io.ReadFull(d.inflated, d.payload[:size]); err != nil {
		return layout{}, fmt.Errorf("its payload of %d bytes is cut or damaged: %w", size, err)
	}
	// At the end, where the checksum is compared, there is nothing more.
	n, err := d.inflated.Read(d.payload[size:])
	if n > 0 {
		return layout{}, fmt.Errorf("its payload is longer than %d bytes", size)
	}
	if !errors.Is(err, io.EOF) {
		return layout{}, fmt.Errorf("its payload of %d bytes is damaged: %w", size, err)
	}
	d.payload = d.payload[:size]
	return out, nil
}

func (d *decoder) reset() error {
	if again, ok := d.inflated.(zlib.Resetter); ok {
		return again.Reset(&d.source, nil)
	}
	var err error
	d.inflated, err = zlib.NewReader(&d.source)
	return err
}

func parseHead(head [40]byte) (out layout, size int, err error) {
	digits := int32(binary.BigEndian.Uint32(head[12:]))
	lowest, highest := int64(binary.BigEndian.Uint64(head[16:])), int64(binary.BigEndian.Uint64(head[24:]))
	length := binary.BigEndian.Uint32(head[4:])
	switch {
	case binary.BigEndian.Uint32(head[:])&^cookieMask != payloadCookie:
		return out, 0, errors.New("its payload is not in the format HDR V2")
	case digits != histDigits:
		return out, 0, fmt.Errorf("it has %d significant digits, this program reads %d", digits, histDigits)
	case lowest < 1 || bits.Len64(uint64(lowest))-1+halfMagnitude > 61:
		return out, 0, fmt.Errorf("its lowest value cannot be %d", lowest)
	case length > maxPayload:
		return out, 0, fmt.Errorf("its payload cannot be %d bytes long", length)
	}
	out.unit = bits.Len64(uint64(lowest)) - 1
	buckets := int64(1)
	for beyond := int64(1) << (out.unit + halfMagnitude + 1); beyond <= highest; beyond <<= 1 {
		buckets++
		if beyond > math.MaxInt64/2 {
			break
		}
	}
	out.counters = (buckets + 1) << halfMagnitude
	return out, int(length), nil
}

// count reads the counters: a positive number is one, a negative number stands for so many empty ones.
func (d *decoder) count(l layout) error {
	var at int64
	for p := d.payload; len(p) > 0; {
		x, n := uint64(p[0]), 1
		if x >= 0x80 { // most are one byte
			x, n = binary.Uvarint(p)
		}
		if n <= 0 || n > 8 { // from the ninth byte on the format differs; such counts do not occur
			return errors.New("a counter is cut or too great")
		}
		p = p[n:]
		signed := int64(x>>1) ^ -int64(x&1)
		if signed < 0 {
			at -= signed
			continue
		}
		if at >= l.counters || d.tally.sum > maxCount-signed {
			return errors.New("a counter is beyond its range")
		}
		if signed > 0 {
			d.tally.add(int(at), signed)
		}
		at++
	}
	if at > l.counters {
		return errors.New("it has more counters than its range")
	}
	return nil
}

// middle is the middle of a counter's range.
func (l layout) middle(at int64) int64 {
	const half = 1 << halfMagnitude
	if at < half {
		return at<<l.unit + 1<<l.unit>>1
	}
	shift := int(at>>halfMagnitude) - 1 + l.unit
	return (at&(half-1)+half)<<shift + 1<<shift>>1
}
