//go:build bench

package bench

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestMain is also the programs that others are measured with, and those that are measured in a process of their own.
func TestMain(m *testing.M) {
	if len(os.Args) < 2 {
		os.Exit(m.Run())
	}
	var err error
	switch arg := os.Args[len(os.Args)-1]; os.Args[1] {
	case nullServerArg:
		err = nullServer(arg)
	case bareTimerArg:
		err = bareTimer(arg)
	case s3ClientArg:
		err = s3Client(os.Stdin, os.Stdout)
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// size is how much is measured: make bench measures in full, and CI, by -short, only that it works.
type size struct {
	repeats  int
	settle   time.Duration // before a control plane counts as idle
	watch    time.Duration // how long it is watched then
	openLoop time.Duration
	s3       time.Duration // of one load
	many     int
	// Of the rows on real Slurm: jobs that are submitted, that wait, and that run; how long those that wait are watched
	// once some time has passed, and for how many ticks those that run.
	submits, steady, running, ticks int
	slowly, steadily                time.Duration
}

func sizes() size {
	if testing.Short() {
		return size{repeats: 1, settle: time.Second, watch: 2 * time.Second, openLoop: 2 * time.Second, s3: 200 * time.Millisecond, many: 5,
			submits: 4, steady: 6, running: 3, ticks: 1, slowly: time.Second, steadily: 2 * time.Second}
	}
	return size{repeats: 5, settle: time.Minute, watch: 30 * time.Second, openLoop: 30 * time.Second, s3: 3 * time.Second, many: 200,
		submits: 500, steady: 1000, running: 200, ticks: 12, slowly: 2 * time.Minute, steadily: 3 * time.Minute}
}

// TestBench measures one thing after another and shows them in one table. In full, a goal that is missed is a failure,
// once all is measured and written; with -short the numbers of a busy machine mean little, and a failure is only what was
// not measured, or not correctly.
func TestBench(t *testing.T) {
	r, s := &rows{t: t}, sizes()
	for _, m := range []struct {
		name    string
		measure func(*testing.T, *rows, size)
	}{
		{"Recording", recording},
		{"Merge", merging},
		{"Start", starting},
		{"Idle", idling},
		{"OpenLoop", openLoop},
		{"S3", objectStore},
		{"Many", many},
		{"Slurm", slurm},
	} {
		t.Run(m.name, func(t *testing.T) {
			r.t = t
			m.measure(t, r, s)
		})
	}
	fmt.Print("\n" + r.table())
	if path := os.Getenv("ASSAY_BENCH_JSON"); path != "" {
		if err := r.write(path); err != nil {
			t.Fatal(err)
		}
		fmt.Printf("written to %s\n", path)
	}
	if testing.Short() {
		return
	}
	for _, words := range r.missed() {
		t.Error(words)
	}
}

// A goal that is missed is named with what was measured, and only such a one.
func TestBenchNamesWhatMissedItsGoal(t *testing.T) {
	r := &rows{t: t}
	r.atMost("met", "ms", 5, 4, 5, 6)
	r.atMost("missed", "ms", 5, 4, 6, 7)
	r.ratioAtMost("met by ratio", "s", 0.5, []float64{1}, []float64{2})
	r.ratioAtMost("missed by ratio", "s", 0.5, []float64{3}, []float64{4})
	want := []string{"missed: 6 ms, the goal is at most 5 ms", "missed by ratio: 3 s, the ratio 0.75, the goal is at most 0.5 × the baseline"}
	if diff := cmp.Diff(want, r.missed()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
