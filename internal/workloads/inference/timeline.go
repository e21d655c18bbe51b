package inference

import "assay.bench/internal/load"

// timeline is when the content of one answer arrived.
type timeline struct {
	// stamps has the instant of each chunk with content, sums the output tokens up to it by usage, -1 without.
	stamps []int64
	sums   []int
	// input and output are by the last usage, -1 without.
	input, output int
}

func (t *timeline) reset() {
	t.stamps, t.sums = t.stamps[:0], t.sums[:0]
	t.input, t.output = -1, -1
}

// add takes in one event that arrived at an instant.
func (t *timeline) add(at int64, c chunk) {
	if c.input >= 0 {
		t.input = c.input
	}
	if c.output >= 0 {
		t.output = c.output
	}
	if c.content {
		t.stamps = append(t.stamps, at)
		t.sums = append(t.sums, c.output)
	}
}

// tokens is the number of output tokens: by usage, else one for each chunk with content.
func (t *timeline) tokens() int {
	if t.output >= 0 {
		return t.output
	}
	return len(t.stamps)
}

// continuous says that usage came with every chunk, so that the tokens of each are known.
func (t *timeline) continuous() bool {
	for i, sum := range t.sums {
		if sum < 0 || i > 0 && sum < t.sums[i-1] {
			return false
		}
	}
	return len(t.sums) > 0 && t.output >= t.sums[len(t.sums)-1]
}

// upTo is the number of tokens that had arrived with chunk i: by its usage, else the tokens of the whole answer spread
// evenly over its chunks, so that each chunk but for rounding has as many. Tokens after the last chunk, which have no
// content, count with it.
func (t *timeline) upTo(i int, continuous bool) int {
	switch {
	case i == len(t.stamps)-1:
		return t.tokens()
	case continuous:
		return t.sums[i]
	}
	return (i + 1) * t.tokens() / len(t.stamps)
}

// each calls f for each chunk with content: its instant and how many tokens it brought.
func (t *timeline) each(f func(at int64, tokens int)) {
	continuous := t.continuous()
	before := 0
	for i, at := range t.stamps {
		sum := t.upTo(i, continuous)
		f(at, sum-before)
		before = sum
	}
}

// count tells the op which tokens arrived when.
func (t *timeline) count(op *load.Op) {
	if len(t.stamps) == 0 && t.output > 0 {
		op.Count(outputTokens, op.Done, int64(t.output))
	}
	t.each(func(at int64, tokens int) { op.Count(outputTokens, at, int64(tokens)) })
}

// observe records the metrics of an answer that succeeded; it has at least one chunk with content.
func (t *timeline) observe(op *load.Op) {
	first, last := t.stamps[0], t.stamps[len(t.stamps)-1]
	op.SinceScheduled(ttft, first)
	op.SinceSent(ttftFromSend, first)
	if n := t.tokens(); n > 1 {
		op.Observe(tpot, (last-first)/int64(n-1), 1)
	}
	t.observeGaps(op)
}

// observeGaps records itl_chunk for each gap between two chunks. For itl_token the k tokens of a chunk share the gap
// since the last chunk that had any; without usage in each chunk the n-1 tokens after the first are spread over the gaps.
func (t *timeline) observeGaps(op *load.Op) {
	continuous := t.continuous()
	gaps := len(t.stamps) - 1
	since, before := t.stamps[0], 0
	if continuous {
		before = t.sums[0]
	}
	for i := 1; i <= gaps; i++ {
		at := t.stamps[i]
		op.Observe(itlChunk, at-t.stamps[i-1], 1)
		sum := i * (t.tokens() - 1) / gaps
		if continuous {
			sum = t.sums[i]
		}
		if k := sum - before; k > 0 {
			op.Observe(itlToken, (at-since)/int64(k), k)
			since, before = at, sum
		}
	}
}
