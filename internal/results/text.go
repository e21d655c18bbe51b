package results

import (
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Summary writes the end-of-run block for people: the verdict first, then what it rests on. Every number in it is in
// the result.
func Summary(w io.Writer, r Result) error {
	s := summary{r: r}
	s.verdict()
	s.slos()
	for _, c := range r.Clients {
		s.client(c)
	}
	s.validity()
	s.warnings()
	_, err := io.WriteString(w, s.String())
	return err
}

// summary builds the text.
type summary struct {
	strings.Builder
	r Result
}

func (s *summary) printf(format string, args ...any) { fmt.Fprintf(s, format, args...) }

// marks of good, bad and open.
const (
	good = "✓"
	bad  = "✗"
	open = "?"
)

func mark(word string) string {
	switch word {
	case Passed, Met:
		return good
	case Undecided, NotJudged:
		return open
	}
	return bad
}

func (s *summary) verdict() {
	r := s.r
	s.printf("%s %s  %s: %s\n", mark(r.Outcome), r.Benchmark, r.Outcome, r.Message)
	s.printf("  run %s on %s, %s, seed %d\n", r.Run, r.Site, r.Ended.Sub(r.Started).Round(time.Second), r.Seed)
}

func (s *summary) slos() {
	if len(s.r.SLOs) == 0 {
		return
	}
	s.printf("\n  SLOs\n")
	s.table(func(w io.Writer) {
		for _, v := range s.r.SLOs {
			fmt.Fprintf(w, "  %s %s(%s) of %s\t%s\t%s\t%s\n", mark(v.Verdict), v.Statistic, v.Metric, v.Client,
				limit(v), number(v.Value), v.Verdict)
		}
	})
	for _, v := range s.r.SLOs {
		if v.Verdict != Met {
			s.printf("    %s(%s): %s\n", v.Statistic, v.Metric, v.Why)
		}
	}
}

func limit(v Verdict) string {
	if v.AtMost != nil {
		return "≤ " + Quantity(*v.AtMost, v.Unit)
	}
	return "≥ " + Quantity(*v.AtLeast, v.Unit)
}

func (s *summary) client(c ClientResult) {
	s.printf("\n  %s → %s: %s, %s; %s warm-up + %s measured, %s\n", c.Name, c.Target, pace(c), plural(c.Ranks, "instance"),
		seconds(c.Warmup), seconds(c.Window), plural(len(c.Repeats), "repeat"))
	s.table(func(w io.Writer) {
		fmt.Fprint(w, "  \t")
		for _, st := range statistics() {
			fmt.Fprintf(w, "%s\t", st.name)
		}
		fmt.Fprintln(w, "95 % of the p50")
		for _, metric := range latencies()[:4] {
			latencyRow(w, c, metric)
		}
	})
	s.table(func(w io.Writer) {
		for _, x := range []struct{ metric, word string }{
			{"request_throughput", "requests"}, {"output_token_throughput", "output tokens"}, {"input_token_throughput", "input tokens"},
		} {
			if v := Find(c.Values, x.metric, "value"); v != nil && v.Value != nil && *v.Value > 0 {
				fmt.Fprintf(w, "  %s\t%s\n", x.word, number(*v))
			}
		}
		if v := Find(c.Values, "success_ratio", "value"); v != nil && v.Value != nil {
			fmt.Fprintf(w, "  success\t%s, %d of %d requests\n", Quantity(*v.Value, "%"), c.Measured.Succeeded, c.Measured.Succeeded+c.Measured.Failed)
		}
	})
	for _, e := range c.Errors {
		s.printf("  %s %d × %s %s\n", bad, e.Count, kind(e), firstLine(e.Sample))
	}
}

func latencyRow(w io.Writer, c ClientResult, metric string) {
	if Find(c.Values, metric, "mean") == nil {
		return
	}
	fmt.Fprintf(w, "  %s\t", metric)
	for _, st := range statistics() {
		v := Find(c.Values, metric, st.name)
		switch {
		case v == nil || v.Value == nil:
			fmt.Fprint(w, "–\t")
		case v.AtLeast:
			fmt.Fprintf(w, "≥ %s\t", Quantity(*v.Value, v.Unit))
		default:
			fmt.Fprintf(w, "%s\t", Quantity(*v.Value, v.Unit))
		}
	}
	fmt.Fprintln(w, between(Find(c.Values, metric, "p50")))
}

func kind(e ErrorCount) string {
	if e.Code > 0 {
		return fmt.Sprintf("%s (%d)", e.Kind, e.Code)
	}
	return e.Kind
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

func pace(c ClientResult) string {
	if c.Mode == "closed" {
		return fmt.Sprintf("closed loop at concurrency %d", c.Concurrency)
	}
	return fmt.Sprintf("open loop at %s requests/s", strconv.FormatFloat(c.Rate, 'g', 6, 64))
}

func (s *summary) validity() {
	var words []string
	r := s.r
	words = append(words, fmt.Sprintf("%d of %d repeats whole", r.RepeatsWhole, r.RepeatsPlanned))
	if r.sound() {
		words = append(words, "the client did not limit the result")
	} else {
		words = append(words, "THE CLIENT LIMITED THE RESULT")
	}
	agree := 0
	for _, c := range r.CrossChecks {
		if c.Agrees {
			agree++
		}
	}
	if len(r.CrossChecks) > 0 {
		words = append(words, fmt.Sprintf("%d of %d counters of the server agree", agree, len(r.CrossChecks)))
	}
	for _, x := range r.Services {
		if x.ScrapesDue > 0 {
			words = append(words, fmt.Sprintf("%s: %s of the scrapes good", x.Name, Quantity(x.Coverage, "%")))
		}
	}
	s.printf("\n  valid: %s\n", strings.Join(words, ", "))
	if r.sound() {
		return
	}
	for _, c := range r.Clients {
		for _, l := range c.Limits {
			s.printf("    %s %s\n", c.Name, l)
		}
	}
}

func (s *summary) warnings() {
	for _, w := range s.r.Warnings {
		s.printf("  ! %s\n", w)
	}
}

// table aligns columns.
func (s *summary) table(fill func(w io.Writer)) {
	w := tabwriter.NewWriter(s, 0, 0, 2, ' ', 0)
	fill(w)
	_ = w.Flush() // a Builder never fails
}

// number is a value with its interval and counts.
func number(v Value) string {
	if v.Value == nil {
		return "none: " + v.Note
	}
	out := Quantity(*v.Value, v.Unit)
	if v.AtLeast {
		out = "≥ " + out
	}
	if in := between(&v); in != "" {
		out += " " + in
	}
	return out + fmt.Sprintf(", %d requests in %s", v.Requests, plural(v.Runs, "run"))
}

// between is the interval, an open end as an ellipsis.
func between(v *Value) string {
	if v == nil || v.Interval == NoInterval || v.Low == nil && v.High == nil {
		return ""
	}
	end := func(x *float64) string {
		if x == nil {
			return "…"
		}
		return Quantity(*x, v.Unit)
	}
	return fmt.Sprintf("[%s, %s] over %s", end(v.Low), end(v.High), strings.ToLower(v.Interval))
}

// Quantity writes a number with at least three significant digits and its unit: s becomes µs, ms or s, and % takes a
// share.
func Quantity(x float64, unit string) string {
	switch {
	case unit == "%":
		return digits(100*x) + " %"
	case unit == "s" && math.Abs(x) < 1e-3:
		return digits(x*1e6) + " µs"
	case unit == "s" && math.Abs(x) < 1:
		return digits(x*1e3) + " ms"
	case unit == "s":
		return digits(x) + " s"
	case unit == "1/s":
		return digits(x) + "/s"
	}
	return digits(x)
}

func digits(x float64) string {
	switch a := math.Abs(x); {
	case a == 0:
		return "0"
	case a >= 100:
		return strconv.FormatFloat(x, 'f', 0, 64)
	case a >= 10:
		return strconv.FormatFloat(x, 'f', 1, 64)
	}
	return strconv.FormatFloat(x, 'g', 3, 64)
}

func seconds(x float64) string {
	return time.Duration(x * second).Round(time.Millisecond).String()
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
