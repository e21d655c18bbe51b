package s3

import (
	"math/bits"
	"slices"
	"strings"
	"sync"

	"assay.bench/internal/load"
)

// ledger is what a rank knows of the objects that it stores itself: which of them it has begun to write, and which are
// there for certain and may be deleted. It is safe for concurrent use.
type ledger struct {
	offer *offer
	rank  uint64

	mu sync.Mutex
	// begun is, for each of the rank's lanes, how many of its objects were begun: of a lane they are begun in their order,
	// but for those that are under way at once.
	begun [len(sets)][len(phaseLetters)][]uint64
	// there are the objects that were written and not deleted, by their place over all lanes of the rank.
	there [len(sets)][len(phaseLetters)]numbers
	// foreseen is begun when a manifest was last asked to look ahead.
	foreseen [len(phaseLetters)][]uint64
	// unanswered says that a write was cut off, which the server may still carry out.
	unanswered bool
}

func newLedger(o *offer, rank int) *ledger {
	l := &ledger{offer: o, rank: uint64(rank)}
	for s := range sets {
		for p := range phaseLetters {
			l.begun[s][p] = make([]uint64, o.own(set(sets[s]), l.rank))
		}
	}
	for p := range phaseLetters {
		l.foreseen[p] = slices.Clone(l.begun[index(written)][p])
	}
	return l
}

func index(s set) int { return strings.IndexByte(sets, byte(s)) }

// begin notes that an object may be there from now on.
func (l *ledger) begin(obj object) {
	_, lane, nth := l.offer.place(obj.set, obj.number)
	l.mu.Lock()
	defer l.mu.Unlock()
	begun := &l.begun[index(obj.set)][obj.phase][lane]
	*begun = max(*begun, nth+1)
}

// keep notes that an object is there for certain.
func (l *ledger) keep(obj object) {
	if obj.set == dataSet {
		return // nothing deletes these
	}
	_, lane, nth := l.offer.place(obj.set, obj.number)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.there[index(obj.set)][obj.phase].add(nth*l.offer.own(obj.set, l.rank) + lane)
}

// take gives an object to be deleted: the one that is wished for where it is there, else the oldest of those that the load
// has written, else a spare. Nobody else gets it. found is false without any.
func (l *ledger) take(wish object) (obj object, found bool) {
	_, lane, nth := l.offer.place(wish.set, wish.number)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.there[index(wish.set)][wish.phase].remove(nth*l.offer.own(wish.set, l.rank) + lane) {
		return wish, true
	}
	for _, s := range []set{written, spares} {
		if n, some := l.there[index(s)][wish.phase].first(); some {
			l.there[index(s)][wish.phase].remove(n)
			return l.offer.object(s, wish.phase, l.number(s, n)), true
		}
	}
	return object{}, false
}

// number is that of the object at a place over all lanes of the rank.
func (l *ledger) number(s set, at uint64) uint64 {
	lanes, own := l.offer.ranks, l.offer.own(s, l.rank)
	if s == written {
		lanes = l.offer.lanes
	}
	return at/own*lanes + at%own*l.offer.ranks + l.rank
}

func (l *ledger) cutOff() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unanswered = true
}

// numbers is a set of numbers that begins at 0 and is dense.
type numbers struct {
	words []uint64
	// low is a word before which there is no number.
	low int
}

func (n *numbers) add(x uint64) {
	at := int(x / 64)
	for len(n.words) <= at {
		n.words = append(n.words, 0)
	}
	n.words[at] |= 1 << (x % 64)
	n.low = min(n.low, at)
}

// remove says whether the number was there.
func (n *numbers) remove(x uint64) bool {
	at, bit := int(x/64), uint64(1)<<(x%64)
	if at >= len(n.words) || n.words[at]&bit == 0 {
		return false
	}
	n.words[at] &^= bit
	return true
}

// first is the least number.
func (n *numbers) first() (x uint64, found bool) {
	for ; n.low < len(n.words); n.low++ {
		if w := n.words[n.low]; w != 0 {
			return uint64(n.low)*64 + uint64(bits.TrailingZeros64(w)), true
		}
	}
	return 0, false
}

// Manifest is what a rank has begun to store below the prefix, or may have begun: it is told to the rank that removes all
// of it, and nothing else.
type Manifest struct {
	Rank int `json:"rank"`
	// Begun is by the beginning of a key, such as p/m, and for each of the rank's lanes how many objects of it were begun.
	Begun map[string][]uint64 `json:"begun"`
	// Claimed says that the prefix is ours, as the first rank knows.
	Claimed bool `json:"claimed,omitempty"`
	// Unanswered says that a write was cut off, which the server may still carry out.
	Unanswered bool `json:"unanswered,omitempty"`
}

// Manifest is what was begun up to now. Ahead is what may have been begun by the time at which it is asked again: all that
// is stored beforehand, and of the load twice as much as since it was last asked. It is what is left of a rank that is
// killed in between.
func (w *Workload) Manifest(ahead bool) Manifest {
	if ahead {
		return w.foresee()
	}
	return w.begun()
}

func (w *Workload) begun() Manifest {
	l := w.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	m := Manifest{Rank: int(l.rank), Begun: map[string][]uint64{}, Claimed: w.claimed.Load(), Unanswered: l.unanswered}
	for s := range sets {
		for p := range phaseLetters {
			if n := l.begun[s][p]; slices.ContainsFunc(n, func(begun uint64) bool { return begun > 0 }) {
				m.Begun[group(set(sets[s]), load.Phase(p))] = slices.Clone(n)
			}
		}
	}
	return m
}

// least is how far a manifest looks ahead on a lane at least: nobody knows how fast a load begins.
const least = 1024

func (w *Workload) foresee() Manifest {
	m := w.begun()
	m.Unanswered = true
	l, o := w.ledger, w.offer
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range load.Phase(len(phaseLetters)) {
		for _, s := range []set{dataSet, victims, spares} {
			if all := o.stored(s, p); all > l.rank {
				m.Begun[group(s, p)] = []uint64{(all - l.rank + o.ranks - 1) / o.ranks}
			}
		}
		if o.weights[opPut] == 0 {
			continue
		}
		begun := l.begun[index(written)][p]
		ahead := slices.Clone(begun)
		for lane, n := range begun {
			ahead[lane] += 2*(n-l.foreseen[p][lane]) + least
		}
		m.Begun[group(written, p)] = ahead
		copy(l.foreseen[p], begun)
	}
	return m
}

// group is the beginning of a key.
func group(s set, phase load.Phase) string {
	return string([]byte{byte(s), '/', phaseLetters[phase]})
}
