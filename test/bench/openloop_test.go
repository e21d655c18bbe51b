//go:build bench

package bench

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/test/user"
)

// The arguments that make this program another one.
const (
	nullServerArg = "null-server"
	bareTimerArg  = "bare-timer"
)

const rate = 2000 // requests/s

// nullServer answers every completion at once, with one token.
func nullServer(address string) error {
	const event = `data: {"choices":[{"index":0,"text":"a","finish_reason":"length"}],"usage":{"prompt_tokens":8,"completion_tokens":1}}` +
		"\n\ndata: [DONE]\n\n"
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /v1/completions", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, event)
	})
	return http.ListenAndServe(address, mux)
}

// bareTimer does what an open loop has to do at least: it waits for one absolute deadline after the other, on a thread
// of its own. It prints the p99 of how late it woke, in ns.
func bareTimer(length string) error {
	d, err := time.ParseDuration(length)
	if err != nil {
		return err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return err
	}
	lags := make([]int64, int(d.Seconds()*rate))
	start := now.Nano()
	for i := range lags {
		at := start + int64(i+1)*int64(time.Second)/rate
		deadline := unix.NsecToTimespec(at)
		for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &deadline, nil) == unix.EINTR {
		}
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
			return err
		}
		lags[i] = now.Nano() - at
	}
	slices.Sort(lags)
	_, err = fmt.Println(lags[len(lags)*99/100])
	return err
}

// openLoop compares the send lag of the real client, on a core of its own, with the lag of a bare timer on that core.
func openLoop(t *testing.T, r *rows, s size) {
	var lags, bare []float64
	for range s.repeats {
		bare = append(bare, bareLag(t, s.openLoop))
		lags = append(lags, sendLag(t, s.openLoop))
	}
	r.ratioAtMost(fmt.Sprintf("open loop at %d/s, p99 of the send lag, beside a bare timer", rate), "µs", 3, lags, bare)
}

// bareLag is the p99 of a bare timer on the client's core, in µs.
func bareLag(t *testing.T, length time.Duration) float64 {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var text []byte
	user.StartedOn(t, user.Cores(t)[:1], func() {
		text, err = exec.CommandContext(t.Context(), program, bareTimerArg, length.String()).Output()
	})
	if err != nil {
		t.Fatal(err)
	}
	return float64(number(t, string(text))) / 1e3
}

// sendLag runs the open loop and returns the p99 of its send lag in µs.
func sendLag(t *testing.T, length time.Duration) float64 {
	t.Helper()
	u := user.New(t)
	cores := user.Cores(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := u.Write("open.yaml", fmt.Sprintf(`apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: open}
spec:
  site: local
  services:
  - name: server
    command: {argv: [%s, %s, "$(HOST):$(PORT)"], ports: [{name: http}], model: m, protocol: OpenAI, probes: [{http: {path: /health}}]}
  clients:
  - name: load
    target: {service: server}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 1}}
    openLoop: {rate: "%d", arrival: Constant, maxInFlight: 64}
    warmup: 2s
    duration: %s
`, strconv.Quote(program), nullServerArg, rate, length))
	var c *user.Command
	user.StartedOn(t, cores[len(cores)-1:], func() {
		c = u.Start("assay", "run", path, "--output", u.Path("out"))
	})
	user.Pin(t, u.Await("open", "load", func(s rundir.Status) bool { return s.PID > 0 }).PID, cores[:1])
	if a := c.Wait(); a.Code != 0 && a.Code != 4 {
		t.Fatalf("exit code %d, want 0 or 4\n%s%s", a.Code, a.Stdout, a.Stderr)
	}
	client := u.Result(u.Path("out")).Clients[0]
	if want := int64(length.Seconds() * rate); client.Measured.Offered != want || client.Measured.Sent != want || client.Measured.Succeeded != want {
		t.Errorf("of %d slots, %d were offered, %d sent, and %d succeeded", want, client.Measured.Offered, client.Measured.Sent, client.Measured.Succeeded)
	}
	return 1e6 * valueOf(t, client, "send_lag", "p99")
}

func valueOf(t *testing.T, c results.ClientResult, metric, statistic string) float64 {
	t.Helper()
	if v := results.Find(c.Values, metric, statistic); v != nil && v.Value != nil {
		return *v.Value
	}
	t.Fatalf("client %s has no %s(%s)", c.Name, statistic, metric)
	return 0
}
