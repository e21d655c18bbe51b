package results

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

// Summary writes the end-of-run block for people: the verdict first, then what it rests on. Every number in it is in
// the result. Lines are at most 100 characters long, unless names are very long.
func Summary(w io.Writer, r Result) error {
	s := summary{r: r}
	s.verdict()
	s.slos()
	for _, c := range r.Clients {
		s.client(c)
	}
	s.legend()
	s.validity()
	for _, w := range r.Warnings {
		s.words("  ! ", w)
	}
	if _, err := io.WriteString(w, s.String()); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}

// width is that of a line.
const width = 100

// lines builds a text.
type lines struct{ strings.Builder }

// summary builds the text and remembers the signs that its end explains.
type summary struct {
	lines

	r     Result
	signs []string
}

func (l *lines) printf(format string, args ...any) { fmt.Fprintf(l, format, args...) }

// words writes text in lines of at most width; what follows the first is indented as far.
func (l *lines) words(indent, text string) {
	line, next := indent, strings.Repeat(" ", utf8.RuneCountInString(indent))
	empty := true
	for word := range strings.FieldsSeq(text) {
		if !empty && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			l.printf("%s\n", strings.TrimRight(line, " "))
			line, empty = next, true
		}
		if !empty {
			line += " "
		}
		line, empty = line+word, false
	}
	l.printf("%s\n", strings.TrimRight(line, " "))
}

// mark is ✓ for good, ✗ for bad and ? for open.
func mark(word string) string {
	switch word {
	case Passed, Met:
		return "✓"
	case Undecided, NotJudged:
		return "?"
	}
	return "✗"
}

func (s *summary) verdict() {
	r := s.r
	s.words(mark(r.Outcome)+" ", fmt.Sprintf("%s  %s: %s", r.Benchmark, r.Outcome, r.Message))
	where := []string{"run " + r.Run + " on " + cmp.Or(r.Site, "no site"), "took " + length(r.Took)}
	for _, j := range r.Jobs {
		switch {
		case j.ID == "":
		case j.Nodes == "":
			where = append(where, "job "+j.ID)
		default:
			where = append(where, "job "+j.ID+" on "+j.Nodes)
		}
	}
	s.words("  ", strings.Join(where, ", "))
}

func (s *summary) slos() {
	if len(s.r.SLOs) == 0 {
		return
	}
	t := table{align: "llrrl"}
	t.add("", "SLO", "limit", "measured", "95 % interval")
	for _, v := range s.r.SLOs {
		t.add(mark(v.Verdict), v.name(), v.limit(), v.measured(), between(v.Value))
	}
	s.printf("\n")
	t.write(s)
	said := ""
	for _, v := range s.r.SLOs {
		if v.Verdict == NotJudged && v.Why == said {
			continue // for one reason none of them is judged
		}
		said = v.Why
		s.reason(v)
	}
}

// reason says how a verdict was reached, unless the table shows it, and why a number or its interval is missing.
func (s *summary) reason(v Verdict) {
	if v.Verdict == NotJudged {
		s.words("    ", "not judged: "+v.Why)
		return
	}
	var words []string
	if v.Verdict != Met || quantileOf(v.Statistic) > 0 {
		words = append(words, v.Why)
	}
	if between(v.Value) == "" && v.Value.Note != "" && !strings.Contains(v.Why, v.Value.Note) {
		words = append(words, v.Value.Note)
	}
	if len(words) > 0 {
		s.words("    ", v.name()+": "+strings.Join(words, "; "))
	}
}

func (v Verdict) limit() string {
	switch {
	case v.AtMost != nil:
		return "≤ " + bound(*v.AtMost, v.Unit)
	case v.AtLeast != nil:
		return "≥ " + bound(*v.AtLeast, v.Unit)
	}
	return "none"
}

// measured is the value with as many digits as it takes to tell it from the limit.
func (v Verdict) measured() string {
	limit := v.AtMost
	if limit == nil {
		limit = v.AtLeast
	}
	x := v.Value
	if limit == nil || x.Value == nil || x.bounded() {
		return x.Number()
	}
	return apart(*x.Value, *limit, v.Unit)
}

// bounded says that the value is printed as a bound.
func (v Value) bounded() bool { return v.AtLeast && v.Low != nil }

// Number is the value alone: a bound where that is all that can be said.
func (v Value) Number() string {
	switch {
	case v.Value == nil:
		return "none"
	case v.bounded():
		return "≥ " + Quantity(*v.Low, v.Unit)
	}
	return Quantity(*v.Value, v.Unit)
}

// between is the interval of a value; "" for none.
func between(v Value) string {
	if v.Value == nil || v.Interval == NoInterval || v.bounded() || v.Low == nil && v.High == nil {
		return ""
	}
	s := scaleOf(*v.Value, v.Unit)
	out := s.span(v.Low, v.High) + s.suffix
	switch {
	case v.Interval == OverRuns:
		return out + " over " + plural(v.Runs, "run")
	case v.Samples > 0:
		return out + " over " + count(v.Samples) + " gaps"
	}
	return out + " over " + count(v.Requests) + " requests"
}

// String is the value with its interval or the reason why it has none, for one line.
func (v Value) String() string {
	return v.Number() + " (" + cmp.Or(between(v), v.Note, "no interval") + ")"
}

func (s *summary) validity() {
	r := s.r
	words := []string{fmt.Sprintf("%d of %d repeats whole", r.RepeatsWhole, r.RepeatsPlanned)}
	switch {
	case len(r.Clients) == 0 || r.RepeatsWhole == 0 && !slices.ContainsFunc(r.Clients, func(c ClientResult) bool { return len(c.Repeats) > 0 }):
		words = append(words, "nothing was measured")
	case r.sound():
		words = append(words, "the client did not limit the result")
	default:
		words = append(words, "THE CLIENT LIMITED THE RESULT")
	}
	if len(r.CrossChecks) > 0 && r.measured() {
		agree := "the counters of the server agree with the client"
		if slices.ContainsFunc(r.CrossChecks, func(c CrossCheck) bool { return !c.Agrees }) {
			agree = "THE COUNTERS OF THE SERVER DO NOT ALL AGREE"
		}
		words = append(words, agree)
	}
	for _, x := range r.Services {
		if x.ScrapesDue > 0 {
			words = append(words, fmt.Sprintf("%s of the scrapes of %s good", Quantity(x.Coverage, "1"), x.Name))
		}
	}
	for _, x := range r.Services {
		words = append(words, x.gpuWords()...)
	}
	s.printf("\n")
	s.words("  valid: ", strings.Join(words, "; "))
	s.counters()
	for _, c := range r.Clients {
		for _, l := range c.Limits {
			s.words("    ✗ ", c.Name+" "+l)
		}
	}
}

// gpuWords say whether the service had the GPUs that it was given; the first rank of which that is not known speaks for
// all.
func (x ServiceResult) gpuWords() []string {
	if len(x.GPUs) == 0 {
		return nil
	}
	for _, c := range x.GPUs {
		switch c.State {
		case GPUWrong:
			return []string{"THE GPUS OF " + x.Name + " ARE NOT THOSE THAT IT WAS GIVEN"}
		case GPUUnverified:
			return []string{"the GPUs of " + x.Name + " are unverified: " + c.Message}
		}
	}
	return []string{"the GPUs of " + x.Name + " are those that it was given"}
}

// counters shows what the server and the clients have counted, over all repeats, with the difference.
func (s *summary) counters() {
	if !s.r.measured() || len(s.r.Counted) == 0 {
		return
	}
	t := table{align: "llrrr"}
	t.add("", "counted", "by the server", "by the clients", "difference")
	for _, c := range s.r.Counted {
		server, difference, sign := "not read", "", "✗"
		if c.Server != nil {
			server, difference = bound(*c.Server, ""), bound(c.Difference, "")
		}
		if c.Agrees {
			sign = "✓"
		}
		t.add(sign, c.Service+" "+c.Total, server, count(c.Clients), difference)
	}
	t.write(s)
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return count(int64(n)) + " " + word + "s"
}
