package inference

import (
	"math"
	"time"

	"assay.bench/internal/load"
)

// limits are the instants at which an attempt has taken too long; never for none.
type limits struct {
	first, total int64
	idle         int64 // a length
	last         int64 // the last content; 0 before the first
}

const never = math.MaxInt64

func newLimits(o *Options, sent int64) limits {
	l := limits{first: after(sent, o.TimeoutFirst), total: after(sent, o.TimeoutTotal), idle: never}
	if o.TimeoutIdle > 0 {
		l.idle = int64(o.TimeoutIdle)
	}
	return l
}

func after(at int64, d time.Duration) int64 {
	if d <= 0 {
		return never
	}
	return at + int64(d)
}

// due is the instant at which the attempt fails if nothing more comes.
func (l *limits) due() int64 {
	if l.last == 0 {
		return min(l.first, l.total)
	}
	if l.idle == never {
		return l.total
	}
	return min(l.last+l.idle, l.total)
}

// kind is the failure of an attempt for which nothing more came by its due instant.
func (l *limits) kind() load.Kind {
	switch {
	case l.due() == l.total:
		return load.TimeoutTotal
	case l.last == 0:
		return load.TimeoutFirst
	}
	return load.TimeoutIdle
}
