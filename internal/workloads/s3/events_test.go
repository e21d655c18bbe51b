package s3

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/s3/memory"
)

// attempt is a line of the log.
type attempt struct {
	ID, Operation, Key, Phase, Outcome string
	Code                               int
	Scheduled, Sent, First, End, Bytes int64
}

func parseLog(t *testing.T, log []byte) []attempt {
	t.Helper()
	var out []attempt
	for line := range bytes.Lines(log) {
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		var a attempt
		if err := d.Decode(&a); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out = append(out, a)
	}
	return out
}

// Each attempt is a line, in the numbers of the result and of the server.
func TestEvents(t *testing.T) {
	const size = 5000
	s, url := memory.New(t)
	var log bytes.Buffer
	o := options(url, rundir.S3Mix{Put: 2, Get: 4, Head: 2, Delete: 1}, fixed(size))
	o.Events = &log
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	fill(s, w)
	n := 0
	s.Spoil = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
		bad := r.Method == http.MethodGet
		if n++; bad && n%3 > 0 {
			return false
		}
		if bad {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return bad
	}
	out := once(t, w, 180)
	events := parseLog(t, log.Bytes())
	if len(events) != 180 || len(s.Seen) != 180 {
		t.Fatalf("%d lines, the server saw %d requests, want 180", len(events), len(s.Seen))
	}
	got, moved := map[string]int64{}, map[string]int64{}
	for _, e := range events {
		got[e.Operation+" "+e.Outcome]++
		moved[e.Operation] += e.Bytes
		if e.Scheduled == 0 || e.Sent < e.Scheduled || e.First < e.Sent || e.End < e.First || e.Phase != load.Measure.String() || e.ID == "" {
			t.Errorf("in this order it was due, sent, heard of and over: %+v", e)
		}
		if method := strings.ToUpper(e.Operation) + " /bucket/" + e.Key; !slices.Contains(s.Seen, method) {
			t.Errorf("%+v: the server saw no %s", e, method)
		}
		if (e.Outcome == "http_5xx") != (e.Code == 503) {
			t.Errorf("%+v: the code", e)
		}
	}
	failed := out.Measured.Failed
	if len(out.Errors) != 1 || out.Errors[0].Count != failed || failed == 0 {
		t.Fatalf("failures %+v", out.Errors)
	}
	want := map[string]int64{"put ok": 40, "get ok": 80 - failed, "get http_5xx": failed, "head ok": 40, "delete ok": 20}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int64{"put": 40 * size, "get": (80 - failed) * size, "head": 0, "delete": 0}, moved); diff != "" {
		t.Errorf("bytes (-want +got):\n%s", diff)
	}
}

// A delete for which there is nothing, and what the end of the load cuts off, have lines of their own.
func TestEventsOfWhatWasNotDone(t *testing.T) {
	s, url := memory.New(t)
	var log bytes.Buffer
	o := options(url, rundir.S3Mix{Put: 1, Delete: 1}, fixed(10))
	o.Events, o.InFlight, o.Closed = &log, 1, true
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Spoil = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		w.WriteHeader(http.StatusForbidden) // nothing is ever written
		return true
	}
	once(t, w, 2)
	got := map[string]string{}
	for _, e := range parseLog(t, log.Bytes()) {
		got[e.Operation+" of "+e.Key] = e.Outcome
		if e.Operation == Delete && e.Sent != 0 {
			t.Errorf("nothing was sent: %+v", e)
		}
	}
	if diff := cmp.Diff(map[string]string{"put of run/load/p/m/0": "http_4xx", "delete of ": "no_object"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
