package load

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
)

// Arrivals of an open loop.
const (
	// Constant arrivals are 1/rate apart, the first at the start of its phase.
	Constant = "Constant"
	// Poisson arrivals have independent exponential gaps of mean 1/rate.
	Poisson = "Poisson"
)

// Schedule says when the requests of an open loop are due: a function of its fields only. It is never scaled to a count
// and never rounded beyond the nanosecond.
type Schedule struct {
	// Arrival is Constant or Poisson; Rate is in requests per second over all ranks.
	Arrival string
	Rate    float64
	Seed    uint64
	Lengths Lengths
}

// Slot is one request of a schedule.
type Slot struct {
	Phase Phase
	// Index is the number of the request within its phase, over all ranks.
	Index uint64
	// At is the offset from T0 in nanoseconds.
	At int64
}

// Cursor walks the slots of one rank in order. It visits every slot of the others too, at some nanoseconds each, since
// an instant of a Poisson process is the sum of all gaps before it.
type Cursor struct {
	schedule    Schedule
	rank, ranks uint64
	phase       Phase
	next        uint64
	sum         float64
}

// Cursor starts at the first slot of a rank; the rank has the requests i with i mod ranks = rank.
func (s Schedule) Cursor(rank, ranks int) *Cursor {
	return &Cursor{schedule: s, rank: uint64(rank), ranks: uint64(ranks)}
}

// Next is the next slot of the rank; ok is false after the last one.
func (c *Cursor) Next() (slot Slot, ok bool) {
	for c.phase < phases {
		i := c.next
		at := c.offset(i)
		if at >= c.schedule.Lengths.of(c.phase) {
			c.phase++
			c.next, c.sum = 0, 0
			continue
		}
		c.next++
		if i%c.ranks == c.rank {
			return Slot{Phase: c.phase, Index: i, At: c.schedule.Lengths.start(c.phase) + at}, true
		}
	}
	return Slot{}, false
}

// offset of request i from the start of its phase, in ns; i is one more than at the last call.
func (c *Cursor) offset(i uint64) int64 {
	if c.schedule.Arrival == Constant {
		return int64(float64(float64(i)*1e9) / c.schedule.Rate)
	}
	draw := Rand(c.schedule.Seed, streamArrival|uint64(c.phase), i)
	c.sum += float64(exponential(draw) * (1e9 / c.schedule.Rate))
	return int64(c.sum)
}

// Hash is the SHA-256 in hex of every slot of every rank: phase, index and offset. It is the same on any number of ranks.
func (s Schedule) Hash() string {
	h := sha256.New()
	fmt.Fprintf(h, "open %s %d\n", s.Arrival, s.Seed)
	buf := make([]byte, 0, 17*1024)
	cursor := s.Cursor(0, 1)
	for slot, ok := cursor.Next(); ok; slot, ok = cursor.Next() {
		buf = append(buf, byte(slot.Phase))
		buf = binary.LittleEndian.AppendUint64(buf, slot.Index)
		buf = binary.LittleEndian.AppendUint64(buf, uint64(slot.At))
		if len(buf) == cap(buf) {
			h.Write(buf)
			buf = buf[:0]
		}
	}
	h.Write(buf)
	return hex.EncodeToString(h.Sum(nil))
}

// closedHash stands for the schedule of a closed loop, which has none: the SHA-256 of what determines its requests.
func closedHash(c ClosedLoop, seed uint64, l Lengths) string {
	text := fmt.Sprintf("closed %d %d %d %v\n", c.Concurrency, c.ThinkTime, seed, l)
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}
