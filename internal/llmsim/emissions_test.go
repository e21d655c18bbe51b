package llmsim

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEmissionLogRoundTrip(t *testing.T) {
	var buf bytes.Buffer
	l := &emissionLog{out: &buf}
	want := map[string][]int64{}
	var wg sync.WaitGroup
	for i := range 50 {
		id := fmt.Sprintf("id \"%d\" ä\n", i)
		times := []int64{int64(i), int64(i) + 1_000_000_000_000}
		want[id] = times
		wg.Go(func() { l.write(id, times) })
	}
	wg.Wait()
	got, err := ReadEmissions(&buf)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReadEmissions(t *testing.T) {
	tests := map[string]struct {
		reason  string
		in      string
		want    map[string][]int64
		wantErr string
	}{
		"empty":  {"no request", "", map[string][]int64{}, ""},
		"torn":   {"killed in the middle of a line", "{\"id\":\"a\",\"t\":[1]}\n{\"id\":\"b\",\"t\":[2", map[string][]int64{"a": {1}}, ""},
		"twice":  {"a log of two processes", "{\"id\":\"a\",\"t\":[1]}\n{\"id\":\"a\",\"t\":[2]}\n", map[string][]int64{"a": {2}}, ""},
		"broken": {"not from us", "{\"id\":\"a\",\"t\":[1]}\nhello\n", nil, "line 2 is not a record"},
		"no id":  {"another log", "{\"t\":[1]}\n", nil, `it has no "id"`},
		"type":   {"not times", "{\"id\":\"a\",\"t\":[\"x\"]}\n", nil, "line 1 is not a record"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := ReadEmissions(strings.NewReader(tt.in))
			if (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
				t.Errorf("%s: error = %v, want %q", tt.reason, err, tt.wantErr)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.reason, diff)
			}
		})
	}
}

// fullDisk takes one record.
type fullDisk struct{ writes int }

func (d *fullDisk) Write(b []byte) (int, error) {
	if d.writes++; d.writes > 1 {
		return 0, errors.New("no space left on device")
	}
	return len(b), nil
}

func TestEmissionLogKeepsItsFirstError(t *testing.T) {
	d := &fullDisk{}
	l := &emissionLog{out: d}
	for range 3 {
		l.write("a", []int64{1})
	}
	if err := l.failure(); err == nil || !strings.Contains(err.Error(), "no space left") || d.writes != 2 {
		t.Errorf("failure() = %v after %d writes, want the error of the second and no third", err, d.writes)
	}
}

func TestEmissionsOfSeveralPrompts(t *testing.T) {
	var buf bytes.Buffer
	s := newServer(t, Config{EmissionLog: &buf})
	before := monotonic()
	do(s, post("/v1/completions", "x", `{"prompt":["a","b"],"max_tokens":3,"ignore_eos":true,"stream":true}`))
	do(s, post("/v1/completions", "whole", `{"prompt":"a","max_tokens":4,"ignore_eos":true}`))
	after := monotonic()
	got, err := ReadEmissions(&buf)
	if err != nil {
		t.Fatal(err)
	}
	for id, n := range map[string]int{"x-0": 3, "x-1": 3, "whole": 4} {
		if len(got[id]) != n {
			t.Errorf("%s has %d times, want %d", id, len(got[id]), n)
		}
		for _, at := range got[id] {
			if at < before || at > after {
				t.Errorf("%s: time %d is outside %d to %d", id, at, before, after)
			}
		}
	}
	if after-before > int64(time.Minute) || len(got) != 3 {
		t.Errorf("%d records in %d ns", len(got), after-before)
	}
}

func FuzzReadEmissions(f *testing.F) {
	f.Add([]byte("{\"id\":\"a\",\"t\":[1,2]}\n{\"id\":\"b\",\"t\":[]}\n"))
	f.Add([]byte("{\"id\":\"a\",\"t\":[1"))
	f.Add([]byte("\n"))
	f.Add([]byte("{\"id\":null,\"t\":null}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := ReadEmissions(bytes.NewReader(b))
		if err != nil {
			return
		}
		var buf bytes.Buffer
		l := &emissionLog{out: &buf}
		for id, times := range got {
			l.write(id, times)
		}
		again, err := ReadEmissions(&buf)
		if err != nil || len(again) != len(got) {
			t.Fatalf("%q: %d records became %d, %v", b, len(got), len(again), err)
		}
		for id, times := range got {
			if len(again[id]) != len(times) {
				t.Fatalf("%q: %d times of %q became %d", b, len(times), id, len(again[id]))
			}
		}
	})
}
