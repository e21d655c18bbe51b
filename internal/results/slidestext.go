package results

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// about says of a result whether it is valid, over how many repeats it is, and what its reader must know.
func about(r *Result, name string) []string {
	var out []string
	if why := r.invalid(); why != "" {
		out = append(out, "✗ "+name+" is not valid: "+why)
	}
	if words := r.overRepeats(); words != "" {
		out = append(out, name+": "+words)
	}
	for _, w := range r.Warnings {
		if w != r.limits() { // said already
			out = append(out, "! "+name+": "+w)
		}
	}
	return out
}

// invalid says why the numbers prove nothing; "" where they count. What the client limited is named beside any end.
func (r *Result) invalid() string {
	counts := slices.Contains([]string{Passed, SLOViolated, Undecided}, r.Outcome)
	switch {
	case counts && r.sound():
		return ""
	case counts:
		return r.limits()
	case r.sound() || strings.Contains(r.Message, r.limits()):
		return r.Outcome + ": " + r.Message
	}
	return r.Outcome + ": " + r.Message + "; " + r.limits()
}

// overRepeats says what is counted over several repeats, and how; "" for one.
func (r *Result) overRepeats() string {
	there := 0
	for _, c := range r.Clients {
		there = max(there, len(c.Repeats))
	}
	if there == 0 || r.RepeatsPlanned < 2 && there < 2 {
		return ""
	}
	words := "over " + plural(there, "repeat")
	if there < r.RepeatsPlanned {
		words = fmt.Sprintf("over %d of %s", there, plural(r.RepeatsPlanned, "repeat"))
	}
	if r.RepeatsWhole < there {
		words += fmt.Sprintf(", %d of them whole", r.RepeatsWhole)
	}
	if there < minRuns {
		return words + ", all their requests together"
	}
	return words + ": Total Ops and Success Rate over all their requests together, the other numbers the medians of the repeats, " +
		"or over all requests too where one repeat has too few"
}

// Text writes the table in columns, and the notes under it.
func (s Slides) Text(w io.Writer) error {
	t := table{rows: s.Rows}
	if len(s.Rows) > 0 {
		t.align = strings.Repeat("l", len(s.Rows[0]))
	}
	var out lines
	t.write(&out)
	if len(s.Notes) > 0 {
		out.printf("\n")
	}
	for _, n := range s.Notes {
		out.words("  - ", n)
	}
	return writeTo(w, out.String())
}

// Markdown writes the table and the notes as Markdown.
func (s Slides) Markdown(w io.Writer) error {
	escape := strings.NewReplacer(`\`, `\\`, "|", `\|`, "<", "&lt;", "*", `\*`, "`", "\\`")
	var out lines
	for i, row := range s.Rows {
		cells := make([]string, len(row))
		for j := range row {
			cells[j] = escape.Replace(row[j])
		}
		out.printf("| %s |\n", strings.Join(cells, " | "))
		if i == 0 {
			out.printf("|%s\n", strings.Repeat(" --- |", len(row)))
		}
	}
	if len(s.Notes) > 0 {
		out.printf("\n")
	}
	for _, n := range s.Notes {
		out.printf("- %s\n", escape.Replace(oneLine(n)))
	}
	return writeTo(w, out.String())
}

func writeTo(w io.Writer, text string) error {
	if _, err := io.WriteString(w, text); err != nil {
		return fmt.Errorf("write the table: %w", err)
	}
	return nil
}
