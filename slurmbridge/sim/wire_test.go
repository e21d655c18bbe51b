package sim

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
)

func TestEveryCutIsSeen(t *testing.T) {
	c := New(Options{})
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	want := []slurmbridge.Job{{ID: "1", Key: "assay-x", Submitted: at}, {ID: "2", State: "RUNNING", Message: "1 jobs\n2 jobs\n"}}
	whole := c.print(want)
	got, err := whole.parse()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v -want +got\n%s", err, diff)
	}
	for n := range whole.stdout {
		if got, err := (reply{stdout: whole.stdout[:n]}).parse(); err == nil {
			t.Errorf("the answer cut after %d bytes passes as %v", n, got)
		}
	}
}

func FuzzReply(f *testing.F) {
	f.Add([]byte("0 jobs\n"))
	f.Add([]byte("{}\n1 jobs\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		jobs, err := reply{stdout: b}.parse()
		if err == nil && len(jobs) > len(b) {
			t.Errorf("%d jobs out of %d bytes", len(jobs), len(b))
		}
	})
}
