//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/test/user"
)

// The recipe of the original experiment with vLLM, and how long the reference reads beside it: less than it measures, so
// that its last completion is counted before the last scrape.
const (
	vllmRecipe = "local/vllm-opt-125m.yaml"
	vllmName   = "vllm-opt-125m"
	readsFor   = 8 * time.Second
)

// The numbers of the original experiment come out, as far as a simulator's sleeps on a shared machine allow, and what the
// server counted is what the clients counted.
func TestVLLMRecipeGivesTheNumbersOfTheSlides(t *testing.T) {
	passes(t, func(t *testing.T, u *user.User) (user.Answer, results.Result) {
		user.KeepAwake(t)
		run, _ := pinnedVLLMRecipe(t, u)
		a, r := run.Wait(), u.Result(u.Path("out"))
		u.Whole(r, 1)
		if len(r.CrossChecks) != 2 {
			t.Errorf("%d counters were compared, want 2", len(r.CrossChecks))
		}
		if a.Code == 0 {
			likeTheSlides(t, r)
		}
		return a, r
	})
}

// likeTheSlides checks the numbers of a run that passed, and that each objective was decided.
func likeTheSlides(t *testing.T, r results.Result) {
	t.Helper()
	if len(r.SLOs) != 3 {
		t.Errorf("%d objectives were judged, want 3", len(r.SLOs))
	}
	for _, v := range r.SLOs {
		if v.Verdict != results.Met {
			t.Errorf("%s of %s is %s, want Met: %s", v.Statistic, v.Metric, v.Verdict, v.Why)
		}
	}
	for _, c := range []struct {
		metric, statistic string
		slides, tolerance float64
	}{
		{"e2e", "mean", 0.1255, 1. / 3},
		{"e2e", "p95", 0.1957, 1. / 3},
		{"success_ratio", "value", 0.999, 0.01},
		{"request_throughput", "value", 30.4, 0.2},
		{"output_token_throughput", "value", 1437, 0.2},
	} {
		v := results.Find(r.Clients[0].Values, c.metric, c.statistic)
		if v == nil || v.Value == nil {
			t.Fatalf("the result has no %s", c.metric)
		}
		if ratio := *v.Value / c.slides; ratio < 1-c.tolerance || ratio > 1+c.tolerance {
			t.Errorf("%s is %g, want %g within %.0f %%", c.metric, *v.Value, c.slides, 100*c.tolerance)
		}
	}
}

// The client's times against those of a reader that asks the same server for the same, in the same run.
func TestVLLMRecipeAgreesWithAReferenceReader(t *testing.T) {
	user.KeepAwake(t)
	agree(t, "the reference reader's", user.Cores(t)[0], func(t *testing.T, u *user.User) (string, bool) {
		r, read := readBeside(t, u)
		countsBoth(t, r, read)
		return compare(t, r, read)
	})
}

// pinnedVLLMRecipe starts the recipe with a core for the clients, one for the server, and the others for the rest.
func pinnedVLLMRecipe(t *testing.T, u *user.User) (run *user.Command, client int) {
	t.Helper()
	u.Finds(user.Server(t, user.LLMDSim))
	all := user.Cores(t)
	client, server, rest := all[0], all[min(1, len(all)-1)], all[min(2, len(all)-1):]
	user.StartedOn(t, rest, func() {
		run = u.Start("assay", "run", recipe(t, vllmRecipe), "--output", u.Path("out"), "--time-scale", "0.1")
	})
	s := u.Await(vllmName, "vllm", func(s rundir.Status) bool { return s.ServerPID > 0 })
	user.Own(t, s.PID, server)
	user.Own(t, s.ServerPID, server)
	for rank := range 2 {
		s := u.AwaitRank(vllmName, "loadgen", rank, func(s rundir.Status) bool { return s.PID > 0 })
		user.Own(t, s.PID, client)
	}
	return run, client
}

// readBeside runs the recipe, and the reference on the core of the clients while they measure.
func readBeside(t *testing.T, u *user.User) (results.Result, []completion) {
	t.Helper()
	run, client := pinnedVLLMRecipe(t, u)
	u.Await(vllmName, "loadgen", func(s rundir.Status) bool { return s.Phase == rundir.PhaseMeasuring })
	e := u.Await(vllmName, "vllm", func(s rundir.Status) bool { return s.Endpoint != nil }).Endpoint
	var read []completion
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		read, err = readAside(t, client, e.Host, e.Port, e.Model, 32, 15, 79, readsFor) // as the recipe's client does
	}()
	<-done
	a := run.Wait()
	if err != nil {
		t.Fatal(err)
	}
	if a.Code != 0 && a.Code != 4 && a.Code != 7 {
		t.Fatalf("exit code %d, want 0, 4 or 7\n%s%s", a.Code, a.Stdout, a.Stderr)
	}
	return u.Result(u.Path("out")), read
}

// countsBoth checks that the server counted the tokens of the clients and of the reference, and no other. The token of
// the probe came before the first scrape. The result says that others load the server too.
func countsBoth(t *testing.T, r results.Result, read []completion) {
	t.Helper()
	extra := map[string]int64{}
	for _, c := range read {
		extra["output_tokens"] += int64(len(c.tokens))
		extra["input_tokens"] += int64(c.input)
	}
	if len(r.CrossChecks) != 2 {
		t.Errorf("%d counters were compared, want 2", len(r.CrossChecks))
	}
	for _, c := range r.CrossChecks {
		if !slices.ContainsFunc(r.Warnings, func(w string) bool { return strings.Contains(w, c.Metric) }) {
			t.Errorf("no warning speaks of %s: %q", c.Metric, r.Warnings)
		}
		want := c.Clients + extra[c.Total]
		if c.Server == nil || *c.Server != float64(want) || c.Clients == 0 || extra[c.Total] == 0 || c.Agrees {
			t.Errorf("%s: the clients counted %d %s and the reference %d, the server %v, agrees: %t", c.Metric, c.Clients, c.Total,
				extra[c.Total], value(c.Server), c.Agrees)
			continue
		}
		t.Logf("%s: the clients counted %d %s and the reference %d, the server %d", c.Metric, c.Clients, c.Total, extra[c.Total], want)
	}
}

func value(f *float64) any {
	if f == nil {
		return nil
	}
	return *f
}

// compare sets what the result reports beside what the reference saw. A gap between two tokens is about as long as the
// bound of the first token, which would let anything pass: its own bound is a tenth of that.
func compare(t *testing.T, r results.Result, read []completion) (table string, agrees bool) {
	t.Helper()
	var ttft, sum, decoding, gaps time.Duration
	var firsts []time.Duration
	for _, c := range read {
		ttft = c.ttft()
		firsts, sum = append(firsts, ttft), sum+ttft
		decoding, gaps = decoding+c.decoding(), gaps+time.Duration(len(c.tokens)-1)
	}
	out := &strings.Builder{}
	fmt.Fprintf(out, "%-14s %-5s %12s %12s %12s %12s\n", "", "", "reference", "result", "difference", "limit")
	agrees = len(read) > 0
	for _, c := range []struct {
		metric, statistic string
		reference, slack  time.Duration
	}{
		{"ttft", "mean", sum / time.Duration(max(1, len(read))), 2 * time.Millisecond},
		{"ttft_from_send", "mean", sum / time.Duration(max(1, len(read))), 2 * time.Millisecond},
		{"ttft", "p50", quantile(firsts, 0.50), 2 * time.Millisecond},
		{"itl_token", "mean", decoding / max(1, gaps), 200 * time.Microsecond},
	} {
		v := results.Find(r.Clients[0].Values, c.metric, c.statistic)
		if v == nil || v.Value == nil {
			t.Fatalf("the result has no %s of %s", c.statistic, c.metric)
		}
		reported := time.Duration(*v.Value * float64(time.Second))
		difference, limit := (reported - c.reference).Abs(), c.slack+c.reference/50
		fmt.Fprintf(out, "%-14s %-5s %12s %12s %12s %12s\n", c.metric, c.statistic, c.reference.Round(time.Microsecond),
			reported.Round(time.Microsecond), difference.Round(time.Microsecond), limit.Round(time.Microsecond))
		agrees = agrees && difference <= limit
	}
	fmt.Fprintf(out, "of %d completions of the reference, %d requests of the client\n", len(read), r.Clients[0].Measured.Succeeded)
	return out.String(), agrees
}
