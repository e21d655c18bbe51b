package sim

import (
	"math"
	"math/rand/v2"
	"time"

	"assay.bench/internal/rundir"
)

// operation is one of the operations of an object store's load.
type operation struct {
	name, call string
	weight     int
	bytes      string // the total that its content counts in; "" for none
	time       time.Duration
}

func operationsOf(m rundir.S3Mix) []operation {
	return []operation{
		{"put", "PutObject", m.Put, "bytes_written", 50 * time.Millisecond},
		{"get", "GetObject", m.Get, "bytes_read", 30 * time.Millisecond},
		{"head", "HeadObject", m.Head, "", 2 * time.Millisecond},
		{"delete", "DeleteObject", m.Delete, "", 4 * time.Millisecond},
	}
}

// fillS3 gives a result what an object store's load measures: each operation has its share of the requests.
func (c *Cluster) fillS3(out *rankResult, cl *rundir.Client, window, all int64, variant uint64) {
	weights := int64(cl.S3.Mix.Put + cl.S3.Mix.Get + cl.S3.Mix.Head + cl.S3.Mix.Delete)
	mean := (cl.S3.Size.Min + cl.S3.Size.Max) / 2
	random := rand.New(rand.NewPCG(c.o.Seed, variant))
	out.Operations, out.Totals, out.Metrics = nil, nil, nil
	bytes := map[string]*total{"bytes_read": {Name: "bytes_read"}, "bytes_written": {Name: "bytes_written"}}
	e2e, before := newMeter("e2e"), int64(0)
	for _, op := range operationsOf(cl.S3.Mix) {
		upTo := before + int64(op.weight)
		n, nAll := window*upTo/weights-window*before/weights, all*upTo/weights-all*before/weights
		before = upTo
		out.Operations = append(out.Operations, kind{Name: op.name, Succeeded: n})
		out.Totals = append(out.Totals, total{Name: op.call, All: nAll, Window: n})
		if b := bytes[op.bytes]; b != nil {
			b.All, b.Window = b.All+nAll*mean, b.Window+n*mean
		}
		m := newMeter(op.name)
		for k := range n {
			m.add(int(k)*batchCount/int(n), int64(float64(op.time)*math.Exp(0.3*random.NormFloat64())))
		}
		if n > 0 {
			out.Metrics = append(out.Metrics, m.done())
		}
	}
	for k := range window {
		e2e.add(int(k)*batchCount/int(window), int64(30e6*math.Exp(0.3*random.NormFloat64())))
	}
	out.Metrics = append(out.Metrics, e2e.done())
	out.Totals = append(out.Totals, *bytes["bytes_read"], *bytes["bytes_written"])
}
