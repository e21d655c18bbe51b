package results

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// part is one client in one repeat with its ranks merged, or in all of its repeats.
type part struct {
	repeat        int
	ranks         []Rank
	measured, all Counts
	errors        []ErrorCount
	attempts      []ErrorCount // that failed, where failed requests are tried again
	// window is its length in seconds, that of all repeats together.
	window float64
	// lost are the requests of all kinds that did not succeed, operations the same by kind where there are several.
	lost       losses
	operations map[string]losses
	totals     []Total
	dists      map[string]dist
	// blocks of each metric are groups parts of the window in order, for each repeat; nil where a rank has none.
	blocks    map[string][]dist
	truncated bool
	limits    []string
	// runs are the repeats of which this is the pool.
	runs []part
}

// losses are the measured requests that failed, and those that never ended although nothing stopped the load.
type losses struct {
	succeeded, failed int64
	// blocks are the failures in each block; nil where it is not known.
	blocks []int64
}

// losses are those of the requests that a metric speaks of: all, or those of the operation that it is named after.
func (p part) losses(metric string) losses {
	for operation, l := range p.operations {
		if isOf(metric, operation) {
			return l
		}
	}
	return p.lost
}

// isOf says whether a metric is one of an operation's own, such as get and get_ttfb of get.
func isOf(metric, operation string) bool {
	return metric == operation || strings.HasPrefix(metric, operation+"_")
}

const second = 1e9

// latencies are the metrics with a distribution, in the order in which they are shown.
func latencies() []string {
	return []string{"put", "get_ttfb", "get", "head", "delete", "ttft", "e2e", "tpot", "itl_token", "itl_chunk", "ttft_from_send", "e2e_from_send", "send_lag"}
}

// isPerGap says whether one request has many values of a metric.
func isPerGap(metric string) bool { return metric == "itl_token" || metric == "itl_chunk" }

// dist is a metric with its failures. Each failed request is one infinitely late value: a request that did not answer,
// or a gap that no token ended. How late a request was sent does not depend on what became of it.
func (p part) dist(metric string) dist {
	d := p.dists[metric]
	if metric != "send_lag" {
		d.failed = p.losses(metric).failed
	}
	return d
}

// mergeRanks joins the ranks of one client in one repeat. All of them share T0's grid, so batch b of one rank is the
// same span of time as batch b of another.
func mergeRanks(d *decoder, ranks []Rank) (part, error) {
	p := part{repeat: ranks[0].Repeat, ranks: ranks, dists: map[string]dist{}, blocks: map[string][]dist{}}
	metrics := map[string][]Metric{}
	for i, r := range ranks {
		if i > 0 && ranks[i-1].Rank == r.Rank {
			return part{}, fmt.Errorf("there are two results of rank %d", r.Rank)
		}
		if err := r.check(); err != nil {
			return part{}, fmt.Errorf("rank %d: %w", r.Rank, err)
		}
		if first := ranks[0]; r.ScheduleHash != first.ScheduleHash {
			return part{}, fmt.Errorf("ranks %d and %d had different schedules, %s and %s: they are not of one load", first.Rank, r.Rank,
				cmp.Or(first.ScheduleHash, "none"), cmp.Or(r.ScheduleHash, "none"))
		}
		p.window = max(p.window, float64(r.Window)/second)
		p.measured = plus(p.measured, r.Measured)
		p.all = plus(p.all, r.All)
		p.errors = addErrors(p.errors, r.Errors)
		p.attempts = addErrors(p.attempts, r.FailedAttempts)
		p.totals = addTotals(p.totals, r.Totals)
		p.truncated = p.truncated || r.Truncated
		if !r.Audit.Sound {
			p.limits = append(p.limits, limits(r)...)
		}
		for _, m := range r.Metrics {
			metrics[m.Name] = append(metrics[m.Name], m)
		}
	}
	for name, of := range metrics {
		var err error
		if p.dists[name], p.blocks[name], err = mergeMetric(d, of); err != nil {
			return part{}, fmt.Errorf("metric %s: %w", name, err)
		}
	}
	p.lost, p.operations = lossesOf(ranks)
	return p, nil
}

// check refuses numbers that no load can have.
func (r Rank) check() error {
	for _, n := range []int64{r.Warmup, r.Window, r.Cooldown, r.Batch} {
		if n < 0 {
			return fmt.Errorf("a length of %d ns cannot be", n)
		}
	}
	for _, c := range []Counts{r.Measured, r.All} {
		if err := possible(c.Offered, c.Sent, c.Succeeded, c.Failed, c.Attempts, c.Unsent, c.Completed); err != nil {
			return err
		}
	}
	for _, o := range r.Operations {
		if err := possible(o.Succeeded, o.Failed); err != nil {
			return err
		}
	}
	for _, t := range r.Totals {
		if err := possible(t.All, t.Window); err != nil {
			return err
		}
	}
	return nil
}

func possible(counts ...int64) error {
	for _, n := range counts {
		if n < 0 || n > maxCount {
			return fmt.Errorf("a count of %d cannot be", n)
		}
	}
	return nil
}

// lost counts what failed and what never ended. What was under way when something stopped the load is neither.
func lost(r Rank) int64 {
	if r.Truncated {
		return r.Measured.Failed
	}
	return max(r.Measured.Failed, r.Measured.Offered-r.Measured.Succeeded)
}

func limits(r Rank) []string {
	if len(r.Audit.Violations) == 0 {
		return []string{fmt.Sprintf("rank %d: it calls itself not sound", r.Rank)}
	}
	var out []string
	for _, v := range r.Audit.Violations {
		out = append(out, fmt.Sprintf("rank %d: %s", r.Rank, v))
	}
	return out
}

// mergeMetric merges one metric over the ranks. The blocks are nil where a rank has none.
func mergeMetric(d *decoder, of []Metric) (dist, []dist, error) {
	var whole []dist
	for _, m := range of {
		one, err := newDist(d, m)
		if err != nil {
			return dist{}, nil, err
		}
		if len(m.Batches) != 0 && len(m.Batches) != Batches {
			return dist{}, nil, fmt.Errorf("it has %d batches, this program reads %d", len(m.Batches), Batches)
		}
		whole = append(whole, one)
	}
	all := merged(whole)
	blocks, inBlocks := make([]dist, groups), int64(0)
	for i := range blocks {
		var err error
		if blocks[i], err = newBlock(d, of, i); err != nil {
			return dist{}, nil, err
		}
		inBlocks += blocks[i].count
	}
	if inBlocks != all.count {
		return all, nil, nil // without the order in time of a part there is no more to say
	}
	return all, blocks, nil
}

// newBlock merges the batches of a block over the ranks. Least and greatest values of a batch are not known.
func newBlock(d *decoder, of []Metric, block int) (dist, error) {
	var out dist
	const each = Batches / groups
	for _, m := range of {
		if len(m.Batches) == 0 {
			continue
		}
		for i, batch := range m.Batches[block*each : (block+1)*each] {
			n, err := d.add(batch.Histogram)
			if err == nil && (n != batch.Count || batch.Sum < 0) {
				err = fmt.Errorf("its histogram holds %d values, its count says %d, its sum %d", n, batch.Count, batch.Sum)
			}
			if err != nil {
				d.tally.reset()
				return dist{}, fmt.Errorf("batch %d: %w", block*each+i, err)
			}
			out.sum += float64(batch.Sum)
		}
	}
	out.bins = d.tally.bins()
	out.count = out.upTo()
	return out, nil
}

// lossesOf are the losses of all ranks, and by operation where there are several. A request that never ended is of no
// known operation, and so a loss of each.
func lossesOf(ranks []Rank) (all losses, operations map[string]losses) {
	all = losses{blocks: make([]int64, groups)}
	for _, r := range ranks {
		endless := lost(r) - r.Measured.Failed
		rank := losses{succeeded: r.Measured.Succeeded, blocks: make([]int64, groups)}
		for _, o := range r.Operations {
			one := newLosses(o, endless)
			if o.Name != "" {
				if operations == nil {
					operations = map[string]losses{}
				}
				operations[o.Name] = operations[o.Name].plus(one)
			}
			rank.blocks = bothBlocks(rank.blocks, newLosses(o, 0).blocks)
			rank.failed += o.Failed
		}
		if rank.failed != lost(r) {
			rank.failed, rank.blocks = lost(r), nil
		}
		all = all.plus(rank)
	}
	return all, operations
}

func newLosses(o Operation, endless int64) losses {
	l := losses{succeeded: o.Succeeded, failed: o.Failed + endless, blocks: make([]int64, groups)}
	rest := l.failed
	for i, n := range o.FailedBatches {
		rest -= n
		l.blocks[min(i*groups/Batches, groups-1)] += n
		if n < 0 {
			rest = -1
			break
		}
	}
	if rest != 0 || len(o.FailedBatches) != 0 && len(o.FailedBatches) != Batches {
		l.blocks = nil
	}
	return l
}

// plus adds up the losses of two ranks. The zero losses are those of no rank.
func (l losses) plus(more losses) losses {
	if l.blocks == nil && l.failed == 0 && l.succeeded == 0 {
		return more
	}
	return losses{succeeded: l.succeeded + more.succeeded, failed: l.failed + more.failed, blocks: bothBlocks(l.blocks, more.blocks)}
}

// bothBlocks adds up failures by block; nil where one side is not known.
func bothBlocks(a, b []int64) []int64 {
	if a == nil || b == nil {
		return nil
	}
	out := make([]int64, len(a))
	for i := range a {
		out[i] = a[i] + b[i]
	}
	return out
}

// addTotals adds up totals by name.
func addTotals(list, more []Total) []Total {
	list = slices.Clone(list)
	for _, t := range more {
		at := slices.IndexFunc(list, func(x Total) bool { return x.Name == t.Name })
		if at < 0 {
			list = append(list, t)
			continue
		}
		list[at].All += t.All
		list[at].Window += t.Window
	}
	return list
}

func plus(a, b Counts) Counts {
	return Counts{
		Offered: a.Offered + b.Offered, Sent: a.Sent + b.Sent,
		Succeeded: a.Succeeded + b.Succeeded, Failed: a.Failed + b.Failed,
		Attempts: a.Attempts + b.Attempts, Unsent: a.Unsent + b.Unsent, Completed: a.Completed + b.Completed,
	}
}

// addErrors adds up kinds with their codes, and keeps the first sample of each.
func addErrors(list, more []ErrorCount) []ErrorCount {
	for _, e := range more {
		at := slices.IndexFunc(list, func(x ErrorCount) bool { return x.Operation == e.Operation && x.Kind == e.Kind && x.Code == e.Code })
		if at < 0 {
			list = append(list, e)
			continue
		}
		list[at].Count += e.Count
		list[at].Sample = cmp.Or(list[at].Sample, e.Sample)
	}
	slices.SortFunc(list, func(a, b ErrorCount) int {
		return cmp.Or(-cmp.Compare(a.Count, b.Count), cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Code, b.Code))
	})
	return list
}

// pool joins the repeats of one client: their requests together, their blocks one after the other.
func pool(parts []part) part {
	out := part{dists: map[string]dist{}, blocks: map[string][]dist{}, runs: parts}
	all := map[string][]dist{}
	for _, p := range parts {
		out.window += p.window
		out.totals = addTotals(out.totals, p.totals)
		out.truncated = out.truncated || p.truncated
		out.measured = plus(out.measured, p.measured)
		out.all = plus(out.all, p.all)
		out.errors = addErrors(out.errors, p.errors)
		out.attempts = addErrors(out.attempts, p.attempts)
		for name, d := range p.dists {
			all[name] = append(all[name], d)
		}
	}
	for name, ds := range all {
		out.dists[name] = merged(ds)
		out.blocks[name] = joined(parts, func(p part) []dist { return p.blocks[name] })
	}
	out.lost = pooled(parts, func(p part) losses { return p.lost })
	for _, p := range parts {
		for name := range p.operations {
			if out.operations == nil {
				out.operations = map[string]losses{}
			}
			out.operations[name] = pooled(parts, func(p part) losses { return p.operations[name] })
		}
	}
	return out
}

// pooled are the losses of all repeats, with their blocks one after the other.
func pooled(parts []part, of func(part) losses) losses {
	out := losses{blocks: joined(parts, func(p part) []int64 { return of(p).blocks })}
	for _, p := range parts {
		out.succeeded += of(p).succeeded
		out.failed += of(p).failed
	}
	return out
}

// joined puts the blocks of all repeats one after the other; nil where a repeat has none.
func joined[T any](parts []part, of func(part) []T) []T {
	var out []T
	for _, p := range parts {
		blocks := of(p)
		if len(blocks) == 0 {
			return nil
		}
		out = append(out, blocks...)
	}
	return out
}
