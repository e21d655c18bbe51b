package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// sealed is a small file: the tests below read it once for each of its bits.
func sealed(t testing.TB) (Rank, []byte) {
	t.Helper()
	f := fake{ranks: 1, repeats: 1, requests: 3, seed: 2, ttft: 30}
	r := f.results(t)[0]
	r.Metrics = r.Metrics[:1]
	r.Metrics[0].Batches = r.Metrics[0].Batches[:2]
	r.Errors = []ErrorCount{{Kind: "http_5xx", Code: 503, Count: 1, Sample: "<html>\n\"busy\" & gone \u2028"}}
	b, err := Seal(r)
	if err != nil {
		t.Fatal(err)
	}
	return r, b
}

func TestSealAndParse(t *testing.T) {
	want, b := sealed(t)
	got, err := ParseRank(b)
	if err != nil {
		t.Fatal(err)
	}
	want.End, want.SHA256 = true, got.SHA256
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sealed and read again:\n%s", diff)
	}
	again, err := Seal(got)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(b, again) {
		t.Error("sealing what was read gives another file")
	}
}

// A writer in another package has the same fields and does not know ours: the sum is over compact JSON.
func TestParseCompact(t *testing.T) {
	_, b := sealed(t)
	var compact bytes.Buffer
	if err := json.Compact(&compact, b); err != nil {
		t.Fatal(err)
	}
	if _, err := ParseRank(compact.Bytes()); err != nil {
		t.Errorf("the same without spaces: %v", err)
	}
}

// One that is written each second is the same file, but for its spaces.
func TestSealCompact(t *testing.T) {
	r, b := sealed(t)
	got, err := SealCompact(r)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := json.Compact(&want, b); err != nil {
		t.Fatal(err)
	}
	want.WriteByte('\n')
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Errorf("compact (-want +got):\n%s", diff)
	}
	if _, err := ParseRank(got); err != nil {
		t.Error(err)
	}
	if !bytes.HasSuffix(b, []byte("}\n")) {
		t.Error("the file does not end with its line")
	}
}

func TestParseRankCut(t *testing.T) {
	_, b := sealed(t)
	for n := range len(b) - 1 { // without its last newline nothing is lost
		if r, err := ParseRank(b[:n]); !errors.Is(err, ErrIncomplete) || r.Client != "" {
			t.Fatalf("the first %d of %d bytes: %v", n, len(b), err)
		}
	}
}

func TestParseRankFlipped(t *testing.T) {
	_, b := sealed(t)
	changed := bytes.Clone(b)
	for i := range b {
		for bit := range 8 {
			changed[i] ^= 1 << bit
			if r, err := ParseRank(changed); !errors.Is(err, ErrIncomplete) {
				t.Fatalf("bit %d of byte %d flipped, %q to %q: %v, %v", bit, i, b[i], changed[i], err, r)
			}
			changed[i] = b[i]
		}
	}
}

func TestParseRankRefuses(t *testing.T) {
	_, b := sealed(t)
	replace := func(old, with string) []byte { return bytes.Replace(b, []byte(old), []byte(with), 1) }
	tests := map[string]struct {
		file []byte
		want string
	}{
		"another version": {replace(`"version": 1`, `"version": 2`), "version 2, this program reads 1"},
		"no end":          {replace(`"end": true`, `"end": false`), "the end mark is missing"},
		"another number":  {replace(`"attempts": 3`, `"attempts": 4`), "its SHA-256 is"},
		"one field more":  {replace(`"version": 1`, `"extra": 1, "version": 1`), "its SHA-256 is"},
		"two files":       {append(bytes.Clone(b), b...), "invalid character"},
		"nothing":         {nil, "unexpected end"},
		"null":            {[]byte("null"), "version 0"},
		"no sum":          {[]byte(`{"version": 1, "end": true}`), "its SHA-256 is"},
	}
	for name, tc := range tests {
		if _, err := ParseRank(tc.file); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
	}
}

// What ParseRank lets through is sealed again as the same file, and Build never panics on it.
func FuzzParseRank(f *testing.F) {
	_, b := sealed(f)
	f.Add(b)
	full, err := Seal(fake{ranks: 1, repeats: 1, requests: 3, seed: 2, ttft: 30}.results(f)[0])
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add([]byte(`{"version": 1, "end": true}`))
	f.Add(b[:len(b)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseRank(b)
		if err == nil {
			again, err := Seal(r)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := ParseRank(again); err != nil {
				t.Fatalf("sealed again: %v", err)
			}
		}
		// Even what no sum protects must not bring Build down.
		if json.Unmarshal(b, &r) != nil {
			return
		}
		limit := 1.0
		out, err := Build(Input{
			Head: head(1), Clients: []ClientInput{{Name: "loadgen", Ranks: 1, Results: []Rank{r}}},
			SLOs: []SLO{{Client: "loadgen", Metric: "e2e", Statistic: "p99", AtMost: &limit}},
		})
		if err != nil {
			return
		}
		if _, err := Marshal(out); err != nil {
			t.Fatal(err)
		}
	})
}

// Any result can be shown.
func FuzzParse(f *testing.F) {
	for _, in := range outcomes(f) {
		r := build(f, in)
		for i := range r.Clients { // small seeds are mutated more often
			r.Clients[i].Repeats = r.Clients[i].Repeats[:0]
			r.Clients[i].Values = r.Clients[i].Values[:min(3, len(r.Clients[i].Values))]
		}
		b, err := Marshal(r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"schema": "assay.bench/result/v1", "slos": [{}], "clients": [{"errors": [{}]}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := Parse(b)
		if err != nil {
			return
		}
		var text bytes.Buffer
		if err := Summary(&text, r); err != nil {
			t.Fatal(err)
		}
		again, err := Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(again); err != nil {
			t.Fatal(err)
		}
	})
}
