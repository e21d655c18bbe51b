package results

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// whole is a short run that passes.
func whole() fake { return fake{ranks: 2, repeats: 2, requests: 200, seed: 3, ttft: 30} }

// outcomes are runs with the ends that there are.
func outcomes(t testing.TB) map[string]Input {
	t.Helper()
	slo := atMost("ttft", "p95", 0.06)
	with := func(change func(*Rank)) Input {
		f := whole()
		f.change = change
		return input(t, f, slo)
	}
	failed := func(outcome string) Input {
		in := input(t, whole(), slo)
		in.Failure = &Failure{Outcome: outcome, Message: "the words of the failure"}
		return in
	}
	missing := input(t, whole(), slo)
	missing.Clients[0].Results = missing.Clients[0].Results[:3]
	failing := whole()
	failing.failures = 0.3
	return map[string]Input{
		Passed:             input(t, whole(), slo),
		SLOViolated:        input(t, whole(), atMost("ttft", "p95", 0.03)),
		Undecided:          input(t, whole(), slo, atMost("ttft", "p99.9", 0.06)),
		MeasurementInvalid: with(func(r *Rank) { r.Audit.Sound, r.Audit.Violations = r.Rank == 0, []string{"send lag p99 3 ms > 2 ms"} }),
		Partial:            missing,
		Failed:             failed(Failed),
		Aborted:            failed(Aborted),
		TimedOut:           failed(TimedOut),
		"failing requests": input(t, failing, slo, atMost("e2e", "mean", 1), atLeast("success_ratio", 0.99)),
		"nothing at all":   {Head: head(2), Clients: []ClientInput{{Name: "loadgen", Target: "sim", Ranks: 1}}, SLOs: []SLO{slo}, Failure: &Failure{Outcome: Failed, Message: "x"}},
		"no client":        {Head: head(2)},
	}
}

func TestOutcome(t *testing.T) {
	for name, in := range outcomes(t) {
		r := build(t, in)
		want := map[string]string{"failing requests": SLOViolated, "nothing at all": Failed, "no client": Partial}[name]
		if want == "" {
			want = name
		}
		if r.Outcome != want {
			t.Errorf("%s: outcome %s: %s", name, r.Outcome, r.Message)
		}
	}
}

// What the infrastructure did comes before what the measurement is worth, and that before what it says.
func TestOutcomeOrder(t *testing.T) {
	in := input(t, whole(), atMost("ttft", "p95", 0.03), atMost("ttft", "p99.9", 0.06))
	steps := []struct {
		outcome, verdict, why string
		exit                  int
		add                   func()
	}{
		{SLOViolated, Violated, "a violated SLO comes before an undecided one", 3, func() {}},
		{MeasurementInvalid, NotJudged, "no verdict is made from numbers that the client limited", 4, func() {
			in.Clients[0].Results[0].Audit.Sound = false
		}},
		{Partial, NotJudged, "what is missing comes before what it is worth", 4, func() { in.Clients[0].Results = in.Clients[0].Results[:3] }},
		{TimedOut, NotJudged, "what the infrastructure did comes first", 5, func() { in.Failure = &Failure{Outcome: TimedOut, Message: "it took too long"} }},
	}
	for _, s := range steps {
		s.add()
		r := build(t, in)
		if r.Outcome != s.outcome || r.SLOs[0].Verdict != s.verdict || ExitCode(r.Outcome) != s.exit {
			t.Errorf("%s: outcome %s, verdict %s, exit %d, want %s, %s, %d", s.why, r.Outcome, r.SLOs[0].Verdict, ExitCode(r.Outcome), s.outcome, s.verdict, s.exit)
		}
		if want := s.outcome == SLOViolated; r.Baseline != want {
			t.Errorf("%s: baseline is %v", s.outcome, r.Baseline)
		}
	}
}

// A client without a success fails the run, unless an SLO of its own speaks of its failures.
func TestClientWithoutASuccess(t *testing.T) {
	const wrong = "not one of 100 requests of other succeeded: http_5xx (503) overloaded: try again: see that sim is the server that the recipe means, and its log"
	of := func(client string, s SLO) SLO { s.Client = client; return s }
	met := atMost("ttft", "p95", 0.06)
	dead := fake{ranks: 1, repeats: 2, requests: 50, seed: 5, failures: 1}
	few := fake{ranks: 1, repeats: 1, requests: 3, seed: 5, failures: 1}
	refused := dead
	refused.change = func(r *Rank) {
		r.Errors = []ErrorCount{{Kind: "http_4xx", Code: 401, Count: 50, Sample: "who are you."}}
	}
	none := fake{ranks: 1, repeats: 2, seed: 5, change: func(r *Rank) { r.All.Offered, r.Window = 4, 1_500_000_000 }}
	open := none
	open.mode = "open"
	tests := map[string]struct {
		reason string
		other  fake
		slos   []SLO
		want   string // the outcome
		words  string
	}{
		"no SLO":                {"no SLO says so", dead, nil, Failed, wrong},
		"no leave":              {"credentials are what helps", refused, nil, Failed, "http_4xx (401) who are you: name in target.credentials a Secret with what sim accepts"},
		"another's SLO":         {"what one client met says nothing of the other", dead, []SLO{met}, Failed, wrong},
		"a throughput":          {"without an interval nothing is decided", dead, []SLO{of("other", atLeast("request_throughput", 1))}, Failed, wrong},
		"a throughput at most":  {"a server that refuses everybody is not the one that was meant", repeated(dead, 6), []SLO{of("other", atMost("request_throughput", "value", 1))}, Failed, "not one of 300 requests"},
		"a share of nothing":    {"a bound that every share meets", dead, []SLO{of("other", atLeast("success_ratio", 0))}, Failed, wrong},
		"too few to decide":     {"the SLO does not tell", few, []SLO{of("other", atMost("ttft", "p50", 1))}, Failed, "not one of 3 requests"},
		"a latency":             {"failures violate it", dead, []SLO{met, of("other", atMost("ttft", "p99", 1))}, SLOViolated, "1 of 2 SLOs hold; not p99(ttft) of other"},
		"a share":               {"failures violate it", dead, []SLO{of("other", atLeast("success_ratio", 0.9))}, SLOViolated, "not success_ratio of other"},
		"a share at most":       {"failures are what was asked for", dead, []SLO{of("other", atMost("success_ratio", "value", 0.5))}, Passed, "1 of 1 SLOs hold"},
		"nothing due":           {"a window without a request", none, []SLO{met, of("other", atMost("ttft", "p99", 1))}, Failed, "other measured nothing: of its 8 requests not one was due in the measured window of 1.50 s: make duration longer than a request takes"},
		"nothing due by a rate": {"a rate below one request", open, nil, Failed, "make duration longer than a request takes, or raise the rate"},
	}
	for name, tc := range tests {
		good := whole()
		good.repeats = tc.other.repeats
		in := input(t, good, tc.slos...)
		other := ClientInput{Name: "other", Target: "sim", Ranks: 1, Results: tc.other.results(t)}
		for i := range other.Results {
			other.Results[i].Client = "other"
		}
		in.Clients = append(in.Clients, other)
		r := build(t, in)
		if r.Outcome != tc.want || !strings.Contains(r.Message, tc.words) {
			t.Errorf("%s: %s: got %s: %s\nwant %s: %s", name, tc.reason, r.Outcome, r.Message, tc.want, tc.words)
		}
		for _, v := range r.SLOs {
			if tc.want == Failed && v.Verdict != NotJudged {
				t.Errorf("%s: %s is %s in a run that failed", name, v.name(), v.Verdict)
			}
		}
	}
}

func repeated(f fake, repeats int) fake { f.repeats = repeats; return f }

func TestExitCode(t *testing.T) {
	want := map[string]int{Passed: 0, SLOViolated: 3, MeasurementInvalid: 4, Partial: 4, Failed: 5, TimedOut: 5, Undecided: 7, Aborted: 130, "?": 5}
	for outcome, code := range want {
		if got := ExitCode(outcome); got != code {
			t.Errorf("%s: got %d, want %d", outcome, got, code)
		}
	}
}

func TestPartialInWords(t *testing.T) {
	tests := map[string]struct {
		change func(in *Input)
		want   string
	}{
		"a rank is missing": {func(in *Input) { in.Clients[0].Results = slices.Delete(in.Clients[0].Results, 3, 4) },
			"1 of 2 repeats are whole; loadgen repeat 2: rank 1 of 2 left no result"},
		"two ranks are missing": {func(in *Input) { in.Clients[0].Ranks = 4 },
			"0 of 2 repeats are whole; loadgen repeat 1: ranks 2, 3 of 4 left no result"},
		"a repeat is missing": {func(in *Input) { in.Clients[0].Results = in.Clients[0].Results[:2] },
			"1 of 2 repeats are whole; loadgen left no result of repeat 2"},
		"a client is missing": {func(in *Input) { in.Clients = append(in.Clients, ClientInput{Name: "other", Ranks: 1}) },
			"0 of 2 repeats are whole; other left no result of repeat 1"},
		"a rank began late": {func(in *Input) { in.Clients[0].Results[1].StartLate = int64(101 * time.Millisecond) },
			"1 of 2 repeats are whole; loadgen repeat 1: rank 1 began 0.101 s late, more than 0.1 s"},
		"a rank was stopped": {func(in *Input) { in.Clients[0].Results[0].Truncated, in.Clients[0].Results[0].Reason = true, "TERM" },
			"1 of 2 repeats are whole; loadgen repeat 1: rank 0 ended early: TERM"},
	}
	for name, tc := range tests {
		in := input(t, whole(), atMost("ttft", "p95", 0.06))
		tc.change(&in)
		r := build(t, in)
		if r.Outcome != Partial || r.Message != tc.want {
			t.Errorf("%s: got %s: %s\nwant Partial: %s", name, r.Outcome, r.Message, tc.want)
		}
		if r.SLOs[0].Verdict != NotJudged {
			t.Errorf("%s: an SLO is judged: %s", name, r.SLOs[0].Verdict)
		}
	}
}

func TestLateIsNotTooLate(t *testing.T) {
	in := input(t, whole())
	in.Clients[0].Results[1].StartLate = int64(100 * time.Millisecond)
	r := build(t, in)
	if r.Outcome != Passed || r.Clients[0].Repeats[0].StartLate != 0.1 {
		t.Errorf("100 ms late: %s, start late %v", r.Outcome, r.Clients[0].Repeats[0].StartLate)
	}
}

func TestSimulatedIsNoBaseline(t *testing.T) {
	for _, simulated := range []bool{false, true} {
		in := input(t, whole())
		in.Simulated = simulated
		r := build(t, in)
		if r.Baseline == simulated || slices.Contains(r.Warnings, "the Site is simulated: no number here was measured") != simulated {
			t.Errorf("simulated %t: baseline %t, warnings %q", simulated, r.Baseline, r.Warnings)
		}
	}
}

func TestScaledIsNoBaseline(t *testing.T) {
	for scale, want := range map[string]bool{"": true, "1": true, "0.1": false} {
		in := input(t, whole())
		in.Head.TimeScale = scale
		r := build(t, in)
		if r.Baseline != want || len(r.Warnings) == 1 == want {
			t.Errorf("scale %q: baseline %v, warnings %q", scale, r.Baseline, r.Warnings)
		}
	}
}

func TestBuildRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(rs []Rank)
		want   string
	}{
		"a histogram of other values":     {func(rs []Rank) { rs[1].Metrics[0].Count++ }, "client loadgen repeat 1: metric ttft: its histogram holds 200 values, its count says 201"},
		"a batch of other values":         {func(rs []Rank) { rs[1].Metrics[0].Batches[9].Count++ }, "batch 9: its histogram holds"},
		"a damaged histogram":             {func(rs []Rank) { rs[3].Metrics[1].Histogram = "AAAA" }, "client loadgen repeat 2: metric e2e: histogram:"},
		"a negative sum":                  {func(rs []Rank) { rs[0].Metrics[0].Sum = -1 }, "cannot be"},
		"a minimum above the maximum":     {func(rs []Rank) { rs[0].Metrics[0].Min = math.MaxInt64 }, "cannot be"},
		"a rank twice":                    {func(rs []Rank) { rs[1].Rank = 0 }, "two results of rank 0"},
		"a negative count":                {func(rs []Rank) { rs[0].Measured.Failed = -1 }, "a count of -1 cannot be"},
		"a count beyond exact arithmetic": {func(rs []Rank) { rs[0].Totals[1].All = math.MaxInt64 }, "cannot be"},
		"a negative window":               {func(rs []Rank) { rs[0].Window = -5 }, "a length of -5 ns cannot be"},
		"schedules that differ": {func(rs []Rank) { rs[1].ScheduleHash = "b1" },
			"client loadgen repeat 1: ranks 0 and 1 had different schedules, a0 and b1"},
		"other batches": {func(rs []Rank) { rs[0].Metrics[0].Batches = rs[0].Metrics[0].Batches[:7] }, "it has 7 batches, this program reads 64"},
	}
	for name, tc := range tests {
		in := input(t, whole())
		tc.change(in.Clients[0].Results)
		if _, err := Build(in); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got error %v, want one with %q", name, err, tc.want)
		}
	}
}

// Each repeat has a schedule of its own; the client's is that of the first.
func TestScheduleHashes(t *testing.T) {
	of := func(from int) (client string, repeats []string) {
		in := input(t, fake{ranks: 2, repeats: 3, requests: 100, seed: 5, ttft: 30, change: func(r *Rank) {
			r.ScheduleHash = "hash of repeat " + strconv.Itoa(r.Repeat)
		}})
		in.Clients[0].Results = in.Clients[0].Results[from:]
		c := build(t, in).Clients[0]
		for _, p := range c.Repeats {
			repeats = append(repeats, p.ScheduleHash)
		}
		return c.ScheduleHash, repeats
	}
	client, repeats := of(0)
	if diff := cmp.Diff([]string{"hash of repeat 1", "hash of repeat 2", "hash of repeat 3"}, repeats); diff != "" {
		t.Errorf("of the repeats (-want +got):\n%s", diff)
	}
	if client != "hash of repeat 1" {
		t.Errorf("of the client: %q", client)
	}
	if client, _ := of(2); client != "" {
		t.Errorf("of a client that left nothing of repeat 1: %q", client)
	}
}

// The order in which files are read changes nothing, and no input is changed.
func TestBuildIsAFunction(t *testing.T) {
	in := input(t, whole(), atMost("ttft", "p95", 0.06))
	in.Head.Warnings = append(make([]string, 0, 9), "a warning of before")
	in.Head.TimeScale = "0.5"
	before, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	first := build(t, in)
	slices.Reverse(in.Clients[0].Results)
	second := build(t, in)
	if diff := cmp.Diff(first, second); diff != "" {
		t.Errorf("ranks in another order:\n%s", diff)
	}
	slices.Reverse(in.Clients[0].Results)
	after, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(before, after) {
		t.Error("Build changed its input")
	}
}

func TestCrossCheck(t *testing.T) {
	tests := map[string]struct {
		check  CheckInput
		agrees bool
		warns  string
	}{
		"exact":               {CheckInput{Total: "output_tokens", Increase: 12_800, Known: true}, true, ""},
		"one off":             {CheckInput{Total: "output_tokens", Increase: 12_801, Known: true}, false, "sim repeat 1: the server counted 12,801 in m, the clients 12,800"},
		"within tolerance":    {CheckInput{Total: "output_tokens", Increase: 12_900, Known: true, Tolerance: 0.01}, true, ""},
		"beyond tolerance":    {CheckInput{Total: "output_tokens", Increase: 12_600, Known: true, Tolerance: 0.01}, false, "the server counted 12,600"},
		"input tokens":        {CheckInput{Total: "input_tokens", Increase: 12_800, Known: true}, true, ""},
		"requests":            {CheckInput{Total: "requests", Increase: 400, Known: true}, true, ""},
		"could not be read":   {CheckInput{Total: "requests"}, false, "sim repeat 1: the server's m could not be read"},
		"is no number":        {CheckInput{Total: "requests", Increase: math.NaN(), Known: true}, false, "could not be read"},
		"is beyond all bound": {CheckInput{Total: "requests", Increase: math.Inf(1), Known: true}, false, "could not be read"},
	}
	for name, tc := range tests {
		in := input(t, whole())
		c := tc.check
		c.Service, c.Repeat, c.Metric, c.Clients = "sim", 1, "m", []string{"loadgen", "gone"}
		in.Checks = []CheckInput{c}
		r := build(t, in)
		if r.CrossChecks[0].Agrees != tc.agrees || !strings.Contains(strings.Join(r.Warnings, "\n"), tc.warns) || (tc.warns == "") != (len(r.Warnings) == 0) {
			t.Errorf("%s: agrees %v, warnings %q", name, r.CrossChecks[0].Agrees, r.Warnings)
		}
		if r.Outcome != Passed {
			t.Errorf("%s: a counter of the server changed the outcome to %s", name, r.Outcome)
		}
	}
}

// A server counts the requests that reach it, and not those that a client could not send.
func TestCrossCheckOfRequestsLeavesOutWhatWasNotSent(t *testing.T) {
	f := whole()
	f.change = func(r *Rank) { r.All.Unsent, r.Measured.Unsent = 3, 2 }
	in := input(t, f)
	in.Checks = []CheckInput{{Service: "sim", Repeat: 1, Metric: "m", Total: "requests", Increase: 394, Known: true, Clients: []string{"loadgen"}}}
	r := build(t, in)
	if c := r.CrossChecks[0]; !c.Agrees || c.Clients != 394 {
		t.Errorf("of 400 attempts 6 were not sent, and the cross-check is %+v", c)
	}
	if all, measured := r.Clients[0].All.Unsent, r.Clients[0].Measured.Unsent; all != 12 || measured != 8 {
		t.Errorf("over ranks and repeats %d attempts were not sent, %d of them measured; want 12 and 8", all, measured)
	}
}

// A run that ended before it measured says why once: what its server counted until then is no second trouble.
func TestNothingMeasuredIsNotCompared(t *testing.T) {
	in := outcomes(t)["nothing at all"]
	in.Checks = []CheckInput{
		{Service: "sim", Repeat: 1, Metric: "m", Total: "PutObject", Increase: 49, Known: true, Clients: []string{"loadgen"}},
		{Service: "sim", Repeat: 1, Metric: "n", Total: "PutObject", Clients: []string{"loadgen"}},
	}
	if r := build(t, in); len(r.Warnings) > 0 || len(r.CrossChecks) != 2 {
		t.Errorf("warnings %q, checks %+v", r.Warnings, r.CrossChecks)
	}
}

func TestWarnings(t *testing.T) {
	tests := map[string]struct {
		change func(in *Input)
		want   string
	}{
		"a shared node":    {func(in *Input) { in.Head.SharedNode = true }, "client and server ran on one node"},
		"few good scrapes": {func(in *Input) { in.Head.Services[0].Coverage, in.Head.Services[0].ScrapesGood = 0.9499, 456 }, "sim: only 456 of 480 scrapes were good"},
		"saturated":        {func(in *Input) { in.Clients[0].Results[0].Audit.Saturated = true }, "loadgen: requests waited for maxInFlight"},
		"more than is in flight": {func(in *Input) {
			for i := range in.Clients[0].Results {
				in.Clients[0].Results[i].Concurrency = 1
			}
		}, "loadgen: by Little's law"},
		"missing and limited": {func(in *Input) {
			in.Clients[0].Results = in.Clients[0].Results[:1]
			in.Clients[0].Results[0].Audit.Sound = false
		}, "the client limited the result"},
	}
	for name, tc := range tests {
		in := input(t, whole())
		tc.change(&in)
		if r := build(t, in); len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], tc.want) {
			t.Errorf("%s: got %q, want %q", name, r.Warnings, tc.want)
		}
	}
}

// No infinity and no NaN may get into a file, whatever the ranks say.
func TestEveryNumberIsFinite(t *testing.T) {
	inputs := outcomes(t)
	noWindow := input(t, whole(), atLeast("request_throughput", 1))
	for i := range noWindow.Clients[0].Results {
		noWindow.Clients[0].Results[i].Window = 0
	}
	inputs["no window"] = noWindow
	dead := fake{ranks: 1, repeats: 6, requests: 100, seed: 4, ttft: 30, failures: 1}
	inputs["everything failed"] = input(t, dead, atMost("ttft", "p99", 1), atMost("itl_token", "p99", 1), atMost("send_lag", "max", 1))
	half := fake{ranks: 1, repeats: 6, requests: 100, seed: 4, ttft: 30, failures: 0.5}
	inputs["half failed"] = input(t, half, atMost("e2e", "mean", 1))
	empty := fake{ranks: 1, repeats: 6, seed: 4}
	inputs["no request"] = input(t, empty, atMost("ttft", "p99", 1), atLeast("success_ratio", 0.9))
	nan := input(t, whole())
	nan.Head.Services[0].Coverage = math.NaN()
	inputs["no scrape due"] = nan
	for name, in := range inputs {
		r := build(t, in)
		b, err := Marshal(r)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		back, err := Parse(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(r, back); diff != "" {
			t.Errorf("%s: written and read again:\n%s", name, diff)
		}
		if bytes.Contains(b, []byte(": null,\n")) && !bytes.Contains(b, []byte(`"value": null`)) && !bytes.Contains(b, []byte(`"high": null`)) && !bytes.Contains(b, []byte(`"low": null`)) {
			t.Errorf("%s: a list is null:\n%s", name, b)
		}
	}
}

func TestParse(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"no JSON":        {"{", "result.json: "},
		"another schema": {`{"schema": "assay.bench/result/v9"}`, `schema "assay.bench/result/v9", this program reads "assay.bench/result/v1"`},
	} {
		if _, err := Parse([]byte(tc.text)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
