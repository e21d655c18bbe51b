//go:build e2e

package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"

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
		a, r := apart(t, u, recipe(t, "local/minio-s3.yaml"))
		countsAgree(t, r)
		return a, r
	})
}

// apart runs a recipe at a tenth of its length with a core for the clients alone, and the others for the rest.
func apart(t *testing.T, u *user.User, path string) (user.Answer, results.Result) {
	t.Helper()
	user.KeepAwake(t)
	all := user.Cores(t)
	var c *user.Command
	user.StartedOn(t, all[min(1, len(all)-1):], func() {
		c = u.Start("assay", "run", path, "--time-scale", "0.1", "--output", u.Path("out"))
	})
	u.Await("minio-s3", "loadgen", func(s rundir.Status) bool { return s.PID > 0 })
	run := u.Run("minio-s3")
	user.Until(t, "all clients are there", func() bool { return len(u.Ranks(run, "loadgen")) == 4 })
	for _, dir := range u.Ranks(run, "loadgen") {
		var s rundir.Status
		user.Until(t, dir, func() bool { s = u.Status(dir); return s.PID > 0 })
		user.Own(t, s.PID, all[0])
	}
	return c.Wait(), u.Result(u.Path("out"))
}

// passes makes attempts until one ends Passed. A client on a machine that is kept from it says so and exits 4.
func passes(t *testing.T, attempt func(*testing.T, *user.User) (user.Answer, results.Result)) {
	t.Helper()
	attempts(t, 8, user.Cores(t), func(t *testing.T, u *user.User) bool {
		a, r := attempt(t, u)
		t.Logf("exit code %d\n%s", a.Code, a.Stdout)
		passed := a.Code == 0 && r.Outcome == results.Passed
		if !passed && (a.Code != 4 || r.Outcome != results.MeasurementInvalid) {
			t.Errorf("exit code %d, %s, want 0 or 4\n%s", a.Code, r.Outcome, a.Stderr)
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

// Without pauses and on busy cores the client says what limited it, and MinIO's counts agree none the less.
func TestMinIOOnBusyCores(t *testing.T) {
	u := user.New(t)
	u.Finds(user.Server(t, user.MinIO))
	all := user.Cores(t)
	user.KeepBusy(t, 4*len(all), all)
	path := u.Write("busy.yaml", edited(t, "local/minio-s3.yaml", ", thinkTime: 690ms", "", "{drives: 1} ", "{drives: 1, metrics: V2, metricsAccess: Public} "))
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
		a, r := apart(t, u, u.Write("versitygw.yaml", at(t, "local/minio-s3.yaml", url, "key", "secret")))
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
