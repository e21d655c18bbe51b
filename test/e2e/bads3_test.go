//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"assay.bench/internal/results"
	"assay.bench/test/user"
)

// stored is a load of an object store at a URL, with the Secret for it: names, keys, and what its s3 has beside sizes.
const stored = `apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {username: %q, password: %q}
---
apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: store}
spec:
  site: local
  clients:
  - name: load
    target: {url: %q, credentials: {name: keys}}
    s3: {objects: 8, size: {fixed: 16Ki}, bucket: %s}
    openLoop: {rate: "200", arrival: Constant, maxInFlight: 64}
    duration: 5s
`

// of is the recipe stored for an account, at a URL, with texts replaced.
func of(a user.Account, bucket string, texts ...string) string {
	return strings.NewReplacer(texts...).Replace(fmt.Sprintf(stored, a.Access, a.Secret, a.URL, bucket))
}

// minioOf starts a MinIO that runs until the end of the test, and returns its root account.
func minioOf(t *testing.T) user.Account {
	t.Helper()
	const access, secret = "somebody", "secret-of-somebody"
	return user.NewAccount(t, user.New(t).MinIO(access, secret), access, secret)
}

// versityOf starts a versitygw, whose buckets have owners, and returns two of its accounts.
func versityOf(t *testing.T) (alice, bob user.Account) {
	t.Helper()
	owner := user.New(t)
	for _, name := range []string{"accounts", "buckets"} {
		if err := os.Mkdir(owner.Path(name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	address, program := user.FreeAddress(t), user.Server(t, user.VersityGW)
	url := "http://" + address
	owner.Serve(url+"/health", program, "--port", address, "--health", "/health", "--access", "root", "--secret", "secret-of-root",
		"--quiet", "--iam-dir", owner.Path("accounts"), "posix", owner.Path("buckets"))
	account := func(name string) user.Account {
		a := user.NewAccount(t, url, name, "secret-of-"+name)
		owner.Must(program, "admin", "--access", "root", "--secret", "secret-of-root", "--endpoint-url", url,
			"create-user", "--access", a.Access, "--secret", a.Secret, "--role", "userplus")
		return a
	}
	return account("alice"), account("bob")
}

// What is wrong with an object store, or with who asks it, ends in one refusal that says what to do. What is not ours is
// not touched, and nothing of ours is left.
func TestBadObjectStores(t *testing.T) {
	t.Parallel()
	minio := minioOf(t)
	alice, bob := versityOf(t)
	for name, in := range badStores(t, minio, alice, bob) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := user.New(t)
			in.check(t, u, in.meet(t, u))
		})
	}
	t.Cleanup(func() {
		for path, want := range map[string]string{"/others/theirs": "of alice", "/readable/theirs": "for all to read"} {
			if got := alice.Get(path); got != want {
				t.Errorf("%s holds %q, want %q", path, got, want)
			}
		}
		for _, bucket := range []string{"others", "readable"} {
			if keys := alice.Keys(bucket, ""); len(keys) != 1 {
				t.Errorf("the bucket %s holds %v, want what was there alone", bucket, keys)
			}
		}
		if keys := minio.Keys("assay", ""); len(keys) > 0 {
			t.Errorf("left behind: %v", keys)
		}
	})
}

func badStores(t *testing.T, minio, alice, bob user.Account) map[string]badInput {
	t.Helper()
	alice.Put("/others", "", nil)
	alice.Put("/others/theirs", "", []byte("of alice"))
	alice.Put("/readable", "", nil)
	alice.Put("/readable/theirs", "", []byte("for all to read"))
	alice.Put("/readable", "policy=", []byte(`{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": ["alice", "bob"]},
		"Action": ["s3:ListBucket", "s3:GetObject"], "Resource": ["arn:aws:s3:::readable", "arn:aws:s3:::readable/*"]}]}`))
	refused := func(reason, recipe string, words ...string) badInput {
		return badInput{
			reason: reason, recipe: recipe, wantCode: 5, wantOutput: whole,
			wantWords: append([]string{"✗ store Failed: client load: SetUpFailed: s3: ", "nothing was measured", "0 of 1 repeats whole"}, words...),
		}
	}
	at := func(url string) user.Account { a := minio; a.URL = url; return a }
	page := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "<!DOCTYPE html><html><body>Welcome to the console</body></html>")
	}))
	t.Cleanup(page.Close)
	const noS3 = "the endpoint does not speak S3: name the API's address, not a console's or a proxy's"
	stranger := user.NewAccount(t, minio.URL, "stranger", minio.Secret)
	storm := user.NewProxy(t, minio.URL, user.Fault{For: to("PUT", "/d/w/"), Every: 1, Spoil: slowDown()})
	unread := user.NewProxy(t, minio.URL, user.Fault{For: to("PUT", "/d/w/"), Every: 1, Spoil: slowDownUnread()})
	return map[string]badInput{
		"wrong secret key": refused("a typo in the Secret", of(user.NewAccount(t, minio.URL, minio.Access, "typo"), "assay"),
			"bucket assay: ListObjectsV2: HTTP 403 SignatureDoesNotMatch: ", ": correct the keys username and password of the Secret in target.credentials"),
		"unknown access key": refused("an account of another server", of(stranger, "assay"),
			"bucket assay: ListObjectsV2: HTTP 403 InvalidAccessKeyId: ", ": correct the keys username and password of the Secret in target.credentials"),
		"no Secret": {
			reason: "a Secret that nobody has made", recipe: of(minio, "assay", "credentials: {name: keys}", "credentials: {name: kyes}"), wantCode: 2,
			wantWords:   []string{`recipe.yaml:13:59: spec.clients[0].target.credentials.name: there is no Secret "kyes" in namespace default: add it to the recipe, or make it with assay kubectl create secret`},
			wantKubectl: onlyRun,
		},
		"bucket of others": refused("it is there, and not for us", of(bob, "others"),
			"bucket others: ListObjectsV2: HTTP 403 AccessDenied: Access Denied: use credentials that may, or another bucket"),
		"bucket only to be read": refused("it can be listed, so that a look does not tell", of(bob, "readable"),
			"bucket readable: PutObject: HTTP 403 AccessDenied: Access Denied: use credentials that may, or another bucket"),
		"endpoint with a page": refused("the console's port", of(at(page.URL), "assay"), "bucket assay: ListObjectsV2: "+noS3),
		"endpoint without S3":  refused("a server of something else", of(at(llmsimOf(t, "")), "assay"), "bucket assay: ListObjectsV2: "+noS3+" (HTTP 40"),
		"endpoint with nobody": refused("a wrong port", of(at("http://127.0.0.1:1"), "assay"),
			"bucket assay: ListObjectsV2: dial tcp 127.0.0.1:1: connect: connection refused: see that http://127.0.0.1:1 is the address of an S3 server, and that it runs"),
		"503 in the set-up": refused("without the data set there is nothing to read", of(at(storm.URL), "assay"),
			"store the data set: PutObject of /assay/assay/", "http_5xx: HTTP 503 SlowDown: Please reduce your request rate: see the log of the server, and whether its disks are full"),
		"something below our prefix": takenPrefix(t, minio),
		"503 in the set-up, large": refused("it answers before it has read the object", of(at(unread.URL), "assay", "fixed: 16Ki", "fixed: 8Mi"),
			"store the data set: PutObject of /assay/assay/", "http_5xx: HTTP 503 SlowDown: Please reduce your request rate: see the log of the server, and whether its disks are full"),
		"full disk in the set-up":        overfull(64, "1Mi", "48m"),
		"full disk in the set-up, large": overfull(24, "8Mi", "160m"),
	}
}

// overfull is a data set for which the disk of the server has no room.
func overfull(objects int, size, disk string) badInput {
	return badInput{
		reason: "the data set does not fit", wantCode: 5, wantOutput: whole,
		try:       func(t *testing.T, u *user.User) user.Answer { return onFullDisk(t, u, objects, size, disk) },
		wantWords: []string{"✗ store Failed: client load: SetUpFailed: s3: store the data set: PutObject of /assay/assay/", "see the log of the server, and whether its disks are full"},
	}
}

// takenPrefix is a prefix below which somebody else was first: nobody could know it, so that the proxy has to put it there.
func takenPrefix(t *testing.T, minio user.Account) badInput {
	t.Helper()
	const bucket = "taken"
	minio.Put("/"+bucket, "", nil)
	lists := func(r *http.Request) bool { return r.URL.Query().Has("list-type") }
	theirs := ""
	proxy := user.NewProxy(t, minio.URL, user.Fault{For: lists, Every: 1, Spoil: func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if theirs == "" {
			theirs = "/" + bucket + "/" + r.URL.Query().Get("prefix") + "d/m/1"
			minio.Put(theirs, "", []byte("theirs"))
		}
		forward.ServeHTTP(w, r)
	}})
	t.Cleanup(func() {
		if got := minio.Get(theirs); got != "theirs" {
			t.Errorf("%s holds %q", theirs, got)
		}
		if keys := minio.Keys(bucket, ""); len(keys) != 1 {
			t.Errorf("the bucket %s holds %v, want what was there alone", bucket, keys)
		}
	})
	through := minio
	through.URL = proxy.URL
	return badInput{
		reason: "what is found there is not ours to delete", recipe: of(through, bucket), wantCode: 5, wantOutput: whole,
		wantWords: []string{"✗ store Failed: client load: SetUpFailed: s3: bucket taken holds assay/", "/load/r1/d/m/1, which is not ours: name another prefix, or remove it yourself"},
	}
}

// onFullDisk runs a MinIO whose only drive is as large as said, and loads it with so many objects to begin with.
func onFullDisk(t *testing.T, u *user.User, objects int, size, disk string) user.Answer {
	t.Helper()
	small := u.Path("small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	u.Finds(user.Server(t, user.MinIO))
	u.Write("recipe.yaml", fmt.Sprintf(filled, small, objects, size))
	return onSmallDisk(u, disk, small, "run", "recipe.yaml", "--output", "out")
}

// filled is a load of a MinIO under test whose drive is in a folder.
const filled = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: store}
spec:
  site: local
  services:
  - {name: minio, minio: {driveFolders: [%q]}}
  clients:
  - name: load
    target: {service: minio}
    s3: {mix: {put: 1, get: 1}, objects: %d, size: {fixed: %s}}
    closedLoop: {concurrency: 2, thinkTime: 10ms}
    duration: 4s
  slos: [{client: load, metric: success_ratio, atLeast: "0.99"}]
`

// A disk that is full in the middle of the measurement: each write that MinIO refuses is a failure, as often as MinIO says,
// and the reads go on.
func TestDiskOfTheServerFills(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		objects    int
		size, disk string
	}{"objects of 1 MiB": {8, "1Mi", "48m"}, "objects of 8 MiB": {2, "8Mi", "160m"}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := user.New(t)
			diskFills(t, u, onFullDisk(t, u, c.objects, c.size, c.disk))
		})
	}
}

func diskFills(t *testing.T, u *user.User, a user.Answer) {
	t.Helper()
	r := u.Result(u.Path("out"))
	if a.Code != 3 && a.Code != 4 || results.ExitCode(r.Outcome) != a.Code {
		t.Errorf("exit code %d, outcome %s, want 3 or 4\n%s%s", a.Code, r.Outcome, a.Stdout, a.Stderr)
	}
	failed := int64(0)
	for _, e := range r.Clients[0].Errors {
		failed += e.Count
		if e.Operation != "put" || e.Code != 507 && e.Code != 500 && e.Code != 400 { // MinIO has three words for it
			t.Errorf("a failure that no full disk makes: %+v", e)
		}
	}
	contains(t, "the summary", a.Stdout, "put http_5xx (507) XMinioStorageFull: Storage backend has reached its minimum free drive threshold")
	refused := 0.0
	for _, c := range u.Counters(u.Rank(u.Path("out", "run"), "minio"), 1)["server"].Series {
		if (c.Name == "minio_api_requests_5xx_errors_total" || c.Name == "minio_api_requests_4xx_errors_total") && c.Labels["name"] == "PutObject" {
			refused += c.Increase
		}
	}
	if failed == 0 || float64(failed) != refused {
		t.Errorf("%d writes failed, MinIO refused %v: %+v", failed, refused, r.Clients[0].Errors)
	}
	for _, c := range r.CrossChecks {
		if !c.Agrees {
			t.Errorf("MinIO and the client count otherwise: %+v", c)
		}
	}
	if len(r.Warnings) != 1 { // client and server share this machine
		t.Errorf("warnings %q", r.Warnings)
	}
	t.Logf("exit code %d, %s: %d writes failed: %s", a.Code, r.Outcome, failed, kinds(r))
}

// What goes wrong with one request in a hundred is in the result under its name, and exactly as often.
func TestSpoiledObjectStores(t *testing.T) {
	t.Parallel()
	minio := minioOf(t)
	for name, s := range spoiledStores(minio) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s.check(t, minio.URL)
		})
	}
	t.Cleanup(func() {
		if keys := minio.Keys("assay", ""); len(keys) > 0 {
			t.Errorf("left behind: %v", keys)
		}
	})
}

// storeLoads says that a request writes or reads what the measurement does, and neither the set-up nor the clean-up.
func storeLoads(e user.Exchange) bool {
	return e.Method == http.MethodPut && strings.Contains(e.Path, "/p/m/") || e.Method != http.MethodPut && e.Method != http.MethodDelete && strings.Contains(e.Path, "/d/m/")
}

// keptLoads is storeLoads where nothing is removed at the end: whatever is deleted, the load deletes.
func keptLoads(e user.Exchange) bool { return storeLoads(e) || e.Method == http.MethodDelete }

// to matches the requests of a method whose path holds a word.
func to(method, word string) func(*http.Request) bool {
	return func(r *http.Request) bool { return r.Method == method && strings.Contains(r.URL.Path, word) }
}

const busy = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"

func slowDown() user.Spoiler {
	return user.Reply(http.StatusServiceUnavailable, "application/xml", busy)
}

// slowDownUnread answers before it has read the request, as servers do that are busy.
func slowDownUnread() user.Spoiler {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = io.WriteString(w, busy)
	}
}

func spoiledStores(minio user.Account) map[string]spoiled {
	const half = 8 << 10 // of an object
	one := func(reason string, operation, kind string, code int, words string, spoil user.Spoiler, texts ...string) spoiled {
		word := map[string]string{"put": "/p/m/", "get": "/d/m/", "head": "/d/m/", "delete": "/m/"}[operation]
		return spoiled{
			reason: reason, loads: storeLoads,
			recipe: func(url string) string { a := minio; a.URL = url; return of(a, "assay", texts...) },
			faults: []user.Fault{{For: to(strings.ToUpper(operation), word), Every: 100, Spoil: spoil}},
			want: func(p *user.Proxy) []results.ErrorCount {
				bad := p.Seen(func(e user.Exchange) bool { return e.Spoiled })
				return []results.ErrorCount{{Operation: operation, Kind: kind, Code: code, Count: int64(len(bad)), Sample: words}}
			},
		}
	}
	corrupt := "at offset 4096: the block's CRC32C does not match: it was changed or torn"
	all := map[string]spoiled{
		"503 to writes":         one("a server that cannot keep up", "put", "http_5xx", 503, "SlowDown: Please reduce your request rate\n<?xml", slowDown()),
		"503 to reads":          one("a server that cannot keep up", "get", "http_5xx", 503, "SlowDown: Please reduce your request rate\n<?xml", slowDown()),
		"truncated body":        one("a connection that breaks", "get", "truncated", 0, "the server closed the connection", user.CutAfter(half)),
		"one flipped bit":       one("what no length tells", "get", "corrupt", 0, corrupt, user.FlipAt(half-1)),
		"a flipped bit, CRC32C": one("on its way to the server, which sees it", "put", "http_4xx", 400, "XAmzContentChecksumMismatch: ", user.FlipSentAt(half), "s3: {", "s3: {payload: CRC32C, "),
		"a flipped bit, SHA256": one("on its way to the server, which sees it", "put", "http_4xx", 400, "XAmzContentSHA256Mismatch: ", user.FlipSentAt(half), "s3: {", "s3: {payload: SHA256, "),
	}
	all["overwritten"] = overwritten(minio)
	busyOutside := one("a server that is busy now and then, before and after the load", "put", "", 0, "", slowDown())
	// With one in five, a delete of these hundreds would now and then be refused five times in a row.
	busyOutside.faults[0] = user.Fault{Every: 20, Spoil: slowDown(), For: func(r *http.Request) bool {
		return r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/d/") || r.Method == http.MethodDelete || r.URL.Query().Has("list-type")
	}}
	busyOutside.want = func(p *user.Proxy) []results.ErrorCount {
		if n := len(p.Seen(func(e user.Exchange) bool { return e.Spoiled && e.Method == http.MethodDelete })); n < 10 {
			return []results.ErrorCount{{Operation: "delete"}} // which says that nothing was spoiled
		}
		return nil
	}
	all["busy outside of the load"] = busyOutside
	const mixed = "s3: {mix: {put: 1, get: 1, head: 1, delete: 1}, "
	storm := func(operation, words string, spoil user.Spoiler, texts ...string) spoiled {
		s := one("a storm: the server refuses every one, which no other kind makes up for", operation, "http_5xx", 503, words, spoil,
			append(texts, "duration: 5s", "duration: 2s")...)
		s.faults[0].Every = 1
		s.fails = fmt.Sprintf("requests of load succeeded: %s http_5xx (503)", operation)
		return s
	}
	all["503 to every write"] = storm("put", "SlowDown: ", slowDown())
	all["503 to every large write"] = storm("put", "SlowDown: ", slowDownUnread(), "fixed: 16Ki", "fixed: 8Mi", `rate: "200"`, `rate: "10"`, "objects: 8", "objects: 1")
	all["503 to every read"] = storm("get", "SlowDown: ", slowDown())
	all["503 to every look-up"] = storm("head", "", slowDown(), "s3: {", "s3: {mix: {put: 1, get: 1, head: 1}, ")
	removes := storm("delete", "SlowDown: ", slowDown(), "s3: {", mixed, "site: local", "site: local\n  cleanup: {objects: Keep}", "bucket: assay", "bucket: kept")
	removes.loads = keptLoads
	all["503 to every delete"] = removes
	return all
}

// overwritten is an object of the data set that somebody else writes to before it is read for the fourth time.
func overwritten(minio user.Account) spoiled {
	const key, before = "/d/m/1", 3
	var reads atomic.Int64
	by := func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		if reads.Add(1) == before+1 {
			minio.Put(r.URL.Path, "", []byte(strings.Repeat("theirs ", 16<<10/7+1)[:16<<10]))
		}
		forward.ServeHTTP(w, r)
	}
	return spoiled{
		reason: "each later read of it gets what somebody else has stored", loads: storeLoads,
		recipe: func(url string) string {
			a := minio
			a.URL = url
			// One request at a time, so that it is known which reads come after it.
			return of(a, "assay", `openLoop: {rate: "200", arrival: Constant, maxInFlight: 64}`, "closedLoop: {concurrency: 1}", "objects: 8", "objects: 2")
		},
		faults: []user.Fault{{For: func(r *http.Request) bool { return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, key) }, Every: 1, Spoil: by}},
		want: func(p *user.Proxy) []results.ErrorCount {
			n := len(p.Seen(func(e user.Exchange) bool { return e.Spoiled }))
			return []results.ErrorCount{{Operation: "get", Kind: "corrupt", Count: int64(n - before), Sample: "at offset 0: the block is not ours: someone else has overwritten the object"}}
		},
	}
}

// What others have in the bucket, beside our prefix and even below it, is there at the end, byte for byte.
func TestForeignObjectsStay(t *testing.T) {
	t.Parallel()
	minio := minioOf(t)
	foreign := map[string]string{"/shared/theirs": "a", "/shared/assay": "b", "/shared/team/assay/theirs": "c", "/shared/team/d/m/1": "d"}
	minio.Put("/shared", "", nil)
	for path, content := range foreign {
		minio.Put(path, "", []byte(content))
	}
	var reads atomic.Int64
	var mu sync.Mutex // of foreign while the load runs
	proxy := user.NewProxy(t, minio.URL, user.Fault{For: to(http.MethodGet, "/d/m/"), Every: 1, Spoil: func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		own, _, _ := strings.Cut(r.URL.Path, "/d/m/")
		if reads.Add(1) == 100 { // somebody comes while the load runs
			mu.Lock()
			defer mu.Unlock()
			for _, name := range []string{"/theirs", "/d/m/1.copy", "/d/m/999999999"} {
				foreign[own+name] = "later" + name
				minio.Put(own+name, "", []byte(foreign[own+name]))
			}
		}
		forward.ServeHTTP(w, r)
	}})
	u, through := user.New(t), minio
	through.URL = proxy.URL
	a := run(u, of(through, "shared", "s3: {", "s3: {prefix: team, "))
	r := u.Result(u.Path("out"))
	endedWell(t, a, r)
	contains(t, "the summary", a.Stdout, "! load repeat 1: not everything below its prefix is removed: s3: 3 of the objects below team/assay/",
		"of bucket shared are not ours and stay, such as team/assay/", "/r1/d/m/1.copy: remove them yourself")
	mu.Lock()
	defer mu.Unlock()
	if keys := minio.Keys("shared", ""); len(keys) != len(foreign) || len(foreign) != 7 {
		t.Errorf("the bucket holds %v, want %v", keys, slices.Sorted(maps.Keys(foreign)))
	}
	for path, want := range foreign {
		if got := minio.Get(path); got != want {
			t.Errorf("%s holds %q, want %q", path, got, want)
		}
	}
}
