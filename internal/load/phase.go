package load

import (
	"fmt"
	"time"
)

// Phase is a part of a run.
type Phase uint8

// The phases, in order.
const (
	Warmup Phase = iota
	Measure
	Cooldown
	phases
)

// String is warmup, measure or cooldown.
func (p Phase) String() string {
	switch p {
	case Warmup:
		return "warmup"
	case Measure:
		return "measure"
	case Cooldown:
		return "cooldown"
	}
	return fmt.Sprintf("phase(%d)", uint8(p))
}

// Lengths are the lengths of the phases.
type Lengths struct{ Warmup, Measure, Cooldown time.Duration }

// of is the length of a phase.
func (l Lengths) of(p Phase) int64 {
	return int64([...]time.Duration{l.Warmup, l.Measure, l.Cooldown}[p])
}

// start is the offset of a phase from T0.
func (l Lengths) start(p Phase) int64 {
	var at int64
	for q := range p {
		at += l.of(q)
	}
	return at
}

// total is the length of all phases.
func (l Lengths) total() int64 { return l.start(phases) }

// at is the phase of an offset from T0; ok is false outside all of them.
func (l Lengths) at(offset int64) (p Phase, ok bool) {
	if offset < 0 {
		return Warmup, false
	}
	for p := range phases {
		if offset < l.start(p)+l.of(p) {
			return p, true
		}
	}
	return phases, false
}
