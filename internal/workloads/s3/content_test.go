package s3

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
)

// newContent has the whole pool of a seed.
func newContent(seed uint64) *content { return &content{pool: newPool(seed, poolBytes)} }

// whole is the whole content of an object.
func whole(c *content, identity uint64, size int64) []byte {
	var out []byte
	for off := int64(0); off < size; off += poolBytes {
		out = append(out, c.at(identity, off, size-off)...)
	}
	return out
}

// check hands an object to a checker in pieces, as reads would.
func check(b []byte, identity uint64, size int64, piece int) error {
	c := checker{identity: identity, size: size}
	var kept []byte
	for len(b) > 0 {
		n := min(piece, len(b))
		kept = append(kept, b[:n]...)
		b = b[n:]
		taken, err := c.next(kept)
		if err != nil {
			return err
		}
		kept = kept[taken:]
	}
	if c.offset != c.size || len(kept) > 0 {
		return fmt.Errorf("stopped at %d of %d", c.offset, c.size)
	}
	return nil
}

func TestContentIsChecked(t *testing.T) {
	c, other := newContent(1), newContent(1)
	for _, size := range []int64{0, 1, stampBytes - 1, stampBytes, 100, blockBytes, blockBytes + 1, blockBytes + stampBytes, poolBytes, poolBytes + 5, 2*poolBytes + 4097} {
		b := whole(c, 42, size)
		if int64(len(b)) != size {
			t.Fatalf("%d bytes, want %d", len(b), size)
		}
		for _, piece := range []int{1 << 30, 1000, 4096, 5000} {
			if err := check(b, 42, size, piece); err != nil {
				t.Errorf("size %d in pieces of %d: %v", size, piece, err)
			}
		}
		if !bytes.Equal(b, whole(other, 42, size)) {
			t.Errorf("size %d: another worker makes other bytes", size)
		}
	}
}

func TestCorruptionIsFound(t *testing.T) {
	const size = 3*blockBytes + 10
	c := newContent(1)
	good := whole(c, 42, size)
	at := func(off int64, from []byte) func([]byte) { return func(b []byte) { copy(b[off:], from) } }
	for name, tc := range map[string]struct {
		change func([]byte)
		want   string
	}{
		"a flipped bit in the data":   {func(b []byte) { b[5000] ^= 4 }, "at offset 4096: the block's CRC32C"},
		"a flipped bit in a stamp":    {func(b []byte) { b[4096+9] ^= 4 }, "at offset 4096: the block's CRC32C"},
		"a flipped bit in the CRC":    {func(b []byte) { b[1] ^= 1 }, "at offset 0: the block's CRC32C"},
		"a flipped bit at the end":    {func(b []byte) { b[size-1] ^= 1 }, "at offset 12288: the last bytes"},
		"a block of another object":   {at(4096, whole(c, 43, size)[4096:8192]), "at offset 4096: the block is of another object"},
		"another place":               {at(4096, good[8192:12288]), "at offset 4096: the block belongs to offset 8192"},
		"a torn block":                {at(5000, make([]byte, 4000)), "at offset 4096: the block's CRC32C"},
		"written by someone else":     {at(0, foreign()), "at offset 0: the block is not ours"},
		"a former version of the end": {at(12288, whole(c, 41, size)[12288:]), "at offset 12288: the last bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			b := bytes.Clone(good)
			tc.change(b)
			err := check(b, 42, size, 5000)
			var found *corruption
			if !errors.As(err, &found) || !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

// foreign is a block with a valid CRC that has no stamp of ours.
func foreign() []byte {
	b := make([]byte, blockBytes)
	stamp(b, 42, 0)
	b[4] = 0
	sum := crc32.Checksum(b[4:], castagnoli())
	b[0], b[1], b[2], b[3] = byte(sum), byte(sum>>8), byte(sum>>16), byte(sum>>24)
	return b
}

// TestOneBit flips each bit of an object in turn.
func TestOneBit(t *testing.T) {
	const size = blockBytes + stampBytes + 8
	b := whole(newContent(3), 7, size)
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			if check(b, 7, size, size) == nil {
				t.Fatalf("bit %d of byte %d is not missed", bit, i)
			}
			b[i] ^= 1 << bit
		}
	}
}

func FuzzChecker(f *testing.F) {
	f.Add(whole(newContent(3), 7, 5000), int64(5000))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		size &= 1<<20 - 1
		c := checker{identity: 7, size: size}
		taken, err := c.next(b)
		if taken > len(b) || int64(taken) > size || err == nil && taken != int(c.offset) {
			t.Errorf("took %d of %d bytes, size %d, offset %d", taken, len(b), size, c.offset)
		}
	})
}

func BenchmarkCheck(b *testing.B) {
	all := whole(newContent(1), 1, 8<<20)
	b.SetBytes(8 << 20)
	for b.Loop() {
		c := checker{identity: 1, size: 8 << 20}
		if _, err := c.next(all); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkContent(b *testing.B) {
	c := newContent(1)
	b.SetBytes(8 << 20)
	for b.Loop() {
		for off := int64(0); off < 8<<20; off += poolBytes {
			c.at(1, off, 8<<20-off)
		}
	}
}
