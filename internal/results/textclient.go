package results

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// client writes what one client measured.
func (s *summary) client(c ClientResult) {
	s.printf("\n")
	if len(c.Repeats) == 0 {
		s.words("  ", c.Name+" → "+c.Target+": nothing was measured")
		return
	}
	load := fmt.Sprintf("%s → %s: %s", c.Name, c.Target, pace(c))
	if c.Ranks > 1 {
		load += ", " + plural(c.Ranks, "instance")
	}
	if c.Payload != "" {
		load += "; payload " + c.Payload + ", content " + map[string]string{"Verify": "verified", "Discard": "not verified"}[c.Content]
	}
	s.words("  ", load)
	phases := fmt.Sprintf("%s in %s of %s after %s of warm-up", plural(int(c.Measured.Offered), "request"),
		plural(s.r.RepeatsPlanned, "repeat"), length(c.Window), length(c.Warmup))
	if c.InFlight > 0 {
		phases += "; on average " + digits(c.InFlight, 3) + " in flight"
	}
	s.words("  ", phases)
	s.latencies(c)
	t := table{align: "lrl"}
	for _, x := range []struct{ metric, word string }{
		{"request_throughput", "requests"}, {"output_token_throughput", "output tokens"},
		{"input_token_throughput", "input tokens"}, {"read_throughput", "read"}, {"write_throughput", "written"},
		{"success_ratio", "succeeded"},
	} {
		if v := Find(c.Values, x.metric, "value"); v != nil && (v.Value == nil || *v.Value > 0 || x.metric == "success_ratio") {
			t.add(x.word, v.Number(), cmp.Or(between(*v), v.Note))
		}
	}
	t.write(s)
	for _, e := range c.Errors {
		s.words("  ✗ ", fmt.Sprintf("%s × %s %s", count(e.Count), kind(e), firstLine(e.Sample)))
	}
	s.attempts(c)
}

// attempts names the attempts that failed, where there are more of them than of requests that did.
func (s *summary) attempts(c ClientResult) {
	var all int64
	var kinds []string
	for _, e := range c.FailedAttempts {
		all += e.Count
		kinds = append(kinds, count(e.Count)+" × "+kind(e))
	}
	if all > c.Measured.Failed {
		s.words("  ! ", fmt.Sprintf("%s of %s failed, and requests were tried again: %s",
			count(all), plural(int(c.Measured.Attempts), "attempt"), strings.Join(kinds, ", ")))
	}
}

func pace(c ClientResult) string {
	if c.Mode == "open" {
		return "open loop at " + Quantity(c.Rate, "1/s")
	}
	return "closed loop at concurrency " + count(int64(c.Concurrency))
}

// shown are the latencies in the table, those of successes only where something failed.
func shown() []string {
	return []string{"put", "put_ok", "get_ttfb", "get_ttfb_ok", "get", "get_ok", "head", "head_ok", "delete", "delete_ok", "ttft", "ttft_ok", "e2e", "e2e_ok", "tpot", "itl_token"}
}

// latencies writes a line of numbers for each metric, and under it a line of their intervals.
func (s *summary) latencies(c ClientResult) {
	t := table{align: "l" + strings.Repeat("r", len(statistics()))}
	head := []string{""}
	for _, st := range statistics() {
		head = append(head, st.name)
	}
	t.add(head...)
	for _, metric := range shown() {
		values, intervals, some := []string{metric}, []string{""}, false
		for _, st := range statistics() {
			number, interval := "", ""
			if v := Find(c.Values, metric, st.name); v != nil {
				some = true
				number, interval = s.cell(*v)
			}
			values, intervals = append(values, number), append(intervals, interval)
		}
		if some {
			if metric == "e2e" && c.Workload == objectStore {
				s.sign(objectStore)
			} else {
				s.sign(metric)
			}
			t.add(values...)
			if strings.Join(intervals, "") != "" {
				t.add(intervals...)
			}
		}
	}
	if len(t.rows) > 1 {
		t.write(s)
	}
}

// cell is a number and its interval for the table.
func (s *summary) cell(v Value) (number, interval string) {
	switch {
	case v.Value == nil:
		s.sign("none")
		return "none", ""
	case v.bounded():
		s.sign("≥")
		return v.Number(), ""
	case v.Interval == NoInterval || v.Low == nil && v.High == nil:
		if v.Statistic != "max" && !strings.HasSuffix(v.Metric, "_ok") {
			s.sign("?")
			return v.Number(), "?"
		}
		return v.Number(), ""
	}
	interval = scaleOf(*v.Value, v.Unit).span(v.Low, v.High)
	s.sign(v.Interval)
	if v.Interval == OverRequests && v.Runs >= minRuns {
		s.sign("*")
		interval = "*" + interval
	}
	return v.Number(), interval
}

func (s *summary) sign(name string) {
	if !slices.Contains(s.signs, name) {
		s.signs = append(s.signs, name)
	}
}

// explained are the signs in the order in which the end explains them.
func explained() [][2]string {
	return [][2]string{
		{OverRuns, "Below a number stands its 95 % interval, from the spread of the runs."},
		{OverRequests, "Below a number stands its 95 % interval, from the spread of the requests."},
		{"*", "* from the spread of all requests, since one run has too few of them."},
		{"≥", "≥: there are too few requests for an upper end; the true value is at least this."},
		{"?", "?: there are too few requests for an interval."},
		{"none", "none: so many requests failed that the number would fall among them."},
		{"ttft", "ttft: time to first token."},
		{"e2e", "e2e: time to the last token."},
		{objectStore, "e2e: time to the end of a request."},
		{"get_ttfb", "get_ttfb: time to the first byte of an object."},
		{"tpot", "tpot: mean time per output token after the first."},
		{"itl_token", "itl_token: gap between two tokens."},
		{"_ok", "_ok: only requests that succeeded; never judge a server by it."},
	}
}

// legend explains the signs that occur.
func (s *summary) legend() {
	var words []string
	for _, e := range explained() {
		used := slices.Contains(s.signs, e[0])
		switch e[0] {
		case OverRequests: // the star says it for single numbers
			used = used && !slices.Contains(s.signs, OverRuns)
		case "_ok":
			used = slices.ContainsFunc(s.signs, func(name string) bool { return strings.HasSuffix(name, "_ok") })
		}
		if used {
			words = append(words, e[1])
		}
	}
	if len(words) > 0 {
		s.printf("\n")
		s.words("  ", strings.Join(words, " "))
	}
}

func kind(e ErrorCount) string {
	words := e.Kind
	if e.Operation != "" {
		words = e.Operation + " " + words
	}
	if e.Code > 0 {
		words += fmt.Sprintf(" (%d)", e.Code)
	}
	return words
}

// maxSample is how much of an error's sample a line shows.
const maxSample = 100

func firstLine(sample string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(sample), "\n")
	if r := []rune(line); len(r) > maxSample {
		return string(r[:maxSample]) + "…"
	}
	return line
}

// table aligns columns, l to the left and r to the right.
type table struct {
	align string
	rows  [][]string
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

func (t *table) write(w io.Writer) {
	widths := make([]int, len(t.align))
	for _, row := range t.rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t.rows {
		var line strings.Builder
		line.WriteString(" ")
		for i, cell := range row {
			fill := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if t.align[i] == 'r' {
				cell, fill = fill+cell, ""
			}
			line.WriteString(" " + cell + fill)
			if widths[i] > 1 {
				line.WriteString(" ")
			}
		}
		fmt.Fprintln(w, strings.TrimRight(line.String(), " "))
	}
}
