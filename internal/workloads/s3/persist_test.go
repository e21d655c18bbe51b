package s3

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/s3/memory"
)

// apiName is the call of the S3 API that a request is.
func apiName(r *http.Request) string {
	if !strings.Contains(strings.Trim(r.URL.Path, "/"), "/") {
		return map[string]string{"PUT": callCreateBucket, "GET": callListObjectsV2}[r.Method]
	}
	return map[string]string{"PUT": callPutObject, "GET": callGetObject, "HEAD": callHeadObject, "DELETE": callDeleteObject}[r.Method]
}

// before puts a server in front of a store, which may answer in its place, and counts what it is asked.
func before(t *testing.T, s *memory.Store, spoil func(w http.ResponseWriter, name, path string, n int64) (done bool)) (url string, seen Calls) {
	t.Helper()
	var mu sync.Mutex
	seen = Calls{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := apiName(r)
		mu.Lock()
		seen[name]++
		n := seen[name]
		mu.Unlock()
		if !spoil(w, name, r.URL.Path, n) {
			s.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(server.Close)
	return server.URL, seen
}

// A server that is busy now and then, or breaks a connection, is set up and cleaned up, and each attempt is counted.
func TestSetUpAndCleanUpPersist(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		spoil  func(http.ResponseWriter)
	}{
		"503":   {"it is busy", func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) }},
		"429":   {"a proxy in front of it counts requests", func(w http.ResponseWriter) { http.Error(w, "slow down", http.StatusTooManyRequests) }},
		"reset": {"a connection breaks", func(http.ResponseWriter) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := memory.New(t)
			url, seen := before(t, s, func(w http.ResponseWriter, name, _ string, n int64) bool {
				if bad := n%7 == 1; !bad { // the first of each call among them
					return false
				}
				c.spoil(w)
				return true
			})
			calls, ranks := Calls{}, twoRanks(t, url, true)
			for rank, w := range ranks {
				made, err := w.Store(t.Context())
				if err != nil {
					t.Fatalf("%s: rank %d: %v", c.reason, rank, err)
				}
				calls.Add(made)
			}
			made, err := ranks[0].Remove(t.Context(), ranks[1].Manifest(false))
			if err != nil {
				t.Errorf("%s: %v", c.reason, err)
			}
			calls.Add(made)
			if diff := cmp.Diff(seen, calls); diff != "" {
				t.Errorf("%s: the server saw other calls than were counted (-saw +counted):\n%s", c.reason, diff)
			}
			if len(s.Objects) > 0 {
				t.Errorf("%s: %d objects are left", c.reason, len(s.Objects))
			}
		})
	}
}

// What a pause does not mend is asked once.
func TestNoAttemptAfterARefusal(t *testing.T) {
	for code, want := range map[int]int64{403: 1, 501: 1, 507: 1, 500: firstAttempts, 503: firstAttempts, 429: firstAttempts} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			t.Parallel()
			s, _ := memory.New(t)
			url, seen := before(t, s, func(w http.ResponseWriter, name, _ string, _ int64) bool {
				if name == callPutObject {
					w.WriteHeader(code)
					_, _ = w.Write([]byte("<Error><Code>No</Code><Message>words.</Message></Error>"))
				}
				return name == callPutObject
			})
			w := mixed(t, url)
			_, err := w.Store(t.Context())
			if want := fmt.Sprintf("s3: bucket bucket: PutObject: HTTP %d No: words: ", code); err == nil || !strings.HasPrefix(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			if seen[callPutObject] != want || w.claimed.Load() {
				t.Errorf("%d attempts, claimed %t, want %d and false", seen[callPutObject], w.claimed.Load(), want)
			}
		})
	}
}

// A rank that looks for the mark says what it was refused, where, and what to do.
func TestAwaitMarkSaysWhy(t *testing.T) {
	s, _ := memory.New(t)
	url, _ := before(t, s, func(w http.ResponseWriter, name, _ string, _ int64) bool {
		if name == callHeadObject {
			w.WriteHeader(http.StatusForbidden)
		}
		return name == callHeadObject
	})
	_, err := twoRanks(t, url, false)[1].Store(t.Context())
	const want = "s3: bucket bucket: the mark of rank 0: HeadObject: HTTP 403: use credentials that may, or another bucket"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
}

// One object that cannot be deleted keeps no other, and is named; the mark stays with it.
func TestRemoveGoesOn(t *testing.T) {
	s, _ := memory.New(t)
	url, seen := before(t, s, func(w http.ResponseWriter, name, path string, _ int64) bool {
		bad := name == callDeleteObject && path == "/bucket/run/load/d/m/3"
		if bad {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return bad
	})
	w := mixed(t, url)
	if _, err := w.Store(t.Context()); err != nil {
		t.Fatal(err)
	}
	stored := int64(len(s.Objects))
	calls, err := w.Remove(t.Context())
	const want = "s3: remove what was stored below run/load/ of bucket bucket: 1 deletes failed, the first that of run/load/d/m/3: DeleteObject: HTTP 503"
	if err == nil || err.Error() != want {
		t.Errorf("got %v\nwant %s", err, want)
	}
	if n := calls[callDeleteObject]; n != seen[callDeleteObject] || n != stored-2+attempts {
		t.Errorf("%d deletes counted, %d seen, want %d", n, seen[callDeleteObject], stored-2+attempts)
	}
	if len(s.Objects) != 2 || s.Objects["/bucket/run/load/"+mark] == nil || s.Objects["/bucket/run/load/d/m/3"] == nil {
		t.Errorf("%d objects are left, want the mark and the one that cannot be deleted", len(s.Objects))
	}
}

// Where nothing can be deleted, that is seen after a few.
func TestRemoveGivesUp(t *testing.T) {
	s, _ := memory.New(t)
	url, seen := before(t, s, func(w http.ResponseWriter, name, _ string, _ int64) bool {
		if name == callDeleteObject {
			w.WriteHeader(http.StatusForbidden)
		}
		return name == callDeleteObject
	})
	o := options(url, rundir.S3Mix{Get: 1}, fixed(10))
	o.Plan.Objects, o.InFlight = 200, mostParallel
	w, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Store(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = w.Remove(t.Context())
	if err == nil || !strings.Contains(err.Error(), " deletes failed, the first that of run/load/d/") {
		t.Errorf("got %v", err)
	}
	if n := seen[callDeleteObject]; n < hopeless || n > hopeless+mostParallel {
		t.Errorf("%d deletes, want %d to %d", n, hopeless, hopeless+mostParallel)
	}
}

// What comes while the clean-up goes through the list is seen by the next look.
func TestRemoveLooksAgain(t *testing.T) {
	s, url := memory.New(t)
	w := mixed(t, url)
	if _, err := w.Store(t.Context()); err != nil {
		t.Fatal(err)
	}
	late := w.offer.object(written, load.Measure, 3)
	w.ledger.begin(late)
	path, once := string(late.appendKey([]byte("/bucket/run/load/"))), sync.Once{}
	s.Spoil = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.Method == http.MethodDelete {
			once.Do(func() { s.Objects[path] = []byte("late") })
		}
		return false
	}
	if _, err := w.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	if len(s.Objects) > 0 {
		t.Errorf("%d objects are left", len(s.Objects))
	}
	// One that comes again and again is named.
	if _, err := w.Store(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.Spoil = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
		if r.Method == http.MethodDelete && r.URL.Path != path {
			s.Objects[path] = []byte("again")
		}
		return r.Method == http.MethodDelete && r.URL.Path == path
	}
	_, err := w.Remove(t.Context())
	if want := "1 objects were there again after all had been deleted 3 times: see who else stores them"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q in it", err, want)
	}
}
