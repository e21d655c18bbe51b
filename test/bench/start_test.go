//go:build bench

package bench

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"assay.bench/internal/rundir"
	"assay.bench/test/user"
)

// started is the least benchmark: its server is ready at once, and there is no warm-up.
const started = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: started}
spec:
  site: local
  services:
  - {name: sim, llmsim: {ttft: {mean: 1ms}, itl: {mean: 1ms}}}
  clients:
  - name: load
    target: {service: sim}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 4}}
    closedLoop: {concurrency: 1}
    duration: 1s
`

// monotonic is CLOCK_MONOTONIC in ns, which all processes of the machine share.
func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		t.Fatal(err)
	}
	return now.Nano()
}

// starting measures, from the exec of assay run on, how long it takes until the Benchmark is applied, and until the
// first measured operation, less what the recipe asks for: a server that is ready. A load of one rank has no barrier.
func starting(t *testing.T, r *rows, s size) {
	var applied, beyond []float64
	for range s.repeats {
		u := user.New(t)
		u.Write("started.yaml", started)
		began := monotonic(t)
		c := u.Start("assay", "run", "started.yaml", "--output", u.Path("out"))
		if a := c.Wait(); a.Code != 0 && a.Code != 4 { // a busy machine limits the client
			t.Fatalf("exit code %d, want 0 or 4\n%s%s", a.Code, a.Stdout, a.Stderr)
		}
		applied = append(applied, c.When("assay: control plane ").Seconds()) // said as soon as the recipe is applied
		run := u.Path("out", "run")
		sim := u.Events(u.Rank(run, "sim"))
		readiness := mono(t, sim, "Ready") - mono(t, sim, "ServerStarted")
		beyond = append(beyond, float64(firstMeasured(t, u.Rank(run, "load"))-began-readiness)/float64(time.Second))
	}
	r.atMost("exec to first applied Benchmark", "s", 1.0, applied...)
	r.atMost("assay run to first measured operation, beyond readiness", "s", 2.0, beyond...)
}

// mono is when an event was, by CLOCK_MONOTONIC.
func mono(t *testing.T, events []rundir.Event, name string) int64 {
	t.Helper()
	for _, e := range events {
		if e.Event == name {
			return e.Mono
		}
	}
	t.Fatalf("no event %s in %v", name, events)
	return 0
}

// firstMeasured is when the first request of the measurement was sent.
func firstMeasured(t *testing.T, rank string) int64 {
	t.Helper()
	f, err := os.Open(filepath.Join(rank, "samples", "requests.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	first := int64(0)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var request struct {
			Phase string `json:"phase"`
			Sent  int64  `json:"sent"`
		}
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			t.Fatal(err)
		}
		if request.Phase == "measure" && (first == 0 || request.Sent < first) {
			first = request.Sent
		}
	}
	if first == 0 {
		t.Fatalf("%s: no measured request", f.Name())
	}
	return first
}

// idling watches a control plane that has nothing to do.
func idling(t *testing.T, r *rows, s size) {
	u := user.New(t)
	u.Up()
	pause(t, s.settle)
	p := u.Plane()
	used, began := cpuTime(t, p.PID), time.Now()
	pause(t, s.watch)
	share := float64(cpuTime(t, p.PID)-used) / float64(time.Since(began))
	r.atMost("assay up when idle, resident memory", "MB", 220, float64(residentKB(t, p.PID))*1024/1e6)
	r.atMost("assay up when idle, processor", "% of a core", 3, 100*share)
	u.Must("assay", "down")
}

// pause lets time pass: how much a process uses can only be seen over time.
func pause(t *testing.T, length time.Duration) {
	t.Helper()
	select {
	case <-t.Context().Done():
	case <-time.After(length):
	}
}
