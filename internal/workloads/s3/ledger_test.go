package s3

import (
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/s3/memory"
)

// deletes counts what a store is asked to delete, and what of it was not there. Answers come after times that vary.
type deletes struct{ asked, missing int }

func watchDeletes(s *memory.Store) *deletes {
	d := &deletes{}
	s.Spoil = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.Method == http.MethodDelete {
			d.asked++
			if _, found := s.Objects[r.URL.Path]; !found {
				d.missing++
			}
		}
		s.Unlock()
		defer s.Lock()
		<-time.After(time.Duration(rand.IntN(4000)) * time.Microsecond)
		return false
	}
	return d
}

// runLoad makes a load with the options of a workload's rank; begun gets it before its first request.
func runLoad(t *testing.T, w *Workload, o load.Options, begun ...func(*load.Run)) *load.Result {
	t.Helper()
	o.Rank, o.Ranks, o.Seed, o.Clock = w.options.Rank, w.options.Ranks, 7, w.options.Clock
	o.Root = fstest.MapFS{"proc/self/task/1/schedstat": {Data: []byte("0 0 0")}}
	run, err := load.New(o, w)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range begun {
		f(run)
	}
	out, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Nothing is deleted that is not there, however far the workers of a closed loop drift apart, and however late the writes
// of an open one are.
func TestDeletesFindTheirObjects(t *testing.T) {
	for name, offer := range map[string]load.Options{
		"closed":            {Closed: &load.ClosedLoop{Concurrency: 16}},
		"with a pause":      {Closed: &load.ClosedLoop{Concurrency: 16, ThinkTime: 5 * time.Millisecond}},
		"open":              {Open: &load.OpenLoop{Rate: 2000, Arrival: load.Poisson, MaxInFlight: 16}},
		"open, few at once": {Open: &load.OpenLoop{Rate: 500, Arrival: load.Poisson, MaxInFlight: 2}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, url := memory.New(t)
			o := options(url, rundir.S3Mix{Put: 1, Get: 1, Delete: 1}, rundir.Size{Distribution: rundir.SizeUniform, Min: 1, Max: 100_000})
			o.InFlight, o.Closed = 16, offer.Closed != nil
			w, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			fill(s, w)
			seen := watchDeletes(s)
			offer.Lengths = load.Lengths{Warmup: 200 * time.Millisecond, Measure: time.Second}
			out := runLoad(t, w, offer)
			if seen.missing > 0 || out.All.Failed > 0 || seen.asked < 10 {
				t.Errorf("%d deletes, of which %d of an object that was not there; %d of %d requests failed: %+v",
					seen.asked, seen.missing, out.All.Failed, out.All.Offered, out.AllErrors)
			}
		})
	}
}

// A delete whose write failed takes another object, then a spare, and then it fails under a name of its own.
func TestDeletesWithoutWrites(t *testing.T) {
	all := func(int) bool { return true }
	for name, c := range map[string]struct {
		closed  bool
		refused func(number int) bool // the write of a number
		// made are how many deletes go out; 0 for all of them.
		made int
	}{
		"no write, closed":          {closed: true, refused: all, made: spareObjects},
		"no write, open":            {refused: all, made: spareObjects + 2}, // two rounds have victims
		"a write in twenty, open":   {refused: func(n int) bool { return n%20 == 0 }},
		"two of all writes, closed": {closed: true, refused: func(n int) bool { return n == 3 || n == 5 }},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := memory.New(t)
			o := options(url, rundir.S3Mix{Put: 1, Delete: 1}, fixed(1000))
			o.Closed, o.InFlight = c.closed, 1
			w, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			fill(s, w)
			var run *load.Run
			seen, made, missing := 0, 0, 0
			s.Spoil = func(rw http.ResponseWriter, r *http.Request, _ []byte) bool {
				if seen++; c.closed && seen == 60 {
					run.Drain("all is seen")
				}
				number, err := strconv.Atoi(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:])
				if err != nil {
					t.Error(err)
				}
				if r.Method == http.MethodDelete {
					if made++; s.Objects[r.URL.Path] == nil {
						missing++
					}
					return false
				}
				if c.refused(number) {
					rw.WriteHeader(http.StatusServiceUnavailable)
					return true
				}
				return false
			}
			offer := load.Options{Open: &load.OpenLoop{Rate: 1000, Arrival: load.Constant, MaxInFlight: 1}}
			if c.closed {
				offer = load.Options{Closed: &load.ClosedLoop{Concurrency: 1}}
			}
			if offer.Lengths.Measure = 120 * time.Millisecond; c.closed {
				offer.Lengths.Measure = time.Minute
			}
			out := runLoad(t, w, offer, func(r *load.Run) { run = r })
			due := int(out.Operations[opDelete].Succeeded + out.Operations[opDelete].Failed)
			want := []load.ErrorCount(nil)
			if c.made > 0 {
				want = []load.ErrorCount{{Operation: Delete, Kind: string(load.NoObject), Count: int64(due - c.made), Sample: noObject}}
			} else {
				c.made = due
			}
			got := slices.DeleteFunc(out.Errors, func(e load.ErrorCount) bool { return e.Operation != Delete })
			if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("failed deletes (-want +got):\n%s", diff)
			}
			if due < 20 || made != c.made || missing > 0 || out.Total(callDeleteObject).All != int64(made) {
				t.Errorf("of %d deletes %d went out, %d for nothing; want %d, and %v is counted", due, made, missing, c.made, out.Total(callDeleteObject))
			}
		})
	}
}

// What the server says that it did not delete may be deleted again; of what it said nothing about, nobody knows.
func TestDeletesThatFail(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(http.ResponseWriter)
		again bool
	}{
		"refused":   {func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }, true},
		"not there": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, false},
		"cut off":   {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := memory.New(t)
			o := options(url, rundir.S3Mix{Put: 1, Delete: 1}, fixed(1000))
			o.Closed, o.InFlight = true, 1
			w, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			fill(s, w)
			var run *load.Run
			var asked []string
			s.Spoil = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.Method != http.MethodDelete {
					return false
				}
				asked = append(asked, r.URL.Path)
				switch len(asked) {
				case 1:
					c.spoil(w)
					return true
				case 2:
					run.Drain("all is seen")
				}
				return false
			}
			offer := load.Options{Closed: &load.ClosedLoop{Concurrency: 1}, Retries: 1, Lengths: load.Lengths{Measure: time.Minute}}
			runLoad(t, w, offer, func(r *load.Run) { run = r })
			if len(asked) < 2 || (asked[0] == asked[1]) != c.again || asked[0] != "/bucket/run/load/p/m/0" {
				t.Errorf("asked to delete %v, again %t", asked[:min(2, len(asked))], c.again)
			}
		})
	}
}

// Numbers come in the order of their greatness, whatever was taken before.
func TestNumbers(t *testing.T) {
	seed := uint64(5)
	r := rand.New(rand.NewPCG(seed, 1))
	var n numbers
	want := map[uint64]bool{}
	for step := range 3000 {
		switch x := r.Uint64N(500); r.IntN(3) {
		case 0:
			n.add(x)
			want[x] = true
		case 1:
			if got := n.remove(x); got != want[x] {
				t.Fatalf("seed %d step %d: %d was there: %t, want %t", seed, step, x, got, want[x])
			}
			delete(want, x)
		default:
			got, found := n.first()
			if found != (len(want) > 0) || found && got != slices.Min(slices.Collect(maps.Keys(want))) {
				t.Fatalf("seed %d step %d: the first is %d, %t, of %d", seed, step, got, found, len(want))
			}
		}
	}
}

// What a rank has begun is in its manifest; what it may begin until it is asked again is foreseen.
func TestManifest(t *testing.T) {
	s, url := memory.New(t)
	both := twoRanks(t, url, true) // of four workers
	for _, w := range both {
		fill(s, w)
	}
	w := both[1]
	put := func(numbers ...uint64) {
		for _, n := range numbers {
			w.ledger.begin(w.offer.object(written, load.Measure, n))
		}
	}
	put(1, 3, 5, 9) // of the workers 1, 3, 1, 1
	w.ledger.cutOff()
	stored := map[string][]uint64{"d/w": {1}, "d/m": {4}, "d/c": {1}, "s/w": {4}, "s/m": {4}, "s/c": {4}}
	delete(stored, "d/w") // its one object is rank 0's
	delete(stored, "d/c")
	want := Manifest{Rank: 1, Begun: maps.Clone(stored), Unanswered: true}
	want.Begun["p/m"] = []uint64{3, 1}
	if diff := cmp.Diff(want, w.Manifest(false)); diff != "" {
		t.Errorf("begun (-want +got):\n%s", diff)
	}
	want.Begun = maps.Clone(stored)
	want.Begun["p/w"], want.Begun["p/c"] = []uint64{least, least}, []uint64{least, least}
	want.Begun["p/m"] = []uint64{3 + 2*3 + least, 1 + 2*1 + least}
	if diff := cmp.Diff(want, w.Manifest(true)); diff != "" {
		t.Errorf("foreseen (-want +got):\n%s", diff)
	}
	put(1 + 4*12)
	want.Begun["p/m"] = []uint64{13 + 2*10 + least, 1 + least}
	if diff := cmp.Diff(want, w.Manifest(true)); diff != "" {
		t.Errorf("foreseen later (-want +got):\n%s", diff)
	}
}
