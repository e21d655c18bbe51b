package s3

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"assay.bench/internal/load"
)

// The content of an object is a function of its identity alone, so that any rank can make or check any part of it. It
// comes in blocks of 4 KiB, the last one shorter. Each begins with a stamp, little-endian:
//
//	0  4  CRC32C of the rest of the block
//	4  4  magic
//	8  8  identity of the object
//	16 8  offset of the block in the object
//
// and goes on with the bytes of a pool that is the same for all objects of a client. A flipped bit fails the CRC; a block
// of another object, of another run or from another place fails the stamp. A last block that is too short for a stamp
// holds the beginning of one, with its CRC left 0.
const (
	blockBytes = 4 << 10
	stampBytes = 24
	magic      = 0x41737361 // "assA" in memory
)

// poolBytes is the length of the pool: offset o of every object holds byte o mod poolBytes of it, but for the stamps.
const poolBytes = 1 << 20

// castagnoli is made once by package crc32.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// streamPool is the random stream of the pool.
const streamPool = 0x706f6f6c00

// content makes and checks objects. It is not for concurrent use: each worker has its own.
type content struct {
	pool []byte
}

// newPool makes as much of the pool as the largest object needs.
func newPool(seed uint64, largest int64) []byte {
	pool := make([]byte, min(poolBytes, (largest+blockBytes-1)/blockBytes*blockBytes))
	for i := 0; i < len(pool); i += 8 {
		binary.LittleEndian.PutUint64(pool[i:], load.Rand(seed, streamPool, uint64(i)))
	}
	return pool
}

// at returns the bytes of an object from an offset, a multiple of poolBytes, on: at most n of them and never more than
// the pool has. They hold until the next call.
func (c *content) at(identity uint64, offset, n int64) []byte {
	out := c.pool[:min(n, poolBytes)]
	for b := 0; b < len(out); b += blockBytes {
		block := out[b:min(b+blockBytes, len(out))]
		if len(block) < stampBytes {
			copy(block, shortBlock(identity, offset+int64(b), len(block)))
			break
		}
		stamp(block, identity, offset+int64(b))
	}
	return out
}

func stamp(block []byte, identity uint64, offset int64) {
	binary.LittleEndian.PutUint32(block[4:], magic)
	binary.LittleEndian.PutUint64(block[8:], identity)
	binary.LittleEndian.PutUint64(block[16:], uint64(offset))
	binary.LittleEndian.PutUint32(block, crc32.Checksum(block[4:], castagnoli()))
}

// shortBlock is a last block without room for a stamp.
func shortBlock(identity uint64, offset int64, n int) []byte {
	b := make([]byte, stampBytes)
	stamp(b, identity, offset)
	binary.LittleEndian.PutUint32(b, 0)
	return b[:n]
}

// checker checks the content of one object as it arrives.
type checker struct {
	identity uint64
	size     int64
	offset   int64 // of the next block
}

// corruption says how a block differs from what was stored.
type corruption struct {
	offset int64
	what   string
}

func (c *corruption) Error() string { return fmt.Sprintf("at offset %d: %s", c.offset, c.what) }

// next takes whole blocks off the beginning of b and returns how much it took: all but the part of a block whose rest
// has not arrived.
func (c *checker) next(b []byte) (taken int, err error) {
	for {
		n := int(min(blockBytes, c.size-c.offset))
		if n == 0 || len(b)-taken < n {
			return taken, nil
		}
		if err := c.block(b[taken : taken+n]); err != nil {
			return taken, err
		}
		taken += n
		c.offset += int64(n)
	}
}

// block compares a block with what belongs at the offset.
func (c *checker) block(b []byte) error {
	if len(b) < stampBytes {
		if string(b) != string(shortBlock(c.identity, c.offset, len(b))) {
			return &corruption{c.offset, "the last bytes are not those that were stored"}
		}
		return nil
	}
	ours, same := binary.LittleEndian.Uint32(b[4:]) == magic, binary.LittleEndian.Uint64(b[8:]) == c.identity
	switch valid := binary.LittleEndian.Uint32(b) == crc32.Checksum(b[4:], castagnoli()); {
	case !ours && (valid || !same): // both at once is more than a flipped bit
		return &corruption{c.offset, "the block is not ours: someone else has overwritten the object, or the server has lost it"}
	case !valid:
		return &corruption{c.offset, "the block's CRC32C does not match: it was changed or torn"}
	case !same:
		return &corruption{c.offset, "the block is of another object, or of a former version"}
	case binary.LittleEndian.Uint64(b[16:]) != uint64(c.offset):
		return &corruption{c.offset, fmt.Sprintf("the block belongs to offset %d", binary.LittleEndian.Uint64(b[16:]))}
	}
	return nil
}
