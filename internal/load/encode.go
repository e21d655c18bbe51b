package load

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/binary"
	"math"
)

// cell is one counter in use.
type cell struct {
	at uint16
	n  uint32
}

// cells appends the counters in use.
func (h *hist) cells(to []cell) []cell {
	h.each(func(i int, n int64) { to = append(to, cell{uint16(i), uint32(n)}) })
	return to
}

// tally is the sum of several histograms. Only the pages in use are looked at.
type tally struct {
	counters [histPages][pageCounters]int64
	used     [histPages]bool
}

func (t *tally) add(cells []cell) {
	for _, c := range cells {
		t.counters[c.at/pageCounters][c.at%pageCounters] += int64(c.n)
		t.used[c.at/pageCounters] = true
	}
}

// each calls f for each counter in use, in ascending order.
func (t *tally) each(f func(i int, n int64)) {
	for p, used := range t.used {
		if !used {
			continue
		}
		for k, n := range &t.counters[p] {
			if n != 0 {
				f(p*pageCounters+k, n)
			}
		}
	}
}

func (t *tally) reset() {
	for p, used := range t.used {
		if used {
			clear(t.counters[p][:])
		}
	}
	clear(t.used[:])
}

// The format HDR V2, https://github.com/HdrHistogram/HdrHistogram, EncodableHistogram and ZigZagEncoding: a head, and for
// each counter up to the last one in use its zigzag varint, with a negative number for a run of empty ones. Both cookies
// carry the word size.
const (
	packedCookie  = 0x1c849304 | 0x10
	payloadCookie = 0x1c849303 | 0x10
	payloadHead   = 40
	packedHead    = 8
)

// encoder writes histograms as text, one after the other, and keeps its memory. The library goes through all counters of
// the range and makes a compressor of 800 KB for each histogram: ten times the time (the benchmarks of this package).
type encoder struct {
	plain  []byte
	packed bytes.Buffer
	zlib   *zlib.Writer
}

// encode is a histogram in the format HDR V2, compressed, base64. The function gives its counters in use, in ascending
// order.
func (e *encoder) encode(each func(func(i int, n int64))) string {
	e.plain = appendHead(e.plain[:0])
	next := 0
	each(func(i int, n int64) {
		switch empty := i - next; {
		case empty == 1:
			e.plain = append(e.plain, 0)
		case empty > 1:
			e.plain = binary.AppendUvarint(e.plain, uint64(empty)<<1-1)
		}
		e.plain = binary.AppendUvarint(e.plain, uint64(n)<<1)
		next = i + 1
	})
	binary.BigEndian.PutUint32(e.plain[4:], uint32(len(e.plain)-payloadHead))

	e.packed.Reset()
	e.packed.Write(make([]byte, packedHead))
	if e.zlib == nil {
		// Small numbers with hardly a repetition: other levels take twice as long and save nothing.
		e.zlib, _ = zlib.NewWriterLevel(&e.packed, zlib.HuffmanOnly) // there is such a level
	} else {
		e.zlib.Reset(&e.packed)
	}
	_, _ = e.zlib.Write(e.plain) // into memory, which does not fail
	_ = e.zlib.Close()
	out := e.packed.Bytes()
	binary.BigEndian.PutUint32(out, packedCookie)
	binary.BigEndian.PutUint32(out[4:], uint32(len(out)-packedHead))
	return base64.StdEncoding.EncodeToString(out)
}

func appendHead(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, payloadCookie)
	b = binary.BigEndian.AppendUint32(b, 0) // the length of the payload, which follows
	b = binary.BigEndian.AppendUint32(b, 0) // the counters begin with the first one
	b = binary.BigEndian.AppendUint32(b, histDigits)
	b = binary.BigEndian.AppendUint64(b, uint64(histLowest))
	b = binary.BigEndian.AppendUint64(b, uint64(histHighest))
	return binary.BigEndian.AppendUint64(b, math.Float64bits(1)) // values are as they are
}
