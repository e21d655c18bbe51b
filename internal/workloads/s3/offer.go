package s3

import (
	"math"
	"strconv"
	"strings"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
)

// Random streams of this workload.
const (
	streamMix      = 0x6d697800
	streamKey      = 0x6b657900
	streamSize     = 0x73697a6500
	streamIdentity = 0x696400
	streamPause    = 0x7061757365000000
)

// operation is what a request does.
type operation uint8

const (
	opPut operation = iota
	opGet
	opHead
	opDelete
	operations
)

// object is one object below the client's prefix.
type object struct {
	set set
	// phase for which the object is there, and its number within the set of that phase.
	phase  load.Phase
	number uint64
	size   int64
	// identity is what its blocks are stamped with.
	identity uint64
}

// set is a kind of objects.
type set byte

// The sets of objects. All but what the load writes are stored before it.
const (
	dataSet set = 'd' // to be read
	victims set = 'v' // to be deleted by the first rounds of an open loop
	spares  set = 's' // to be deleted in place of what was not written
	written set = 'p' // by the load
)

// sets are all of them.
const sets = string(dataSet) + string(victims) + string(spares) + string(written)

// spareObjects are how many spares each rank has in each phase: so few that nobody minds to store them, and enough for a
// write that now and then fails.
const spareObjects = 4

// phaseLetters stand for the phases in keys.
const phaseLetters = "wmc"

// appendKey appends the key below the prefix, such as d/m/17.
func (o object) appendKey(b []byte) []byte {
	b = append(b, byte(o.set), '/', phaseLetters[o.phase], '/')
	return strconv.AppendUint(b, o.number, 10)
}

// parseKey reads a name below the prefix; found is false for one that appendKey does not make.
func parseKey(name string) (s set, phase load.Phase, number uint64, found bool) {
	place, rest, _ := strings.Cut(name, "/")
	letter, digits, _ := strings.Cut(rest, "/")
	if len(place) != 1 || len(letter) != 1 || !strings.Contains(sets, place) || !strings.Contains(phaseLetters, letter) {
		return 0, 0, 0, false
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || strconv.FormatUint(n, 10) != digits {
		return 0, 0, 0, false
	}
	return set(place[0]), load.Phase(strings.Index(phaseLetters, letter)), n, true
}

// offer says what each request is for: a function of the seed and of the number of the request.
//
// A load that writes has lanes: in a closed loop the requests of a worker, in an open loop those of a rank, since nobody
// else knows whether a write succeeded. A load that only reads has one. Request i is the request i div lanes of lane
// i mod lanes.
//
// Operations come in rounds of as many requests of a lane as the weights add up to. Each round holds each operation as
// often as its weight says, in an order of its own. So the mix is exact over whole rounds, and it is known which write a
// delete follows. In a closed loop it is one of the same round, for a worker makes one request after the other. In an open
// loop it is one of lag rounds before; the first rounds delete what was stored for them beforehand.
type offer struct {
	plan    *rundir.S3
	seed    uint64
	weights [operations]int
	round   int
	closed  bool
	ranks   uint64
	lanes   uint64
	lag     uint64
	// objects of the data set by phase: the warm-up reads others than the measurement.
	objects [3]uint64
}

// newOffer prepares an offer of which inFlight requests are under way at once, over all ranks.
func newOffer(plan *rundir.S3, seed uint64, inFlight, ranks int, closed bool) *offer {
	m := plan.Mix
	divisor := gcd(gcd(m.Put, m.Get), gcd(m.Head, m.Delete))
	o := &offer{plan: plan, seed: seed, closed: closed, ranks: uint64(ranks), lanes: 1, weights: [operations]int{
		opPut: m.Put / divisor, opGet: m.Get / divisor, opHead: m.Head / divisor, opDelete: m.Delete / divisor,
	}}
	for _, w := range o.weights {
		o.round += w
	}
	switch {
	case m.Put == 0:
	case closed:
		o.lanes = uint64(inFlight)
	default:
		o.lanes = o.ranks
		// So many requests of a rank lie between a write and its delete that the write would have to outlast twice as many
		// as there are at once.
		o.lag = uint64(1 + (2*((inFlight+ranks-1)/ranks)+o.round-1)/o.round)
	}
	few := max(1, plan.Objects/8)
	o.objects = [3]uint64{load.Warmup: uint64(few), load.Measure: uint64(plan.Objects), load.Cooldown: uint64(few)}
	return o
}

// maxRound is the greatest sum of the weights.
const maxRound = 10_000

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// order is the order of the operations of one round of a lane. A worker keeps it, since its requests follow each other
// closely.
type order struct {
	phase       load.Phase
	lane, round uint64
	known       bool
	// slots hold, for each place in the round, which of its requests stands there: the writes come first, then the reads
	// and so on, by their weights. places are the reverse.
	slots, places []uint16
}

// shuffle brings the order to a round.
func (w *order) shuffle(o *offer, phase load.Phase, lane, round uint64) {
	if w.known && w.phase == phase && w.lane == lane && w.round == round {
		return
	}
	w.phase, w.lane, w.round, w.known = phase, lane, round, true
	if w.slots == nil {
		w.slots, w.places = make([]uint16, o.round), make([]uint16, o.round)
	}
	for i := range w.slots {
		w.slots[i] = uint16(i)
	}
	for i := len(w.slots) - 1; i > 0; i-- {
		x := load.Rand(o.seed, streamMix|uint64(phase), (round*o.lanes+lane)*uint64(o.round)+uint64(i))
		j := load.Between(x, 0, i)
		w.slots[i], w.slots[j] = w.slots[j], w.slots[i]
	}
	if o.closed {
		w.writesFirst(o)
	}
}

// writesFirst lets each delete of a round and the write that it follows change places where it would come first.
func (w *order) writesFirst(o *offer) {
	for place, slot := range w.slots {
		w.places[slot] = uint16(place)
	}
	for write := range o.weights[opDelete] {
		remove := o.round - o.weights[opDelete] + write // deletes come last
		if a, b := w.places[write], w.places[remove]; a > b {
			w.slots[a], w.slots[b] = w.slots[b], w.slots[a]
		}
	}
}

// of says what a request does, and to which object.
func (o *offer) of(r load.Request, w *order) (operation, object) {
	lane, turn := r.Index%o.lanes, r.Index/o.lanes
	round := turn / uint64(o.round)
	w.shuffle(o, r.Phase, lane, round)
	place := int(w.slots[turn%uint64(o.round)])
	for op := range operations {
		if place >= o.weights[op] {
			place -= o.weights[op]
			continue
		}
		switch op {
		case opPut:
			return op, o.object(written, r.Phase, o.nth(lane, round, opPut, place))
		case opDelete:
			if round < o.lag {
				return op, o.object(victims, r.Phase, o.nth(lane, round, opDelete, place))
			}
			return op, o.object(written, r.Phase, o.nth(lane, round-o.lag, opPut, place))
		default:
			x := load.Rand(o.seed, streamKey|uint64(r.Phase), r.Index)
			return op, o.object(dataSet, r.Phase, x%o.objects[r.Phase])
		}
	}
	panic("s3: a round is as long as its weights add up to")
}

// nth numbers the requests of an operation through all rounds of all lanes.
func (o *offer) nth(lane, round uint64, op operation, place int) uint64 {
	return (round*uint64(o.weights[op])+uint64(place))*o.lanes + lane
}

// place says which rank stores an object, on which of its own lanes, and as which of that lane. What is stored beforehand
// is dealt out in turn, on one lane for each rank.
func (o *offer) place(s set, number uint64) (rank, lane, nth uint64) {
	lanes := o.ranks
	if s == written {
		lanes = o.lanes
	}
	lane = number % lanes
	return lane % o.ranks, lane / o.ranks, number / lanes
}

// own is how many lanes a rank has for a set.
func (o *offer) own(s set, rank uint64) uint64 {
	if s != written {
		return 1
	}
	return (o.lanes - rank + o.ranks - 1) / o.ranks
}

// object returns an object of a set.
func (o *offer) object(s set, phase load.Phase, number uint64) object {
	stream := uint64(s)<<8 | uint64(phase)
	return object{
		set: s, phase: phase, number: number,
		size:     size(o.plan.Size, load.Rand(o.seed, streamSize|stream<<48, number)),
		identity: load.Rand(o.seed, streamIdentity|stream<<48, number),
	}
}

// stored are how many objects of a set are there before the load, for a phase of some length.
func (o *offer) stored(s set, phase load.Phase) uint64 {
	switch {
	case s == dataSet && o.weights[opGet]+o.weights[opHead] > 0:
		return o.objects[phase]
	case s == victims:
		return o.lag * uint64(o.weights[opDelete]) * o.ranks
	case s == spares && o.weights[opDelete] > 0:
		return spareObjects * o.ranks
	}
	return 0
}

// size is the size that a random number x stands for.
func size(s rundir.Size, x uint64) int64 {
	if s.Min >= s.Max {
		return s.Min
	}
	if s.Distribution == rundir.SizeUniform {
		return s.Min + int64(x%uint64(s.Max-s.Min+1))
	}
	// The inverse of the distribution function, between its values at the bounds.
	at := func(bytes int64) float64 {
		return 0.5 * math.Erfc(-math.Log(float64(bytes)/float64(s.Median))/(s.Sigma*math.Sqrt2))
	}
	low, high := at(max(1, s.Min)), at(s.Max)
	p := low + (high-low)*(float64(x>>11)+0.5)*0x1p-53
	bytes := float64(s.Median) * math.Exp(-s.Sigma*math.Sqrt2*math.Erfcinv(2*p))
	// Before the conversion: what an infinity becomes depends on the processor.
	return int64(math.Round(min(float64(s.Max), max(float64(s.Min), bytes))))
}
