package results

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Slides is the table of key numbers with which the slides end that the project began from: a row for each of their
// metrics, a column for each client of each result. Every cell is a number of a result, or the quotient of one by the
// number of instances; "-" where the result has none.
type Slides struct {
	// Rows of cells, as many in each: the first row is the head, the first cell of a row its name.
	Rows [][]string
	// Notes say what a reader must know of the numbers: above all, which result is not valid, and why.
	Notes []string
}

// NewSlides makes the table of some results.
func NewSlides(all []Result) Slides {
	var out Slides
	head := []string{"Metric"}
	var columns []*column
	for i := range all {
		of := columnsOf(&all[i], label(all, i))
		columns = append(columns, of...)
		out.Notes = append(out.Notes, about(&all[i], label(all, i))...)
		for _, c := range of {
			head = append(head, c.head)
		}
	}
	out.Rows = append(out.Rows, head)
	for _, r := range slideRows() {
		cells := []string{r.name}
		for _, c := range columns {
			cells = append(cells, r.cell(c, r.name))
		}
		out.Rows = append(out.Rows, cells)
	}
	bounds := false
	for _, c := range columns {
		out.Notes = append(out.Notes, c.missing...)
		bounds = bounds || c.bounds
	}
	if bounds {
		at := slices.IndexFunc(explained(), func(e [2]string) bool { return e[0] == "≥" })
		out.Notes = append(out.Notes, explained()[at][1])
	}
	return out
}

// label is the name of a benchmark, with a number where several of the results have it.
func label(all []Result, i int) string {
	same, before := 0, 0
	for j := range all {
		if all[j].Benchmark == all[i].Benchmark {
			same++
			if j < i {
				before++
			}
		}
	}
	name := oneLine(all[i].Benchmark)
	if same > 1 {
		name += " (" + strconv.Itoa(before+1) + ")"
	}
	return name
}

// oneLine makes a text from a file fit for a cell.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
}

// slideRow is a row: its name, and what it says of a client.
type slideRow struct {
	name string
	cell func(c *column, row string) string
}

// slideRows are the rows of the slides, in their words and in their order.
func slideRows() []slideRow {
	return []slideRow{
		{"Duration", (*column).duration},
		{"Clients", (*column).clients},
		{"Model/Target", (*column).target},
		{"Total Ops", (*column).total},
		{"Throughput", (*column).throughput},
		{"Latency Avg", func(c *column, row string) string { return c.latency(row, "mean") }},
		{"Latency P95", func(c *column, row string) string { return c.latency(row, "p95") }},
		{"Tokens/s", (*column).tokens},
		{"Success Rate", (*column).success},
	}
}

// noNumber stands where a result has no number.
const noNumber = "-"

// objectStore is the workload whose requests are operations on objects.
const objectStore = "s3"

// column is one client. It notes what its cells cannot say.
type column struct {
	*ClientResult

	head    string
	missing []string
	bounds  bool
}

// columnsOf are the clients of a result. One without a client has an empty column, for no result may be left out unseen.
func columnsOf(r *Result, name string) []*column {
	if len(r.Clients) == 0 {
		return []*column{{ClientResult: &ClientResult{}, head: name}}
	}
	var out []*column
	for i := range r.Clients {
		c := &column{ClientResult: &r.Clients[i], head: name}
		if len(r.Clients) > 1 {
			c.head += " " + oneLine(c.Name)
		}
		out = append(out, c)
	}
	return out
}

// duration is the measured window of one repeat.
func (c *column) duration(string) string {
	if c.Window <= 0 {
		return noNumber
	}
	return window(c.Window)
}

// window is a length in seconds as a recipe has it: its phases are whole milliseconds.
func window(x float64) string { return bound(math.Round(x*1000)/1000, "s") }

// clients are the instances, and the load that each of them makes.
func (c *column) clients(string) string {
	if c.Ranks == 0 {
		return noNumber
	}
	instances := plural(c.Ranks, "instance")
	if len(c.Repeats) == 0 || c.Repeats[0].Ranks == 0 {
		return instances
	}
	there := c.Repeats[0].Ranks // concurrency and rate are theirs
	if there != c.Ranks {
		instances = strconv.Itoa(there) + " of " + instances
	}
	switch {
	case c.Mode == "open" && there == 1:
		return instances + " at " + bound(c.Rate, "req/s")
	case c.Mode == "open":
		return instances + " at " + bound(c.Rate, "req/s") + " in all"
	case c.Concurrency%there == 0:
		return instances + " x " + plural(c.Concurrency/there, "thread")
	}
	return instances + ", " + plural(c.Concurrency, "thread") + " in all"
}

// target is the model, or the operations on objects.
func (c *column) target(string) string {
	if c.Workload != objectStore {
		return cmp.Or(oneLine(c.Model), noNumber)
	}
	if len(c.Operations) == 0 {
		return noNumber
	}
	var names []string
	for _, o := range c.Operations {
		names = append(names, o.inCapitals())
	}
	return "Object " + strings.Join(names, "/")
}

func (o OperationCount) inCapitals() string { return strings.ToUpper(oneLine(o.Name)) }

// total is the number of measured requests, failed ones included.
func (c *column) total(string) string {
	switch {
	case len(c.Repeats) == 0:
		return noNumber
	case c.Workload == objectStore:
		return plural(int(c.Measured.Offered), "object")
	}
	return plural(int(c.Measured.Offered), "request")
}

// throughput is that of one instance: requests, or bytes read and written.
func (c *column) throughput(string) string {
	var v *Value
	if c.Workload == objectStore {
		v = together(Find(c.Values, "read_throughput", "value"), Find(c.Values, "write_throughput", "value"))
	} else if v = Find(c.Values, "request_throughput", "value"); v != nil {
		v = new(*v)
		v.Unit = "req/s"
	}
	words := " (per client)"
	n := c.instances()
	if n == 0 {
		n, words = 1, " (all clients)"
	}
	if v = quotient(v, float64(n)); v == nil || v.Value == nil {
		return noNumber
	}
	return c.number(v) + words
}

// instances is how many measured; 0 where it is not the same in every repeat, so that no number is that of one instance.
func (c *column) instances() int {
	if len(c.Repeats) == 0 {
		return 0
	}
	n := c.Repeats[0].Ranks
	if slices.ContainsFunc(c.Repeats, func(p RepeatPart) bool { return p.Ranks != n }) {
		return 0
	}
	return n
}

// together adds two numbers of one unit. One that was not counted adds nothing; with one that cannot be told there is no sum.
func together(a, b *Value) *Value {
	switch {
	case a == nil || b != nil && b.Value == nil:
		return b
	case b == nil || a.Value == nil:
		return a
	}
	out := *a
	out.Value = new(*a.Value + *b.Value)
	if out.AtLeast = a.bounded() || b.bounded(); out.AtLeast {
		out.Low = new(a.least() + b.least())
	}
	return &out
}

// least is the number itself, or the bound that is all that can be said of it.
func (v Value) least() float64 {
	if v.bounded() {
		return *v.Low
	}
	return *v.Value
}

// quotient is a number divided by n.
func quotient(v *Value, n float64) *Value {
	if v == nil || v.Value == nil {
		return v
	}
	out := *v
	out.Value = new(*v.Value / n)
	if v.Low != nil {
		out.Low = new(*v.Low / n)
	}
	return &out
}

// latency is a statistic of the time that a request takes, of each operation where the load mixes some.
func (c *column) latency(row, statistic string) string {
	if len(c.Operations) == 0 {
		return c.statistic("e2e", statistic, row)
	}
	var out []string
	for _, o := range c.Operations {
		name := o.inCapitals()
		out = append(out, name+": "+c.statistic(o.Name, statistic, row+" of "+name))
	}
	return strings.Join(out, " / ")
}

// statistic is one number of a latency. Where there is none, a note says why, and what those requests took that succeeded.
// A single failure leaves no mean: it is then that of the requests that succeeded, and marked.
func (c *column) statistic(metric, statistic, what string) string {
	v := Find(c.Values, metric, statistic)
	out := c.fine(v)
	if out != noNumber || v == nil {
		return out
	}
	why := fmt.Sprintf("%s: no %s: %s", c.head, what, cmp.Or(v.Note, "the result does not say why"))
	if ok := Find(c.Values, metric+"_ok", statistic); ok != nil && ok.Value != nil {
		why += "; over those that succeeded it is " + c.fine(ok)
		if statistic == "mean" {
			out = c.fine(ok) + " (ok)"
		}
	}
	c.missing = append(c.missing, why)
	return out
}

// number is a value as the summary prints it.
func (c *column) number(v *Value) string {
	if v == nil || v.Value == nil {
		return noNumber
	}
	c.bounds = c.bounds || v.bounded()
	return v.Number()
}

// fine is a latency as the slides print it: to four digits, without zeros at the end.
func (c *column) fine(v *Value) string {
	if v == nil || v.Value == nil {
		return noNumber
	}
	words, x := "", *v.Value
	if v.bounded() {
		c.bounds, words, x = true, "≥ ", *v.Low
	}
	s := scaleOf(x, v.Unit)
	out := s.text(x, 4)
	if strings.Contains(out, ".") {
		out = strings.TrimSuffix(strings.TrimRight(out, "0"), ".")
	}
	return words + out + s.suffix
}

// tokens are the output tokens per second of all instances.
func (c *column) tokens(string) string {
	v := Find(c.Values, "output_token_throughput", "value")
	if v == nil {
		return noNumber
	}
	v = new(*v)
	v.Unit = "tokens/s"
	return c.number(v)
}

func (c *column) success(string) string { return c.number(Find(c.Values, "success_ratio", "value")) }
