//go:build bench

package bench

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"
)

// Row is one line of bench.json.
type Row struct {
	Name string `json:"name"`
	// Value is the median of Runs values in Unit, Low the least of them and High the greatest.
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
	Runs  int     `json:"runs"`
	Unit  string  `json:"unit"`
	// Baseline is the median of what the same run measured for comparison, Ratio is Value by Baseline; nil without one.
	Baseline *float64 `json:"baseline"`
	Ratio    *float64 `json:"ratio"`
	// Goal says in words what was promised, and Met whether it holds.
	Goal string `json:"goal"`
	Met  bool   `json:"met"`
}

// rows are what was measured so far.
type rows struct {
	t    *testing.T
	list []Row
}

// atMost adds a row whose goal is an upper limit.
func (r *rows) atMost(name, unit string, limit float64, values ...float64) {
	row := rowOf(name, unit, values)
	row.Goal, row.Met = fmt.Sprintf("at most %s %s", short(limit), unit), row.Value <= limit
	r.add(row)
}

// ratioAtMost adds a row whose goal is an upper limit of the ratio of each value to the baseline of the same repeat.
func (r *rows) ratioAtMost(name, unit string, limit float64, values, baselines []float64) {
	row := rowOf(name, unit, values)
	row.compare(values, baselines)
	row.Goal, row.Met = fmt.Sprintf("at most %s × the baseline", short(limit)), *row.Ratio <= limit
	r.add(row)
}

// atMostBeside is atMost with a baseline that is no goal.
func (r *rows) atMostBeside(name, unit string, limit float64, values, baselines []float64) {
	row := rowOf(name, unit, values)
	row.compare(values, baselines)
	row.Goal, row.Met = fmt.Sprintf("at most %s %s", short(limit), unit), row.Value <= limit
	r.add(row)
}

func (row *Row) compare(values, baselines []float64) {
	var ratios []float64
	for i, b := range baselines {
		ratios = append(ratios, values[i]/b)
	}
	baseline, ratio := median(baselines), median(ratios)
	row.Baseline, row.Ratio = &baseline, &ratio
}

func (r *rows) add(row Row) {
	r.t.Helper()
	r.list = append(r.list, row)
	r.t.Logf("%s: %s %s", row.Name, short(row.Value), row.Unit)
}

func rowOf(name, unit string, values []float64) Row {
	return Row{Name: name, Unit: unit, Value: median(values), Low: slices.Min(values), High: slices.Max(values), Runs: len(values)}
}

// median of at least one value.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// short writes three significant digits, and whole numbers in full.
func short(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.3g", v)
}

// table is for people.
func (r *rows) table() string {
	var out strings.Builder
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "WHAT\tMEDIAN\tSPREAD\tRUNS\tBASELINE\tRATIO\tGOAL\tMET")
	for _, row := range r.list {
		baseline, ratio, met := "-", "-", "yes"
		if row.Baseline != nil {
			baseline, ratio = short(*row.Baseline), short(*row.Ratio)
		}
		if !row.Met {
			met = "NO"
		}
		fmt.Fprintf(w, "%s\t%s %s\t%s to %s\t%d\t%s\t%s\t%s\t%s\n", row.Name, short(row.Value), row.Unit, short(row.Low), short(row.High),
			row.Runs, baseline, ratio, row.Goal, met)
	}
	_ = w.Flush() // into memory
	return out.String()
}

// missed are the rows whose goal was not met, in words.
func (r *rows) missed() []string {
	var out []string
	for _, row := range r.list {
		if row.Met {
			continue
		}
		ratio := ""
		if row.Ratio != nil {
			ratio = ", the ratio " + short(*row.Ratio)
		}
		out = append(out, fmt.Sprintf("%s: %s %s%s, the goal is %s", row.Name, short(row.Value), row.Unit, ratio, row.Goal))
	}
	return out
}

// write puts the rows into a file.
func (r *rows) write(path string) error {
	b, err := json.MarshalIndent(r.list, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(b, '\n'), 0o600)
}
