package node

import (
	"encoding/json"
	"net/http"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.bench/internal/rundir"
	store "assay.bench/internal/workloads/s3/memory"
)

// ofRank says which of two ranks with a connection each stores an object, by its path.
func ofRank(t *testing.T, p string) int {
	t.Helper()
	n, err := strconv.Atoi(path.Base(p))
	if err != nil {
		t.Error(err)
	}
	return n % 2
}

// after lets some time pass for a request, while the store takes others.
func after(s *store.Store, d time.Duration) {
	s.Unlock()
	defer s.Lock()
	<-time.After(d)
}

// The first rank removes the objects of all. When it ends early the others end with it, before it does, so that none of
// them stores what is left behind or misses what was there.
func TestFirstRankEndsEarly(t *testing.T) {
	t.Parallel()
	const slow = 600 * time.Millisecond
	var begun sync.Once
	stuck := make(chan struct{}) // rank 1 is in a write that takes long
	for name, c := range map[string]struct {
		reason     string
		change     func(f *fixture)
		then       func(f *fixture) // once it runs
		spoil      func(s *store.Store, w http.ResponseWriter, r *http.Request, rank int) bool
		ends, peer string
	}{
		"set-up": {
			reason: "one write of its share is refused, while the other rank still stores",
			change: func(f *fixture) { f.plan.Clients[0].S3.Objects = 48 },
			spoil: func(s *store.Store, w http.ResponseWriter, r *http.Request, rank int) bool {
				if strings.Contains(r.URL.Path, "/d/m/") && rank == 0 {
					w.WriteHeader(http.StatusForbidden)
					return true
				}
				after(s, slow)
				return false
			},
			ends: rundir.ExitReasonSetUpFailed, peer: rundir.ExitReasonPeerLost,
		},
		"abort": {
			reason: "its writes are refused, and those of the other rank are not",
			change: func(f *fixture) {
				f.plan.Clients[0].Abort = &rundir.Abort{ErrorRatio: 0.3, Window: rundir.Duration(300 * time.Millisecond)}
			},
			spoil: func(_ *store.Store, w http.ResponseWriter, r *http.Request, rank int) bool {
				bad := strings.Contains(r.URL.Path, "/p/m/") && rank == 0
				if bad {
					w.WriteHeader(http.StatusForbidden)
				}
				return bad
			},
			ends: rundir.ExitReasonAborted, peer: rundir.ExitReasonPeerLost,
		},
		"drain": {
			reason: "it has nothing in flight, and the other rank has for longer than a rank waits that was stopped",
			then: func(f *fixture) {
				<-stuck
				b, err := json.Marshal(rundir.Control{Version: rundir.Version, Sequence: 5, Want: rundir.WantDrain})
				if err != nil {
					t.Error(err)
				}
				f.write(rundir.ControlFile, b)
			},
			spoil: func(s *store.Store, _ http.ResponseWriter, r *http.Request, rank int) bool {
				if strings.HasSuffix(r.URL.Path, "/p/m/9") && rank == 1 {
					begun.Do(func() { close(stuck) })
					after(s, 3*othersGrace)
				}
				return false
			},
			ends: rundir.ExitReasonStopped, peer: rundir.ExitReasonStopped,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s, url := store.New(t)
			f.objects(url)
			spec := &f.plan.Clients[0]
			spec.S3.Mix, spec.Duration, spec.TimeoutTotal = rundir.S3Mix{Put: 1, Get: 1}, rundir.Duration(20*time.Second), rundir.Duration(15*time.Second)
			s.Spoil = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.Method != http.MethodPut || strings.HasSuffix(r.URL.Path, "/assay") {
					return false
				}
				return c.spoil(s, w, r, ofRank(t, r.URL.Path))
			}
			if c.change != nil {
				c.change(f)
			}
			start, cmd := time.Now(), f.start()
			if c.then != nil {
				c.then(f)
			}
			if code := f.wait(cmd); code == 0 {
				t.Errorf("%s: exit code 0", c.reason)
			}
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("%s: it took %v, as long as the load", c.reason, took)
			}
			if first, other := f.exit("load", 1), f.exit("load/1", 1); first.Reason != c.ends || other.Reason != c.peer {
				t.Errorf("%s: the first rank ended by %s: %s; the other by %s: %s; want %s and %s", c.reason,
					first.Reason, first.Message, other.Reason, other.Message, c.ends, c.peer)
			}
			if c.ends != rundir.ExitReasonSetUpFailed { // else nothing was measured
				for rank := range 2 {
					r := f.rankResult("load", rank, 1)
					if len(r.Warnings) > 0 || rank == 1 && (r.All.Failed > 0 || r.All.Succeeded == 0) {
						t.Errorf("%s: rank %d: %+v %+v, warnings %q", c.reason, rank, r.All, r.Errors, r.Warnings)
					}
				}
			}
			s.Lock()
			defer s.Unlock()
			if len(s.Objects) > 0 {
				t.Errorf("%s: %d objects are left", c.reason, len(s.Objects))
			}
		})
	}
}
