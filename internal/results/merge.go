package results

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

// part is one client in one repeat, its ranks merged.
type part struct {
	repeat   int
	ranks    []Rank
	measured Counts
	all      Counts
	errors   []ErrorCount
	// window and batch in seconds.
	window, batch float64
	dists         map[string]dist
	// batches of each metric, by index.
	batches map[string][]dist
	sound   bool
	limits  []string
}

// isPerRequest says whether a metric has one value for each request, which a failure makes infinitely late.
func isPerRequest(metric string) bool {
	switch metric {
	case "e2e", "ttft", "tpot", "e2e_from_send", "ttft_from_send":
		return true
	}
	return false
}

const second = 1e9

// mergeRanks joins the ranks of one client in one repeat. All of them share T0's grid, so batch b of one rank is the
// same span of time as batch b of another.
func mergeRanks(ranks []Rank) (part, error) {
	if len(ranks) == 0 {
		return part{}, errors.New("no rank")
	}
	p := part{repeat: ranks[0].Repeat, ranks: ranks, sound: true, dists: map[string]dist{}, batches: map[string][]dist{}}
	parts := map[string][]dist{}
	for _, r := range ranks {
		p.window = max(p.window, float64(r.Window)/second)
		p.batch = max(p.batch, float64(r.Batch)/second)
		p.measured = plus(p.measured, r.Measured)
		p.all = plus(p.all, r.All)
		p.errors = addErrors(p.errors, r.Errors)
		if !r.Audit.Sound {
			p.sound = false
			for _, v := range r.Audit.Violations {
				p.limits = append(p.limits, fmt.Sprintf("rank %d: %s", r.Rank, v))
			}
		}
		for _, m := range r.Metrics {
			d, err := newDist(m)
			if err != nil {
				return part{}, fmt.Errorf("client %s rank %d repeat %d: %w", r.Client, r.Rank, r.Repeat, err)
			}
			parts[m.Name] = append(parts[m.Name], d)
			if err := p.addBatches(m); err != nil {
				return part{}, fmt.Errorf("client %s rank %d repeat %d: %w", r.Client, r.Rank, r.Repeat, err)
			}
		}
	}
	for name, ds := range parts {
		d := merged(ds...)
		if isPerRequest(name) {
			d.failed = p.measured.Failed
		}
		p.dists[name] = d
	}
	return p, nil
}

func (p *part) addBatches(m Metric) error {
	list := p.batches[m.Name]
	for i, b := range m.Batches {
		if i == len(list) {
			list = append(list, dist{})
		}
		bins, err := decode(b.Histogram)
		if err != nil {
			return fmt.Errorf("metric %s batch %d: %w", m.Name, i, err)
		}
		d := dist{bins: bins, sum: float64(b.Sum), count: b.Count}
		list[i] = merged(list[i], d)
	}
	p.batches[m.Name] = list
	return nil
}

func plus(a, b Counts) Counts {
	return Counts{
		Offered: a.Offered + b.Offered, Sent: a.Sent + b.Sent,
		Succeeded: a.Succeeded + b.Succeeded, Failed: a.Failed + b.Failed,
		Attempts: a.Attempts + b.Attempts, Completed: a.Completed + b.Completed,
		InputTokens: a.InputTokens + b.InputTokens, OutputTokens: a.OutputTokens + b.OutputTokens,
		WindowOutputTokens: a.WindowOutputTokens + b.WindowOutputTokens,
		WindowInputTokens:  a.WindowInputTokens + b.WindowInputTokens,
	}
}

// addErrors adds up kinds with their codes, and keeps the first sample of each.
func addErrors(list, more []ErrorCount) []ErrorCount {
	for _, e := range more {
		at := slices.IndexFunc(list, func(x ErrorCount) bool { return x.Kind == e.Kind && x.Code == e.Code })
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

// pool joins the repeats of one client into one: their requests together, their batches one after the other.
func pool(parts []part) part {
	out := part{sound: true, dists: map[string]dist{}, batches: map[string][]dist{}}
	all := map[string][]dist{}
	for _, p := range parts {
		out.window += p.window
		out.batch = p.batch
		out.measured = plus(out.measured, p.measured)
		out.all = plus(out.all, p.all)
		out.errors = addErrors(out.errors, p.errors)
		out.sound = out.sound && p.sound
		for name, d := range p.dists {
			all[name] = append(all[name], d)
			out.batches[name] = append(out.batches[name], p.batches[name]...)
		}
	}
	for name, ds := range all {
		out.dists[name] = merged(ds...)
	}
	return out
}
