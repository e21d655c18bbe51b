package app

import (
	"fmt"
	"strings"
	"time"

	"assay.bench/api/v1alpha1"
)

// progress shows how a benchmark goes: one line that changes on a terminal, plain lines elsewhere.
type progress struct {
	o     *OS
	start time.Time
	// shown is the last step that was written as a plain line, at is when.
	shown string
	at    time.Time
	open  bool // a changing line is on the terminal
}

// plainEvery is the longest silence where lines cannot change.
const plainEvery = 10 * time.Second

func newProgress(o *OS) *progress { return &progress{o: o, start: o.Now()} }

// update shows the state of one benchmark and what its clients saw lately.
func (p *progress) update(bm *v1alpha1.Benchmark, clients []v1alpha1.LoadClient) {
	step := bm.Status.Step
	if step == "" {
		step = "starting"
	}
	now := p.o.Now()
	elapsed := now.Sub(p.start).Round(time.Second)
	parts := []string{fmt.Sprintf("%4s", elapsed), step}
	if bm.Status.Progress != "" {
		parts = append(parts, bm.Status.Progress)
	}
	live := liveWords(clients)
	if live != "" {
		parts = append(parts, live)
	}
	line := strings.Join(parts, "  ")
	if p.o.Terminal {
		// Return, clear to the end of the line, and cut to what fits: a wrapped line could not be taken back.
		fmt.Fprintf(p.o.Stderr, "\r\x1b[K%s", cut(line, 110))
		p.open = true
		return
	}
	if step != p.shown || now.Sub(p.at) >= plainEvery {
		fmt.Fprintln(p.o.Stderr, line)
		p.shown, p.at = step, now
	}
}

// sayf writes a line of its own.
func (p *progress) sayf(format string, args ...any) {
	p.close()
	fmt.Fprintf(p.o.Stderr, format+"\n", args...)
}

// close takes the changing line back.
func (p *progress) close() {
	if p.open {
		fmt.Fprint(p.o.Stderr, "\r\x1b[K")
		p.open = false
	}
}

func liveWords(clients []v1alpha1.LoadClient) string {
	var words []string
	for _, c := range clients {
		l := c.Status.Live
		if l == nil || l.Rate == "" {
			continue
		}
		word := l.Rate
		if l.P99 != "" {
			word += " p99 " + l.P99
		}
		if l.Errors > 0 {
			word += fmt.Sprintf(" %d errors", l.Errors)
		}
		if len(clients) > 1 {
			word = c.Name + " " + word
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

func cut(s string, width int) string {
	r := []rune(s)
	if len(r) <= width {
		return s
	}
	return string(r[:width-1]) + "…"
}
