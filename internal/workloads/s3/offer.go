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
	victims set = 'v' // to be deleted by the first rounds
	written set = 'p' // by the load
)

// phaseLetters stand for the phases in keys.
const phaseLetters = "wmc"

// appendKey appends the key below the prefix, such as d/m/17.
func (o object) appendKey(b []byte) []byte {
	b = append(b, byte(o.set), '/', phaseLetters[o.phase], '/')
	return strconv.AppendUint(b, o.number, 10)
}

// isKey says whether a name below the prefix is one that appendKey makes.
func isKey(name string) bool {
	place, number, found := strings.Cut(name, "/")
	phase, number, again := strings.Cut(number, "/")
	n, err := strconv.ParseUint(number, 10, 64)
	return found && again && err == nil && strconv.FormatUint(n, 10) == number && len(place) == 1 && len(phase) == 1 &&
		strings.Contains(string([]byte{byte(dataSet), byte(victims), byte(written)}), place) && strings.Contains(phaseLetters, phase)
}

// offer says what each request is for: a function of the seed and of the number of the request.
//
// Operations come in rounds of as many requests as the weights add up to. Each round holds each operation as often as its
// weight says, in an order of its own. So the mix is exact over whole rounds, and it is known which write a delete can
// follow: those of a round delete what was written lag rounds before, and those of the first rounds what was stored for
// them beforehand.
type offer struct {
	plan    *rundir.S3
	seed    uint64
	weights [operations]int
	round   int
	lag     uint64
	// objects of the data set by phase: the warm-up reads others than the measurement.
	objects [3]uint64
}

// newOffer prepares an offer of which inFlight requests are under way at once.
func newOffer(plan *rundir.S3, seed uint64, inFlight int) *offer {
	m := plan.Mix
	divisor := gcd(gcd(m.Put, m.Get), gcd(m.Head, m.Delete))
	o := &offer{plan: plan, seed: seed, weights: [operations]int{
		opPut: m.Put / divisor, opGet: m.Get / divisor, opHead: m.Head / divisor, opDelete: m.Delete / divisor,
	}}
	for _, w := range o.weights {
		o.round += w
	}
	// A write that is still under way when its delete comes would leave its object behind. So many requests lie between
	// them that it would have to outlast twice as many as there are at once.
	o.lag = uint64(1 + (2*inFlight+o.round-1)/o.round)
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

// order is the order of the operations of one round. A worker keeps it, since its requests follow each other closely.
type order struct {
	phase load.Phase
	round uint64
	known bool
	// slots hold, for each place in the round, which of its requests stands there: the writes come first, then the reads
	// and so on, by their weights.
	slots []uint16
}

// shuffle brings the order to a round.
func (w *order) shuffle(o *offer, phase load.Phase, round uint64) {
	if w.known && w.phase == phase && w.round == round {
		return
	}
	w.phase, w.round, w.known = phase, round, true
	if w.slots == nil {
		w.slots = make([]uint16, o.round)
	}
	for i := range w.slots {
		w.slots[i] = uint16(i)
	}
	for i := len(w.slots) - 1; i > 0; i-- {
		x := load.Rand(o.seed, streamMix|uint64(phase), round*uint64(o.round)+uint64(i))
		j := load.Between(x, 0, i)
		w.slots[i], w.slots[j] = w.slots[j], w.slots[i]
	}
}

// of says what a request does, and to which object.
func (o *offer) of(r load.Request, w *order) (operation, object) {
	round := r.Index / uint64(o.round)
	w.shuffle(o, r.Phase, round)
	place := int(w.slots[r.Index%uint64(o.round)])
	for op := range operations {
		if place >= o.weights[op] {
			place -= o.weights[op]
			continue
		}
		switch op {
		case opPut:
			return op, o.object(written, r.Phase, o.nth(round, opPut, place))
		case opDelete:
			if round < o.lag {
				return op, o.object(victims, r.Phase, o.nth(round, opDelete, place))
			}
			return op, o.object(written, r.Phase, o.nth(round-o.lag, opPut, place))
		default:
			x := load.Rand(o.seed, streamKey|uint64(r.Phase), r.Index)
			return op, o.object(dataSet, r.Phase, x%o.objects[r.Phase])
		}
	}
	panic("s3: a round is as long as its weights add up to")
}

// nth numbers the requests of an operation through all rounds.
func (o *offer) nth(round uint64, op operation, place int) uint64 {
	return round*uint64(o.weights[op]) + uint64(place)
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
		return o.lag * uint64(o.weights[opDelete])
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
