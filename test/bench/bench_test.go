//go:build bench

package bench

import (
	"fmt"
	"os"
	"testing"
	"time"
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
}

func sizes() size {
	if testing.Short() {
		return size{repeats: 1, settle: time.Second, watch: 2 * time.Second, openLoop: 2 * time.Second, s3: 200 * time.Millisecond, many: 5}
	}
	return size{repeats: 5, settle: time.Minute, watch: 30 * time.Second, openLoop: 30 * time.Second, s3: 3 * time.Second, many: 200}
}

// TestBench measures one thing after another and shows them in one table. A goal that is missed is shown and is no
// failure, for machines are noisy; a failure is what was not measured, or not correctly.
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
}
