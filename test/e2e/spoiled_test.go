//go:build e2e

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"assay.bench/internal/results"
	"assay.bench/test/user"
)

// spoiled is a server of which some answers go wrong.
type spoiled struct {
	reason string
	recipe func(url string) string
	faults []user.Fault
	// loads says that a request is of the load.
	loads func(user.Exchange) bool
	// want are the failures, by what went by. A sample begins with the one that is wanted.
	want func(*user.Proxy) []results.ErrorCount
	// fails is what the run ends with where the server refuses every request of a kind; "" for one that measures to its end.
	fails string
}

// check runs the recipe through a proxy before the server at a URL: what the result counts is what the proxy has seen.
func (s spoiled) check(t *testing.T, url string) {
	t.Helper()
	u, p := user.New(t), user.NewProxy(t, url, s.faults...)
	a := run(u, s.recipe(p.URL))
	r := u.Result(u.Path("out"))
	if s.fails == "" {
		endedWell(t, a, r)
	} else if a.Code != 5 || r.Outcome != results.Failed || !strings.Contains(r.Message, s.fails) {
		t.Fatalf("%s: exit code %d, outcome %s: %s, want 5 and %q\n%s%s", s.reason, a.Code, r.Outcome, r.Message, s.fails, a.Stdout, a.Stderr)
	}
	offered := int64(len(p.Seen(s.loads)))
	want := s.want(p)
	failed := int64(0)
	for _, w := range want {
		failed += w.Count
		if w.Count == 0 {
			t.Errorf("%s: nothing was spoiled: this test sees nothing", s.reason)
		}
		contains(t, s.reason, a.Stdout, fmt.Sprintf("✗ %d × ", w.Count), w.Kind)
	}
	c := r.Clients[0]
	if got := (results.Counts{Offered: c.Measured.Offered, Succeeded: c.Measured.Succeeded, Failed: c.Measured.Failed, Attempts: c.All.Attempts}); got !=
		(results.Counts{Offered: offered, Succeeded: offered - failed, Failed: failed, Attempts: offered}) {
		t.Errorf("%s: %d requests went by, of which %d failed; the result says %+v", s.reason, offered, failed, c.Measured)
	}
	sameErrors(t, s.reason, c.Errors, want)
	t.Logf("exit code %d, %s: of %d requests %s", a.Code, r.Outcome, offered, kinds(r))
}

// sameErrors compares in any order.
func sameErrors(t *testing.T, reason string, got, want []results.ErrorCount) {
	t.Helper()
	key := func(e results.ErrorCount) string { return fmt.Sprint(e.Operation, " ", e.Kind, " ", e.Code) }
	left := map[string]results.ErrorCount{}
	for _, w := range want {
		left[key(w)] = w
	}
	for _, g := range got {
		w, found := left[key(g)]
		delete(left, key(g))
		if !found || g.Count != w.Count || !strings.HasPrefix(g.Sample, w.Sample) {
			t.Errorf("%s: the result counts %+v, want %+v", reason, g, w)
		}
	}
	for _, w := range left {
		t.Errorf("%s: the result does not count %+v", reason, w)
	}
}

// endedWell accepts a run that measured to its end: on a busy machine the client may have limited it.
func endedWell(t *testing.T, a user.Answer, r results.Result) {
	t.Helper()
	if a.Code != 0 && a.Code != 4 || r.Outcome != results.Passed && r.Outcome != results.MeasurementInvalid || results.ExitCode(r.Outcome) != a.Code {
		t.Fatalf("exit code %d, outcome %s: %s, want 0 or 4\n%s%s", a.Code, r.Outcome, r.Message, a.Stdout, a.Stderr)
	}
}

// kinds are the failures of the first client in words.
func kinds(r results.Result) string {
	var out []string
	for _, e := range r.Clients[0].Errors {
		out = append(out, strings.Join(strings.Fields(fmt.Sprintf("%d × %s %s %d", e.Count, e.Operation, e.Kind, e.Code)), " "))
	}
	return strings.Join(out, ", ")
}
