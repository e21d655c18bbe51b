//go:build e2e

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/s3"
	"assay.bench/internal/workloads/s3/conformance"
	"assay.bench/test/user"
)

// calls are what MinIO counts by its own names of the S3 API; ours are beside them where they differ.
func calls() []string {
	return []string{"PutObject", "GetObject", "HeadObject", "DeleteObject", "ListObjectsV2", "CreateBucket"}
}

// The recipe passes on a real MinIO, and MinIO has counted what the client has, call by call, over the whole run.
func TestMinIORecipe(t *testing.T) {
	passes(t, func(t *testing.T, u *user.User) (user.Answer, results.Result) {
		u.Finds(user.Server(t, user.MinIO))
		a, r := apart(t, u, recipe(t, "local/minio-s3.yaml"), "0.1")
		countsAgree(t, r)
		if c := r.Clients[0]; c.Payload != "Unsigned" || c.Content != "Verify" {
			t.Errorf("payload %q, content %q, want Unsigned and Verify", c.Payload, c.Content)
		}
		contains(t, "the summary", a.Stdout, "payload Unsigned, content verified")
		return a, r
	})
}

// fourDrives is a short load of a MinIO with erasure coding, on drives of the root device.
const fourDrives = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: store}
spec:
  site: local
  services:
  - {name: minio, minio: {drives: 4, %s, env: [{name: MINIO_CI_CD, value: "1"}]}}
  clients:
  - name: load
    target: {service: minio}
    s3: {mix: {put: 2, get: 2, head: 1, delete: 1}, objects: 8, size: {uniform: {min: 1Ki, max: 256Ki}}, payload: CRC32C}
    closedLoop: {concurrency: 2, thinkTime: 20ms}
    recordRequests: true
    duration: 3s
`

// A set of four drives starts, and takes a load with every operation, of which each attempt is recorded; its metrics of
// version 2, which MinIO keeps for ten seconds, are read with a token and without one.
func TestMinIOWithFourDrives(t *testing.T) {
	t.Parallel()
	for name, metrics := range map[string]string{"token": "metrics: V2", "public": "metrics: V2, metricsAccess: Public"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			takesEveryOperation(t, fmt.Sprintf(fourDrives, metrics))
		})
	}
}

func takesEveryOperation(t *testing.T, recipe string) {
	t.Helper()
	u := user.New(t)
	u.Finds(user.Server(t, user.MinIO))
	a := run(u, recipe)
	r := u.Result(u.Path("out"))
	endedWell(t, a, r)
	if c := r.Clients[0]; c.Measured.Failed > 0 || c.Measured.Succeeded == 0 || len(c.Operations) != 4 || c.Payload != "CRC32C" {
		t.Errorf("%+v, %+v, payload %s", c.Measured, c.Errors, c.Payload)
	}
	log, err := os.ReadFile(filepath.Join(u.Rank(u.Path("out", "run"), "load"), rundir.SamplesDir, "requests.jsonl"))
	if n := int64(bytes.Count(log, []byte(`"outcome":"ok"`))); err != nil || n != r.Clients[0].All.Attempts {
		t.Errorf("%d attempts were recorded, %d were made: %v", n, r.Clients[0].All.Attempts, err)
	}
	countsAgree(t, r)
}

// apart runs a recipe, as much shorter as scale says, with a core for the clients alone, and the others for the rest.
func apart(t *testing.T, u *user.User, path, scale string) (user.Answer, results.Result) {
	t.Helper()
	user.KeepAwake(t)
	all := user.Cores(t)
	var c *user.Command
	user.StartedOn(t, all[min(1, len(all)-1):], func() {
		c = u.Start("assay", "run", path, "--time-scale", scale, "--output", u.Path("out"))
	})
	u.Await("minio-s3", "loadgen", func(s rundir.Status) bool { return s.PID > 0 })
	run := u.Run("minio-s3")
	user.Until(t, "all clients are there", func() bool { return len(u.Ranks(run, "loadgen")) == 4 })
	var programs []int
	for _, dir := range u.Ranks(run, "loadgen") {
		var s rundir.Status
		user.Until(t, dir, func() bool { s = u.Status(dir); return s.PID > 0 })
		user.Own(t, s.PID, all[0])
		programs = append(programs, s.PID)
	}
	if len(u.Ranks(run, "minio")) > 0 {
		programs = append(programs, u.Await("minio-s3", "minio", func(s rundir.Status) bool { return s.ServerPID > 0 }).ServerPID)
	}
	share := kept(t, u, programs) / float64(len(all))
	a, r := c.Wait(), u.Result(u.Path("out"))
	t.Logf("clients and server kept the cores %.0f %% busy", 100*share)
	if share == 0 || share >= 0.5 {
		t.Errorf("clients and server kept the cores %.0f %% busy: the recipe promises less than half", 100*share)
	}
	return a, r
}

// kept is how many cores some programs keep busy together while the first client measures.
func kept(t *testing.T, u *user.User, programs []int) float64 {
	t.Helper()
	spent := func() (sum time.Duration) {
		for _, pid := range programs {
			sum += user.Spent(t, pid)
		}
		return sum
	}
	phase := func(is bool) func(rundir.Status) bool {
		return func(s rundir.Status) bool { return (s.Phase == rundir.PhaseMeasuring) == is }
	}
	u.Await("minio-s3", "loadgen", phase(true))
	before, begin := spent(), time.Now()
	var after time.Duration
	var end time.Time
	u.Await("minio-s3", "loadgen", func(s rundir.Status) bool {
		if phase(true)(s) {
			after, end = spent(), time.Now()
		}
		return phase(false)(s)
	})
	return float64(after-before) / float64(end.Sub(begin))
}

// passes makes attempts until one ends Passed. A client on a machine that keeps it from that says so and exits 4.
func passes(t *testing.T, attempt func(*testing.T, *user.User) (user.Answer, results.Result)) {
	t.Helper()
	attempts(t, 8, user.Cores(t), oneOfOrNoneAlone, func(t *testing.T, u *user.User) bool {
		a, r := attempt(t, u)
		t.Logf("exit code %d\n%s", a.Code, a.Stdout)
		passed := a.Code == 0 && r.Outcome == results.Passed
		if !passed && (a.Code != 4 || r.Outcome != results.MeasurementInvalid) {
			t.Errorf("exit code %d, %s, want 0 or 4\n%s", a.Code, r.Outcome, a.Stderr)
		}
		if !passed {
			contains(t, "the summary", a.Stdout, "the client limited the result", " above ")
		}
		return passed
	})
}

// countsAgree wants each call of the S3 API to be compared in each repeat, and to have been counted alike.
func countsAgree(t *testing.T, r results.Result) {
	t.Helper()
	compared := map[string]int{}
	for _, c := range r.CrossChecks {
		switch {
		case c.Server == nil:
			t.Errorf("repeat %d: %s{%s} could not be read", c.Repeat, c.Metric, c.Labels)
		case !c.Agrees || c.Difference != 0:
			t.Errorf("repeat %d: MinIO counted %.0f in %s{%s}, the clients %d", c.Repeat, *c.Server, c.Metric, c.Labels, c.Clients)
		default:
			compared[c.Total]++
			t.Logf("repeat %d: %-14s %6d calls on both sides", c.Repeat, c.Total, c.Clients)
		}
	}
	for _, call := range calls() {
		if compared[call] != r.RepeatsPlanned {
			t.Errorf("%s was compared in %d of %d repeats", call, compared[call], r.RepeatsPlanned)
		}
	}
	for _, c := range r.CrossChecks {
		if needed := c.Total != "HeadObject"; needed && c.Clients == 0 {
			t.Errorf("no call of %s was made: the comparison says nothing", c.Total)
		}
	}
}

// The same recipe without pauses, on busy cores: the client says what limited it, and MinIO's counts agree none the less.
func TestMinIOOnBusyCores(t *testing.T) {
	u := user.New(t)
	u.Finds(user.Server(t, user.MinIO))
	all := user.Cores(t)
	user.KeepBusy(t, 4*len(all), all)
	path := u.Write("busy.yaml", edited(t, "local/minio-s3.yaml", ", thinkTime: 690ms", ""))
	a := u.Do("assay", "run", path, "--time-scale", "0.03", "--output", u.Path("out"))
	t.Logf("\n%s", a.Stdout)
	if a.Code != 4 {
		t.Fatalf("exit code %d, want 4\n%s", a.Code, a.Stderr)
	}
	contains(t, "the summary", a.Stdout, "the client limited the result: loadgen repeat 1 rank", " above ")
	countsAgree(t, u.Result(u.Path("out")))
}

// The same recipe runs against another server, with nothing changed but the URL and the credentials.
func TestVersityGW(t *testing.T) {
	passes(t, func(t *testing.T, u *user.User) (user.Answer, results.Result) {
		all := user.Cores(t)
		var url string
		user.StartedOn(t, all[min(1, len(all)-1):], func() { url = u.VersityGW("key", "secret") })
		a, r := apart(t, u, u.Write("versitygw.yaml", at(t, "local/minio-s3.yaml", url, "key", "secret")), "0.07")
		left, err := os.ReadDir(u.Path("versitygw", "assay"))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range left {
			if !strings.HasPrefix(entry.Name(), ".") {
				t.Errorf("%s is left in the bucket", entry.Name())
			}
		}
		return a, r
	})
}

// at is a recipe whose client loads a URL instead of the recipe's service.
func at(t *testing.T, name, url, key, secret string) string {
	t.Helper()
	text := edited(t, name, "target: {service: minio}", fmt.Sprintf("target: {url: %q, credentials: {name: keys}}", url))
	before, rest, _ := strings.Cut(text, "  services:\n")
	_, after, _ := strings.Cut(rest, "  clients:\n")
	return before + "  clients:\n" + after + fmt.Sprintf(`---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {username: %s, password: %s}
`, key, secret)
}

// Both servers pass the suite that the store of the unit tests passes.
func TestObjectStoresConform(t *testing.T) {
	t.Parallel()
	const key, secret = "conformance", "conformance-secret"
	for name, start := range map[string]func(*user.User, string, string) string{"MinIO": (*user.User).MinIO, "versitygw": (*user.User).VersityGW} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conformance.Test(t, start(user.New(t), key, secret), s3.Credentials{AccessKey: key, SecretKey: secret})
		})
	}
}
