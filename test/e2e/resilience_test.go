//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/test/user"
)

// The tests of this file and of the next are named after the last lines of the slides.

// joined is a simulator under a load that goes on, with other services beside them.
const joined = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: joined}
spec:
  site: local
  services:
  - {name: sim, llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}}
  - %s
  clients:
  - name: load
    target: {service: sim}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    closedLoop: {concurrency: 1}
    duration: 5m
`

// "Healthcheck timeout → graceful shutdown": a server that does not get ready ends the run, with its own last words. Every
// component ends as on any other day, and nothing stays but the results.
func TestHealthcheckTimeoutShutsDownGracefully(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reason  string
		service func(t *testing.T, u *user.User) string
		words   []string
	}{
		"an object store at another address": {
			"its drive is there before it is ready",
			func(t *testing.T, u *user.User) string {
				u.Finds(user.Server(t, user.MinIO))
				return fmt.Sprintf("{name: other, readiness: {timeout: 3s}, minio: {driveFolders: [%q], extraArgs: [--address, %q]}}",
					u.Path("disk"), user.FreeAddress(t))
			},
			[]string{"nothing listens on port", "yet: raise readiness.timeout if it only needs longer (its log is empty)"},
		},
		"an inference server that loads its model": {
			"it says so until the end",
			func(t *testing.T, _ *user.User) string {
				argv := append(append([]string{user.Server(t, user.LLMDSim)}, llmdFlags("$(PORT)")...), "--startup-duration", "5m")
				return strings.Replace(command(fmt.Sprintf(`["%s"]`, strings.Join(argv, `", "`)), "probes: [{http: {path: /health/ready}}]"),
					"{name: sim, readiness: {timeout: 2s}", "{name: other, readiness: {timeout: 3s}", 1) + "\n  - " + stubborn("third", 500*time.Millisecond)
			},
			[]string{"! third: the server did not end within 500ms of TERM and was killed", "GET /health/ready: it answered HTTP 503, not 200", ": raise readiness.timeout if it only needs longer; its last words: ", "Server starting"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := user.New(t)
			if err := os.Mkdir(u.Path("disk"), 0o700); err != nil {
				t.Fatal(err)
			}
			in := badInput{
				reason: c.reason, wantCode: 5, wantOutput: whole, recipe: fmt.Sprintf(joined, c.service(t, u)),
				wantWords: append([]string{"✗ joined Failed: service other: ReadinessTimeout: not ready within 3s: ", "0 of 1 repeats whole; nothing was measured"}, c.words...),
			}
			in.check(t, u, in.meet(t, u))
			endedGracefully(t, u)
			if left, err := os.ReadDir(u.Path("disk")); err != nil || len(left) > 0 {
				t.Errorf("the folder of the drive holds %v, %v", left, err)
			}
		})
	}
}

// stubborn is a service that does not end when it is asked to.
func stubborn(name string, deadline time.Duration) string {
	return fmt.Sprintf(`{name: %s, stopTimeout: %s, command: {argv: [bash, -c, "trap '' TERM; while :; do sleep 0.1; done"], %s}}`, name, deadline, probeExec)
}

// endedGracefully checks how the components of joined ended after the service other did not get ready.
func endedGracefully(t *testing.T, u *user.User) {
	t.Helper()
	run := u.Path("out", "run")
	for component, want := range map[string]string{
		"other": rundir.ExitReasonReadinessTimeout, "sim": rundir.ExitReasonEnded, "load": rundir.ExitReasonServiceLost,
	} {
		if e := u.Exit(u.Rank(run, component)); e.Reason != want {
			t.Errorf("%s ended with %s: %s, want %s", component, e.Reason, e.Message, want)
		}
	}
	for _, service := range []string{"other", "sim"} {
		rank := u.Rank(run, service)
		began, stopped := u.Event(rank, "ServerStarted"), u.Event(rank, "ServerStopped")
		if how := stopped.Fields["how"]; how != "ended with exit code 0" {
			t.Errorf("the server of %s %v, want it to have ended by itself when it was asked to", service, how)
		}
		if after := time.Duration(stopped.Mono - began.Mono); service == "other" && after < 3*time.Second {
			t.Errorf("it had %s to get ready, want 3 s", after)
		}
	}
}

// "Executor stop isolation → prevents cascading failures": of three servers two do not end when they are asked to. Each is
// killed at its own deadline and reported, none of them keeps another, and the client's numbers until then are kept.
func TestExecutorStopIsolation(t *testing.T) {
	t.Parallel()
	u := user.New(t)
	deadlines := map[string]time.Duration{"one": time.Second, "three": 3 * time.Second}
	var services []string
	for name, deadline := range deadlines {
		services = append(services, stubborn(name, deadline))
	}
	u.Write("recipe.yaml", fmt.Sprintf(joined, strings.Join(services, "\n  - ")))
	c := u.Start("assay", "run", "recipe.yaml", "--output", "out")
	u.Await("joined", "load", func(s rundir.Status) bool { return s.Live != nil && s.Live.Requests > 10 })
	c.Signal(syscall.SIGINT)
	a := c.Wait()
	if a.Code != 130 {
		t.Errorf("exit code %d, want 130\n%s%s", a.Code, a.Stdout, a.Stderr)
	}
	contains(t, "the last words", a.Stderr, "cancelling", "ended job L1 (joined-g1)", "what was written until then is in "+u.Path("out"))
	gone(t, u)

	run := u.Path("out", "run")
	ends := map[string]time.Duration{}
	for _, name := range []string{"load", "sim", "one", "three"} {
		rank := u.Rank(run, name)
		ends[name] = time.Duration(u.Event(rank, "Ended").Mono - u.Event(rank, "Signal").Mono)
		if e := u.Exit(rank); e.Reason != rundir.ExitReasonStopped {
			t.Errorf("%s ended with %s: %s", name, e.Reason, e.Message)
		}
	}
	t.Logf("ended after the signal: %v", ends)
	if order := []time.Duration{max(ends["sim"], ends["load"]), ends["one"], ends["three"], deadlines["one"] + deadlines["three"]}; !slices.IsSorted(order) {
		t.Errorf("one component has kept another: %v", ends)
	}
	job, err := os.ReadFile(filepath.Join(u.Rank(run, "load"), "..", "..", "job.log"))
	if err != nil {
		t.Fatal(err)
	}
	for name, deadline := range deadlines {
		rank, words := u.Rank(run, name), fmt.Sprintf("the server did not end within %s of TERM and was killed", deadline)
		if said := u.Event(rank, "StopFailed").Fields["error"]; said != words {
			t.Errorf("%s says %q, want %q", name, said, words)
		}
		contains(t, "the log of the job", string(job), name+"/0: "+words)
		if e := u.Exit(rank); !slices.Equal(e.Warnings, []string{words}) {
			t.Errorf("%s leaves the warnings %q, want %q", name, e.Warnings, words)
		}
		if ends[name] < deadline {
			t.Errorf("%s was killed after %s, before its deadline of %s", name, ends[name], deadline)
		}
	}
	r := rankResult(t, run, "load")
	if !r.Truncated || r.Reason != "ended by signal terminated" || r.Measured.Succeeded < 10 || r.Measured.Failed > 0 {
		t.Errorf("the client's result is truncated: %t, %q, with %+v", r.Truncated, r.Reason, r.Measured)
	}
}

// rankResult is the first repeat of a client that has one rank.
func rankResult(t *testing.T, run, client string) results.Rank {
	t.Helper()
	r, err := results.ParseRank(bytes.TrimSpace(only(t, run, client, "r1", rundir.ResultFile)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// "Workload error backoff → configurable retry with abort threshold": each request is tried again after a pause that
// doubles, and a hopeless run ends early.
func TestWorkloadErrorBackoff(t *testing.T) {
	t.Parallel()
	const backOff = 100 * time.Millisecond
	retried := func(url string) string {
		return asks(url, `openLoop: {rate: "200", arrival: Constant, maxInFlight: 64}`,
			fmt.Sprintf("closedLoop: {concurrency: 4}\n    retries: {max: 3, backOff: %s}\n    abort: {errorRatio: \"0.5\", window: 3s}", backOff))
	}
	busy := user.Reply(503, "application/json", `{"error":{"message":"The queue is full.","code":503}}`)
	server := llmsimOf(t, "", "--ttft-mean", "10ms", "--itl-mean", "1ms")
	t.Run("abort", func(t *testing.T) {
		t.Parallel()
		u, p := user.New(t), user.NewProxy(t, server, user.Fault{For: isCompletion, Every: 1, Spoil: busy})
		in := badInput{
			reason: "a server that is only busy", recipe: strings.Replace(retried(p.URL), "duration: 5s", "duration: 5m", 1), wantCode: 5, wantOutput: whole,
			wantWords: []string{"✗ ask Failed: client load: Aborted: ", "requests that ended within 3s failed, at least the ratio 0.5", "× http_5xx (503) The queue is full."},
		}
		in.check(t, u, in.meet(t, u))
		if e := u.Exit(u.Rank(u.Path("out", "run"), "load")); e.Reason != rundir.ExitReasonAborted || !e.Truncated {
			t.Errorf("the client ended with %s, truncated: %t", e.Reason, e.Truncated)
		}
		r := u.Result(u.Path("out")).Clients[0]
		if part := r.Repeats[0]; part.Whole || !strings.Contains(part.Reason, "failed, at least the ratio 0.5") || r.Window < 3 || r.Window > 60 {
			t.Errorf("after %.1f s the repeat is whole: %t, %q", r.Window, part.Whole, part.Reason)
		}
		if n := int64(len(p.Seen(askLoads))); r.All.Attempts != n || r.Measured.Succeeded > 0 || len(r.Errors) != 1 || r.Errors[0].Count != r.Measured.Failed {
			t.Errorf("%d attempts went by; the result says %+v, %+v", n, r.All, r.Errors)
		}
		pausesDouble(t, p, r.Measured.Failed, backOff)
	})
	t.Run("retry", func(t *testing.T) {
		t.Parallel()
		first := func(r *http.Request) bool {
			return isCompletion(r) && !strings.Contains(r.Header.Get("X-Request-Id"), "-a")
		}
		u, p := user.New(t), user.NewProxy(t, server, user.Fault{For: first, Every: 1, Spoil: busy})
		a := run(u, strings.Replace(retried(p.URL), "duration: 5s", "duration: 2s", 1))
		r := u.Result(u.Path("out"))
		endedWell(t, a, r)
		c := r.Clients[0]
		if n := int64(len(p.Seen(askLoads))); c.Measured.Failed > 0 || c.Measured.Succeeded == 0 || c.All.Attempts != n || n != 2*c.All.Offered {
			t.Errorf("each of %d requests took two attempts, %d went by: %+v", c.All.Offered, n, c.All)
		}
		least := results.Find(c.Values, "e2e", "p50")
		if least == nil || least.Value == nil || *least.Value < backOff.Seconds() {
			t.Errorf("the latency runs from the first attempt, over the pause of %s: %+v", backOff, least)
		}
	})
}

func isCompletion(r *http.Request) bool { return r.Method == http.MethodPost }

// pausesDouble checks the attempts of the requests that failed: four each, with pauses of at least once, twice and four
// times the back-off between them, and in the middle not twice as long.
func pausesDouble(t *testing.T, p *user.Proxy, failed int64, backOff time.Duration) {
	t.Helper()
	attempts := map[string][]time.Time{}
	for _, e := range p.Seen(askLoads) {
		request, attempt, _ := strings.Cut(e.ID, "-a")
		if want := map[int]string{0: "", 1: "1", 2: "2", 3: "3"}[len(attempts[request])]; attempt != want {
			t.Errorf("attempt %q of %s, want %q", attempt, request, want)
		}
		attempts[request] = append(attempts[request], e.At)
	}
	pauses, whole := [3][]time.Duration{}, int64(0)
	for _, at := range attempts {
		if len(at) == 4 {
			whole++
		}
		for i := range len(at) - 1 {
			pauses[i] = append(pauses[i], at[i+1].Sub(at[i]))
		}
	}
	if failed == 0 || whole < failed || whole > failed+4 { // the abort ends what is in flight
		t.Errorf("%d requests had four attempts, %d failed", whole, failed)
	}
	for i, all := range pauses {
		slices.Sort(all)
		least := backOff << i
		if len(all) == 0 || all[0] < least || all[len(all)/2] >= 2*least {
			t.Errorf("the pauses before attempt %d are %v, want at least %s", i+2, all, least)
			continue
		}
		t.Logf("pauses before attempt %d: from %s, in the middle %s", i+2, all[0], all[len(all)/2])
	}
}
