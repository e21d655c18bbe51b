package s3

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/load"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/s3/memory"
)

// twoRanks are the ranks of one load.
func twoRanks(t *testing.T, url string, closed bool) [2]*Workload {
	t.Helper()
	var out [2]*Workload
	for rank := range out {
		o := options(url, rundir.S3Mix{Put: 2, Get: 4, Head: 2, Delete: 1}, fixed(5000))
		o.Rank, o.Ranks, o.Closed = rank, 2, closed
		var err error
		if out[rank], err = New(o); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func mixed(t *testing.T, url string) *Workload {
	t.Helper()
	w, err := New(options(url, rundir.S3Mix{Put: 2, Get: 4, Head: 2, Delete: 1}, fixed(5000)))
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// A bucket is made where the region is: S3 wants to be told, but for its first region, of which it may not be told.
func TestBucketIsMadeInTheRegion(t *testing.T) {
	for region, want := range map[string]string{
		"us-east-1":    "",
		"eu-central-1": `<CreateBucketConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><LocationConstraint>eu-central-1</LocationConstraint></CreateBucketConfiguration>`,
	} {
		got := "no bucket was made"
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if apiName(r) == callCreateBucket {
				b, err := io.ReadAll(r.Body)
				if got = string(b); err != nil {
					got = err.Error()
				}
				w.WriteHeader(http.StatusForbidden) // the rest is not looked at
				return
			}
			w.WriteHeader(http.StatusNotFound)
			_, _ = io.WriteString(w, "<Error><Code>NoSuchBucket</Code></Error>")
		}))
		o := options(server.URL, rundir.S3Mix{Put: 1}, fixed(5))
		o.Plan.Region = region
		w, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Store(t.Context()); err == nil {
			t.Error("a refusal is taken for a bucket")
		}
		server.Close()
		if got != want {
			t.Errorf("%s: the body is %q, want %q", region, got, want)
		}
	}
}

// Two ranks store what the load needs, each its share, and one removes all of it and nothing else.
func TestStoreAndRemove(t *testing.T) {
	s, url := memory.New(t)
	both := twoRanks(t, url, false)
	w := both[0]
	s.Objects["/bucket/theirs"], s.Objects["/bucket/run/load-2/d/m/1"] = []byte("x"), []byte("y")
	all, mu, ranks := Calls{}, sync.Mutex{}, sync.WaitGroup{}
	for rank := range 2 {
		ranks.Go(func() {
			calls, err := both[rank].Store(t.Context())
			if err != nil {
				t.Errorf("rank %d: %v", rank, err)
			}
			mu.Lock()
			defer mu.Unlock()
			delete(calls, callHeadObject) // how often rank 1 looks is left to chance
			all.Add(calls)
		})
	}
	ranks.Wait()
	n := int64(len(slices.Collect(w.beforehand())))
	if want := (Calls{callListObjectsV2: 1, callCreateBucket: 1, callPutObject: n + 1}); !cmp.Equal(want, all) {
		t.Errorf("calls (-want +got):\n%s", cmp.Diff(want, all))
	}
	if len(s.Objects) != int(n)+3 {
		t.Errorf("%d objects, want %d", len(s.Objects), n+3)
	}
	for rank, w := range both {
		if out := once(t, w, 180); out.Measured.Succeeded != 90 {
			t.Errorf("rank %d: %d of 90 succeeded: %+v", rank, out.Measured.Succeeded, out.Errors)
		}
	}
	calls, err := w.Remove(t.Context(), both[1].Manifest(false))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Calls{callListObjectsV2: 2, callDeleteObject: n + 1 + 2*(20-10)}); !cmp.Equal(want, calls) {
		t.Errorf("calls (-want +got):\n%s", cmp.Diff(want, calls))
	}
	if len(s.Objects) != 2 {
		t.Errorf("%d objects are left, want the 2 of others", len(s.Objects))
	}
}

// What is found is refused with what to do; nothing is stored, and nothing of others removed.
func TestStoreRefuses(t *testing.T) {
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html><body>console</body></html>"))
	}))
	defer page.Close()
	missing := httptest.NewServer(http.NotFoundHandler())
	defer missing.Close()
	for name, c := range map[string]struct {
		change func(*memory.Store) (url string)
		want   string
	}{
		"foreign objects":   {func(s *memory.Store) string { s.Made, s.Objects["/bucket/run/load/theirs"] = true, nil; return "" }, "bucket bucket holds run/load/theirs, which is not ours: name another prefix"},
		"others' bucket":    {func(s *memory.Store) string { s.Refuse = "AccessDenied"; return "" }, "bucket bucket: ListObjectsV2: HTTP 403 AccessDenied: words: use credentials that may, or another bucket"},
		"only to be read":   {readOnly, "bucket bucket: PutObject: HTTP 403 AccessDenied: words: use credentials that may, or another bucket"},
		"nobody":            {func(*memory.Store) string { return "http://127.0.0.1:1" }, "connection refused: see that http://127.0.0.1:1 is the address of an S3 server, and that it runs"},
		"wrong credentials": {func(s *memory.Store) string { s.Refuse = "SignatureDoesNotMatch"; return "" }, "HTTP 403 SignatureDoesNotMatch: words: correct the keys username and password of the Secret in target.credentials"},
		"a page":            {func(*memory.Store) string { return page.URL }, "the endpoint does not speak S3"},
		"another server":    {func(*memory.Store) string { return missing.URL }, "the endpoint does not speak S3"},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := memory.New(t)
			if other := c.change(s); other != "" {
				url = other
			}
			before := len(s.Objects)
			w := mixed(t, url)
			_, err := w.Store(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
			if _, err := w.Remove(t.Context()); err != nil {
				t.Errorf("the clean-up of what was never claimed: %v", err)
			}
			if len(s.Objects) != before {
				t.Errorf("of %d objects %d are there", before, len(s.Objects))
			}
		})
	}
}

// A rank whose rank 0 never comes ends with the load.
func TestStoreEndsWithItsContext(t *testing.T) {
	s, url := memory.New(t)
	s.Made = true
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := twoRanks(t, url, false)[1].Store(ctx); err == nil || !strings.Contains(err.Error(), "rank 0 has not claimed the prefix") {
		t.Errorf("got %v", err)
	}
}

// What ranks that are gone have stored is removed by what they told, if they had claimed the prefix.
func TestRemoveForOthers(t *testing.T) {
	for name, claimed := range map[string]bool{"claimed": true, "not claimed": false} {
		t.Run(name, func(t *testing.T) {
			s, url := memory.New(t)
			ranks := twoRanks(t, url, true)
			var told []Manifest
			for _, w := range ranks {
				if _, err := w.Store(t.Context()); err != nil {
					t.Fatal(err)
				}
				m := w.Manifest(true)
				m.Claimed = m.Claimed && claimed
				told = append(told, m)
			}
			before := len(s.Objects)
			calls, err := mixed(t, url).Remove(t.Context()) // it knows of nothing
			if err != nil || len(calls) > 0 {
				t.Errorf("without a word of others: %v, calls %v", err, calls)
			}
			if _, err := twoRanks(t, url, true)[0].Remove(t.Context(), told...); err != nil {
				t.Error(err)
			}
			if left := len(s.Objects); left != map[bool]int{true: 0, false: before}[claimed] {
				t.Errorf("of %d objects %d are left", before, left)
			}
		})
	}
}

// More objects than one list holds are removed too.
func TestRemoveGoesThroughAllPages(t *testing.T) {
	s, url := memory.New(t)
	w := mixed(t, url)
	if _, err := w.Store(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range uint64(2500) {
		w.ledger.begin(w.offer.object(written, load.Measure, i))
		s.Objects["/bucket/run/load/p/m/"+strconv.FormatUint(i, 10)] = nil
	}
	if _, err := w.Remove(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(s.Objects) != 0 {
		t.Errorf("%d objects are left", len(s.Objects))
	}
}

// What somebody else has put below the prefix while the load ran stays, and is named.
func TestRemoveLeavesWhatIsNotOurs(t *testing.T) {
	s, url := memory.New(t)
	w := mixed(t, url)
	if _, err := w.Store(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.ledger.begin(w.offer.object(written, load.Measure, 17))
	s.Objects["/bucket/run/load/p/m/17"] = []byte("ours")
	theirs := []string{"d/m/1.copy", "d/m/", "d/m/-1", "d/m/1/2", "x/m/1", "d/x/1", "dv/m/1", "notes", "assay2",
		"d/m/8", "d/m/999999999", "p/m/18", "p/w/0", "v/m/100", "s/c/4"} // the last of the form of ours, and never begun
	for _, name := range theirs {
		s.Objects["/bucket/run/load/"+name] = []byte("theirs")
	}
	_, err := w.Remove(t.Context())
	want := "15 of the objects below run/load/ of bucket bucket are not ours and stay, such as run/load/assay2: remove them yourself"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q in it", err, want)
	}
	for _, name := range theirs {
		if string(s.Objects["/bucket/run/load/"+name]) != "theirs" {
			t.Errorf("%s is gone", name)
		}
	}
	if len(s.Objects) != len(theirs) {
		t.Errorf("%d objects are there, want the %d of others", len(s.Objects), len(theirs))
	}
}

// The first object that cannot be stored ends the set-up in the server's words and with what to do.
func TestStoreSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(http.ResponseWriter)
		want  string
	}{
		"a full disk": {func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusInsufficientStorage)
			_, _ = w.Write([]byte("<Error><Code>XMinioStorageFull</Code><Message>No room &amp; no hope.</Message></Error>"))
		}, "s3: store the data set: PutObject of /bucket/run/load/d/w/0: http_5xx: HTTP 507 XMinioStorageFull: No room & no hope: see the log of the server, and whether its disks are full"},
		"a disk that fills meanwhile": {func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte("<Error><Code>IncompleteBody</Code><Message>Too few bytes.</Message></Error>"))
		}, "http_4xx: HTTP 400 IncompleteBody: Too few bytes: see the log of the server, and whether its disks are full"},
		"no words": {func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadGateway) },
			"d/w/0: http_5xx: HTTP 502: see the log of the server, and whether its disks are full"},
		"gone": {func(http.ResponseWriter) { panic(http.ErrAbortHandler) },
			"d/w/0: reset: the server closed the connection: see that http://"},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := memory.New(t)
			s.Spoil = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/d/w/0") {
					return false
				}
				c.spoil(w)
				return true
			}
			_, err := mixed(t, url).Store(t.Context())
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
}

// Writes that the server takes its time for are gone in the end: those beside one that fails, and those that are cut off.
func TestRemoveAfterSlowWrites(t *testing.T) {
	for name, fails := range map[string]bool{"one fails": true, "all are cut off": false} {
		t.Run(name, func(t *testing.T) {
			s, url := memory.New(t)
			ctx, cutOff := context.WithCancel(t.Context())
			defer cutOff()
			slow, two, stored := 0, make(chan struct{}), sync.WaitGroup{}
			s.Spoil = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/d/") {
					return false
				}
				if fails && strings.HasSuffix(r.URL.Path, "/d/w/0") {
					s.Unlock()
					defer s.Lock()
					<-two
					w.WriteHeader(http.StatusServiceUnavailable)
					return true
				}
				if slow++; slow == 2 {
					close(two)
				}
				stored.Go(func() {
					<-time.After(settle / 4)
					s.Lock()
					defer s.Unlock()
					s.Objects[r.URL.Path] = []byte("ours")
				})
				s.Unlock()
				defer s.Lock()
				stored.Wait()
				return true
			}
			go func() {
				if <-two; !fails {
					cutOff()
				}
			}()
			w := mixed(t, url)
			if _, err := w.Store(ctx); err == nil {
				t.Fatal("the data set is stored")
			}
			if _, err := w.Remove(t.Context()); err != nil {
				t.Fatal(err)
			}
			stored.Wait()
			s.Lock()
			defer s.Unlock()
			if slow < 2 || len(s.Objects) > 0 {
				t.Errorf("of %d slow writes and the mark %d objects are left", slow, len(s.Objects))
			}
		})
	}
}

// A write that any rank gave up, and that the server carries out a moment later, is removed too.
func TestRemoveAfterAWriteOfAnotherRank(t *testing.T) {
	for by := range 2 {
		t.Run(fmt.Sprintf("rank %d", by), func(t *testing.T) {
			s, url := memory.New(t)
			var ranks [2]*Workload
			for rank := range ranks {
				o := options(url, rundir.S3Mix{Put: 1}, fixed(1000))
				o.Rank, o.Ranks, o.Timeouts.Total = rank, 2, settle/10
				var err error
				if ranks[rank], err = New(o); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := ranks[0].Store(t.Context()); err != nil {
				t.Fatal(err)
			}
			late := sync.WaitGroup{}
			s.Spoil = func(_ http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.Method != http.MethodPut {
					return false
				}
				late.Go(func() {
					<-time.After(settle / 2)
					s.Lock()
					defer s.Unlock()
					s.Objects[r.URL.Path] = []byte("ours")
				})
				s.Unlock()
				defer s.Lock()
				late.Wait()
				return true
			}
			if out := once(t, ranks[by], 2); out.Measured.Failed != 1 || out.Errors[0].Kind != string(load.TimeoutTotal) {
				t.Fatalf("the write: %+v", out.Errors)
			}
			if _, err := ranks[0].Remove(t.Context(), ranks[1].Manifest(false)); err != nil {
				t.Error(err)
			}
			late.Wait()
			s.Lock()
			defer s.Unlock()
			if len(s.Objects) > 0 {
				t.Errorf("%d objects are left", len(s.Objects))
			}
		})
	}
}

// readOnly lets the bucket be listed, and nothing be stored in it.
func readOnly(s *memory.Store) string {
	s.Made = true
	s.Spoil = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte("<Error><Code>AccessDenied</Code><Message>words.</Message></Error>"))
		return true
	}
	return ""
}
