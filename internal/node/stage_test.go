package node

import (
	"bytes"
	"encoding/pem"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	store "assay.bench/internal/workloads/s3/memory"
)

// objects is a client of two ranks that loads an object store at a URL.
func (f *fixture) objects(url string) {
	f.plan.DeleteObjects = true
	f.plan.Clients = []rundir.Client{{
		Name: "load", Ranks: 2, Target: rundir.Target{URL: url, Credential: "target.load"}, Seed: 11,
		S3: &rundir.S3{
			Bucket: "bucket", Prefix: "assay/load", Region: "us-east-1", Mix: rundir.S3Mix{Put: 2, Get: 4, Head: 2, Delete: 1},
			Objects: 8, Size: rundir.Size{Distribution: rundir.SizeUniform, Min: 1, Max: 20_000}, Payload: rundir.PayloadUnsigned,
		},
		ClosedLoop: &rundir.ClosedLoop{Concurrency: 2, ThinkTime: rundir.Duration(5 * time.Millisecond)},
		Duration:   rundir.Duration(400 * time.Millisecond), TimeoutTotal: rundir.Duration(5 * time.Second),
	}}
	f.secret("target.load", rundir.Credential{Username: "key", Password: "secret"})
}

// rankResult is result.json of any rank.
func (f *fixture) rankResult(name string, rank, repeat int) results.Rank {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(rundir.Repeat(f.rankDir(name, rank), repeat), rundir.ResultFile))
	if err != nil {
		f.t.Fatal(err)
	}
	r, err := results.ParseRank(b)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

// seen counts what a store was asked, by the names of the S3 API.
func seen(s *store.Store) map[string]int64 {
	out := map[string]int64{}
	for _, line := range s.Seen {
		method, path, _ := strings.Cut(line, " ")
		name := map[string]string{"PUT": "PutObject", "GET": "GetObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}[method]
		if !strings.Contains(strings.Trim(path, "/"), "/") {
			name = map[string]string{"PUT": "CreateBucket", "GET": "ListObjectsV2"}[method]
		}
		out[name]++
	}
	return out
}

// What the ranks count is what the store saw, set-up and clean-up included; at the end only what others stored is there.
func TestObjectsAreStoredAndRemoved(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s, url := store.New(t)
	s.Objects["/bucket/theirs"], s.Objects["/bucket/assay/load-2/d/m/1"] = []byte("x"), []byte("y")
	f.objects(url)
	f.plan.Repeats.Count, f.plan.Clients[0].RecordRequests = 2, true
	if code := f.wait(f.start()); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	counted, attempts := map[string]int64{}, [2]int64{}
	for repeat := 1; repeat <= 2; repeat++ {
		for rank := range 2 {
			r := f.rankResult("load", rank, repeat)
			attempts[rank] += r.All.Attempts
			if r.Workload != "s3" || r.Measured.Succeeded == 0 || r.Measured.Failed != 0 || len(r.Warnings) > 0 {
				t.Errorf("rank %d repeat %d: %+v %v", rank, repeat, r.Measured, r.Warnings)
			}
			for _, x := range r.Totals {
				counted[x.Name] += x.All
			}
		}
	}
	for rank, want := range attempts {
		log, err := os.ReadFile(filepath.Join(f.rankDir("load", rank), rundir.SamplesDir, requestsFile))
		if n := int64(bytes.Count(log, []byte("\n"))); err != nil || n != want || !strings.HasSuffix(string(log), "}\n") {
			t.Errorf("rank %d made %d attempts, and has %d lines of them: %v", rank, want, n, err)
		}
	}
	for _, name := range []string{"bytes_read", "bytes_written"} {
		if counted[name] == 0 {
			t.Errorf("%s is 0", name)
		}
		delete(counted, name)
	}
	if diff := cmp.Diff(seen(s), counted); diff != "" {
		t.Errorf("the store saw other calls than the ranks counted (-saw +counted):\n%s", diff)
	}
	if len(s.Objects) != 2 {
		t.Errorf("%d objects are left, want the 2 of others", len(s.Objects))
	}
	if n := len(f.events("load", "CleanUpDone")); n != 2 {
		t.Errorf("%d clean-ups by rank 0, want one for each repeat", n)
	}
}

// How a load protects and checks its objects is in each rank's result, as are the attempts that failed before a success.
func TestRanksSayHowTheyLoad(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		payload, content string
		discard          bool
	}{
		{rundir.PayloadUnsigned, "Verify", false}, {rundir.PayloadSHA256, "Discard", true}, {rundir.PayloadCRC32C, "Verify", false},
	} {
		t.Run(c.payload, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s, url := store.New(t)
			f.objects(url)
			spec := &f.plan.Clients[0]
			spec.S3.Payload, spec.S3.Discard, spec.Retries, spec.Ranks = c.payload, c.discard, 2, 1
			refused := map[string]bool{}
			s.Spoil = func(w http.ResponseWriter, r *http.Request, _ []byte) bool {
				if r.Method != http.MethodPut || !strings.Contains(r.URL.Path, "/p/m/") || refused[r.URL.Path] {
					return false
				}
				refused[r.URL.Path] = true // once
				w.WriteHeader(http.StatusServiceUnavailable)
				return true
			}
			if code := f.wait(f.start()); code != 0 {
				t.Fatalf("exit code %d", code)
			}
			r := f.rankResult("load", 0, 1)
			if r.Payload != c.payload || r.Content != c.content {
				t.Errorf("payload %q, content %q, want %q and %q", r.Payload, r.Content, c.payload, c.content)
			}
			want := []results.ErrorCount{{Operation: "put", Kind: "http_5xx", Code: 503, Count: int64(len(refused))}}
			if diff := cmp.Diff(want, r.FailedAttempts); diff != "" || len(refused) == 0 || len(r.Errors) > 0 {
				t.Errorf("errors %+v, failed attempts (-want +got):\n%s", r.Errors, diff)
			}
			if n := r.Measured; n.Attempts != n.Succeeded+int64(len(refused)) {
				t.Errorf("%+v, and %d attempts were refused", n, len(refused))
			}
		})
	}
}

// A store over TLS is loaded where the plan names its authority, and refused where nobody vouches for it.
func TestObjectsOverTLS(t *testing.T) {
	t.Parallel()
	for name, known := range map[string]bool{"authority in the plan": true, "authority unknown": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s, _ := store.New(t)
			server := httptest.NewUnstartedServer(s)
			server.Config.ErrorLog = log.New(io.Discard, "", 0) // that a client refuses its certificate
			server.StartTLS()
			t.Cleanup(server.Close)
			f.objects(server.URL)
			if known {
				f.plan.Clients[0].Target.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
			}
			code := f.wait(f.start())
			if !known {
				const want = "into target.ca"
				if e := f.exit("load", 1); code != rundir.ExitFailed || !failedInSetUp(e) || !strings.Contains(e.Message, want) {
					t.Errorf("exit code %d, %+v, want %q", code, e, want)
				}
				return
			}
			for rank := range 2 {
				if r := f.rankResult("load", rank, 1); code != 0 || r.Measured.Succeeded == 0 || r.Measured.Failed > 0 || len(r.Warnings) > 0 {
					t.Errorf("exit code %d, rank %d: %+v %v", code, rank, r.Measured, r.Warnings)
				}
			}
			if len(s.Objects) > 0 {
				t.Errorf("%d objects are left", len(s.Objects))
			}
		})
	}
}

// failedInSetUp: the first rank ended so, or because another one did before it.
func failedInSetUp(e rundir.Exit) bool {
	return e.Reason == rundir.ExitReasonSetUpFailed ||
		e.Reason == rundir.ExitReasonPeerLost && strings.Contains(e.Message, rundir.ExitReasonSetUpFailed)
}

// A store that refuses ends every rank before a request of the load, and says what to do.
func TestSetUpFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s, url := store.New(t)
	s.Refuse = "AccessDenied"
	f.objects(url)
	if code := f.wait(f.start()); code != rundir.ExitFailed {
		t.Errorf("exit code %d, want %d", code, rundir.ExitFailed)
	}
	e := f.exit("load", 1)
	if want := "use credentials that may, or another bucket"; !failedInSetUp(e) || !strings.Contains(e.Message, want) {
		t.Errorf("%+v, want %s with %q", e, rundir.ExitReasonSetUpFailed, want)
	}
	if n := seen(s)["GetObject"]; n > 0 {
		t.Errorf("%d objects were read", n)
	}
}

// What was stored is removed from a load that is told to end early, unless it is to be kept.
func TestObjectsOfALoadThatIsStopped(t *testing.T) {
	t.Parallel()
	for name, remove := range map[string]bool{"removed": true, "kept": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			s, url := store.New(t)
			f.objects(url)
			f.plan.DeleteObjects = remove
			f.plan.Clients[0].Duration = rundir.Duration(time.Minute)
			cmd := f.start()
			f.until("the load", func() bool { l := f.status("load").Live; return l != nil && l.Requests > 5 })
			if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			f.wait(cmd)
			if r := f.rankResult("load", 0, 1); !r.Truncated || r.Measured.Offered == 0 {
				t.Errorf("%+v truncated %t", r.Measured, r.Truncated)
			}
			if left := len(s.Objects); (left == 0) != remove {
				t.Errorf("%d objects are left", left)
			}
		})
	}
}

// Every rank's objects are removed, also those of one that was killed and of writes that were cut off, and no others: what
// somebody else has put below the prefix stays and is named, whatever it is called.
func TestObjectsOfARankThatIsKilled(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	s, url := store.New(t)
	f.objects(url)
	f.plan.Clients[0].Duration = rundir.Duration(2 * time.Second)
	cmd := f.start()
	rank := func() rundir.Status {
		b, err := os.ReadFile(filepath.Join(f.rankDir("load", 1), rundir.StatusFile))
		if err != nil {
			return rundir.Status{}
		}
		st, err := rundir.ParseStatus(b)
		if err != nil {
			t.Fatal(err)
		}
		return *st
	}
	f.until("the load of rank 1", func() bool { l := rank().Live; return l != nil && l.Requests > 5 })
	f.signalJob(syscall.SIGKILL, rank().PID)
	const foreign = "/bucket/assay/load/r1/p/m/999999999"
	s.Lock()
	s.Objects[foreign] = []byte("theirs")
	s.Unlock()
	f.wait(cmd)
	if len(s.Objects) != 1 || s.Objects[foreign] == nil {
		t.Errorf("%v are left, want %s alone", slices.Sorted(maps.Keys(s.Objects)), foreign)
	}
	want := "not everything below its prefix is removed: s3: 1 of the objects below assay/load/r1/ of bucket bucket are not ours and stay, such as assay/load/r1/p/m/999999999"
	if r := f.rankResult("load", 0, 1); len(r.Warnings) != 1 || !strings.Contains(r.Warnings[0], want) {
		t.Errorf("warnings %q, want %q", r.Warnings, want)
	}
}

// A service's folders are there while it runs, and gone after it, unless they are to be kept; one that is not ours is
// refused.
func TestFolders(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		remove  bool
		folder  string
		wantErr string
	}{
		"removed":          {remove: true, folder: "$(DIR)/drive1"},
		"kept":             {folder: "$(DIR)/drive1"},
		"there already":    {remove: true, folder: "$(DIR)", wantErr: "is there already"},
		"disk not mounted": {remove: true, folder: "$(DIR)/disk/$(ID)", wantErr: "is the disk mounted on this node?"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.sim()
			f.plan.DeleteObjects = c.remove
			s := &f.plan.Services[0]
			s.Folders = []string{c.folder}
			s.Probes = append(s.Probes, rundir.Probe{Type: rundir.ProbeExec, Argv: []string{"test", "-d", c.folder}})
			code := f.wait(f.start())
			if c.wantErr != "" {
				if e := f.exit("sim", 0); code != rundir.ExitFailed || e.Reason != rundir.ExitReasonWorkDirUnusable || !strings.Contains(e.Message, c.wantErr) {
					t.Errorf("exit code %d, %+v, want %q", code, e, c.wantErr)
				}
				return
			}
			if code != 0 {
				t.Fatalf("exit code %d", code)
			}
			if _, err := os.Stat(filepath.Join(f.rankDir("sim", 0), "drive1")); (err != nil) != c.remove {
				t.Errorf("the folder at the end: %v", err)
			}
		})
	}
}

// The token was made once more outside of Go, of the same claims and key.
func TestMinIOToken(t *testing.T) {
	got := minioJWT(&rundir.Credential{Username: "assay01", Password: "0123456789abcdef"}, time.Unix(1_800_000_000, 0))
	const want = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJleHAiOjIxMTUzNjAwMDAsInN1YiI6ImFzc2F5MDEiLCJpc3MiOiJwcm9tZXRoZXVzIn0.sL6Kr0SbjGeSsDxM1AB65VsRS9REQ7Ca3DTYrBkxVzOsZARtexEDfr5-xzjtgr5aEPd-2TeUsnhNSGFYqiqT5g"
	if got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
	if minioJWT(nil, time.Now()) != "" {
		t.Error("without a credential there is a token")
	}
}
