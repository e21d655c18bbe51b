package series

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var bits = cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) })

// example has a series that appears late, a stale marker, another NaN and an infinity.
func example() []Block {
	a := NewLabels("a_total", map[string]string{"zone": "x", "le": "+Inf"})
	b := NewLabels("b", nil)
	return []Block{
		{time.UnixMilli(1000).UTC(), []Sample{{a, 1}}},
		{time.UnixMilli(2000).UTC(), []Sample{{a, 2}, {b, math.Inf(1)}}},
		{time.UnixMilli(1500).UTC(), []Sample{{b, math.NaN()}}}, // the clock was set back
		{time.UnixMilli(3000).UTC(), []Sample{{a, StaleNaN()}, {b, StaleNaN()}}},
	}
}

func write(t *testing.T, path string, blocks []Block) {
	t.Helper()
	w, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range blocks {
		if err := w.Append(b.Time, b.Samples); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

// readAll returns the whole blocks and the error that ended them.
func readAll(b []byte) ([]Block, error) {
	r := NewReader(bytes.NewReader(b))
	var out []Block
	for {
		block, err := r.Next()
		if err != nil {
			return out, err
		}
		out = append(out, block)
	}
}

func TestWriteAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.series")
	write(t, path, example()[:2])
	write(t, path, example()[2:]) // a second writer goes on
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(b)
	if !errors.Is(err, io.EOF) {
		t.Errorf("ended with %v, want EOF", err)
	}
	if diff := cmp.Diff(example(), got, bits); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !IsStaleNaN(got[3].Samples[0].Value) || IsStaleNaN(got[2].Samples[0].Value) {
		t.Error("the stale marker and another NaN are not told apart")
	}
}

func TestCutAtAnyByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.series")
	write(t, path, example())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	ends := blockEnds(t, whole)
	for cut := range whole {
		n := 0
		for n < len(ends) && ends[n] <= int64(cut) {
			n++
		}
		got, err := readAll(whole[:cut])
		if diff := cmp.Diff(example()[:n], got, bits, cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("cut at %d (-want +got):\n%s", cut, diff)
		}
		if len(got) != n || (!errors.Is(err, io.EOF) && !errors.Is(err, ErrTorn)) {
			t.Fatalf("cut at %d: %d blocks and %v, want %d", cut, len(got), err, n)
		}
		// The next writer cuts off the torn rest and goes on.
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		more := Block{time.UnixMilli(9000).UTC(), example()[1].Samples}
		write(t, path, []Block{more})
		again, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err = readAll(again)
		if !errors.Is(err, io.EOF) || len(got) != n+1 {
			t.Fatalf("cut at %d and gone on: %d blocks, %v; want %d", cut, len(got), err, n+1)
		}
		if diff := cmp.Diff(more, got[n], bits); diff != "" {
			t.Fatalf("cut at %d and gone on (-want +got):\n%s", cut, diff)
		}
	}
}

func blockEnds(t *testing.T, b []byte) []int64 {
	t.Helper()
	r := NewReader(bytes.NewReader(b))
	var ends []int64
	for {
		if _, err := r.Next(); err != nil {
			return ends
		}
		ends = append(ends, r.Good())
	}
}

func TestAnyChangedByteIsFound(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.series")
	write(t, path, example())
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x10
		got, err := readAll(b)
		if errors.Is(err, io.EOF) || len(got) >= len(example()) {
			t.Fatalf("byte %d changed: %d blocks, %v; want fewer and an error", i, len(got), err)
		}
	}
}

func TestOpenRefusesAnotherFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(path, []byte("these are my notes"), 0o600); err != nil {
		t.Fatal(err)
	}
	if w, err := Open(path); err == nil {
		t.Errorf("it opened, and would have cut the file off: %v", w.Close())
	}
	if b, err := os.ReadFile(path); err != nil || string(b) != "these are my notes" {
		t.Errorf("the file is now %q, %v", b, err)
	}
}

func TestAppendThatFailsLeavesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.series")
	w, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	huge := Labels{{NameLabel, string(make([]byte, MaxBlock))}}
	if err := w.Append(time.UnixMilli(1), []Sample{{huge, 1}, {NewLabels("a", nil), 1}}); err == nil {
		t.Fatal("a block that no reader takes was written")
	}
	if err := w.Append(time.UnixMilli(2).UTC(), []Sample{{NewLabels("b", nil), 2}}); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got, _ := readAll(b)
	want := []Block{{time.UnixMilli(2).UTC(), []Sample{{NewLabels("b", nil), 2}}}}
	if diff := cmp.Diff(want, got, bits); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestKeyTellsLabelsApart(t *testing.T) {
	a := Labels{{"a", "b"}, {"c", "d"}}
	for _, b := range []Labels{{{"a", "bc"}, {"", "d"}}, {{"a", "b"}}, {{"a", "b"}, {"c", "d"}, {"", ""}}} {
		if a.Key() == b.Key() {
			t.Errorf("%v and %v have one key", a, b)
		}
	}
}

func FuzzReader(f *testing.F) {
	path := filepath.Join(f.TempDir(), "x.series")
	w, err := Open(path)
	if err != nil {
		f.Fatal(err)
	}
	for _, b := range example() {
		if err := w.Append(b.Time, b.Samples); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add(b[:len(b)-3])
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(bytes.NewReader(b))
		for {
			if _, err := r.Next(); err != nil {
				break
			}
		}
		if r.Good() > int64(len(b)) {
			t.Errorf("%d good bytes of %d", r.Good(), len(b))
		}
	})
}

// FuzzDecode passes the sums by, which a fuzzer cannot guess.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{2, 1, 1, 1, 'a', 1, 'b', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := NewReader(nil)
		block, err := r.decode(b)
		if err == nil && len(block.Samples)*9 > len(b) {
			t.Errorf("%d samples of %d bytes", len(block.Samples), len(b))
		}
		if err != nil && len(r.table) > 0 {
			t.Error("a bad block left series behind")
		}
	})
}
