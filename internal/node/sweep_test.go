package node

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay.bench/internal/rundir"
	store "assay.bench/internal/workloads/s3/memory"
)

// What the ranks of a client have stored is removed by the job where the first rank, which removes it else, is killed. What
// somebody else has stored below the prefix stays, and what happened is said.
func TestFirstRankIsKilled(t *testing.T) {
	t.Parallel()
	const foreign = "/bucket/assay/load/r1/d/m/999"
	for name, c := range map[string]struct {
		reason string
		slow   bool // to store
		ready  func(f *fixture, s *store.Store) bool
		said   string
	}{
		"load": {
			reason: "the other rank still loads", ready: func(f *fixture, _ *store.Store) bool {
				l := f.status("load").Live
				return l != nil && l.Elapsed > 1.2 // so that it has saved something
			},
			said: "load/0 was lost before its clean-up, and so not everything below assay/load/r1 of bucket bucket is removed: s3: 1 of the objects below assay/load/r1/ of bucket bucket are not ours and stay, such as assay/load/r1/d/m/999: remove them yourself",
		},
		"set-up": {
			reason: "nothing is measured", slow: true, ready: func(f *fixture, s *store.Store) bool {
				s.Lock()
				defer s.Unlock()
				told, err := manifest(f.rankDir("load", 0), 0, 1)
				return err == nil && told.Claimed && len(s.Objects) > 2
			},
			said: "assay/load/r1/d/m/999: remove them yourself",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s, url := store.New(t)
			f.objects(url)
			f.plan.Clients[0].Duration = rundir.Duration(3 * time.Second)
			if c.slow {
				s.Spoil = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
					if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/d/") {
						after(s, 200*time.Millisecond)
					}
					return false
				}
			}
			cmd := f.start()
			f.until("the right moment", func() bool { return c.ready(f, s) })
			f.signalJob(syscall.SIGKILL, f.status("load").PID)
			s.Lock()
			s.Objects[foreign] = []byte("theirs")
			s.Unlock()
			if code := f.wait(cmd); code == 0 {
				t.Errorf("%s: exit code 0", c.reason)
			}
			s.Lock()
			defer s.Unlock()
			if len(s.Objects) != 1 || s.Objects[foreign] == nil {
				t.Errorf("%s: %v are left, want %s alone", c.reason, slices.Sorted(maps.Keys(s.Objects)), foreign)
			}
			if !strings.Contains(f.log.String(), c.said) {
				t.Errorf("%s: the job's log does not say %q", c.reason, c.said)
			}
			if c.slow {
				return
			}
			const want = "its first instance was lost before the clean-up: see in job.log whether the job has removed what is below assay/load/r1/ of bucket bucket"
			if r := f.rankResult("load", 0, 1); !slices.Contains(r.Warnings, want) {
				t.Errorf("%s: warnings %q, want %q", c.reason, r.Warnings, want)
			}
		})
	}
}
