//go:build e2e

package testsite

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// plane is a person with a standing control plane on this machine, and a site of Slurm that it drives.
type plane struct {
	t    *testing.T
	u    *user.User
	site *site.Site

	client *http.Client
	// server and token are those of the kubeconfig.
	server, token string
}

// canary is in the environment of whoever starts a control plane, and of nobody else.
const canary = "ASSAY_TEST_CANARY"

// newPlane starts a control plane and gives it the site through a door, "ssh" or "rest", under the name slurm.
func newPlane(t *testing.T, s *site.Site, door string) *plane {
	t.Helper()
	built(t)
	p := &plane{t: t, u: user.New(t), site: s}
	p.u.Setenv(canary, "sings")
	p.u.Up()
	p.connect()
	p.apply(siteText("slurm", s.Get("WORK"), p.door(door)))
	p.u.Must("assay", "kubectl", "wait", "--for=condition=Ready", "site/slurm", "--timeout", user.Within.String())
	return p
}

// door is what stands in a Site: where its jobs go, and its files.
func (p *plane) door(kind string) string {
	p.t.Helper()
	login := loginDoor(p.t, p.site)
	if kind == "ssh" {
		return "jobs: {ssh: " + login + "}"
	}
	return fmt.Sprintf("jobs: {rest: {url: %q, user: %s, refresh: {lifetime: 10m}}}\n  files: {ssh: %s}", p.site.Get("REST_URL"), p.site.Get("SSH_USER"), login)
}

// siteText is a Site with these doors.
func siteText(name, workDir, doors string) string {
	const defaults = "{account: p200000, partition: cpu, qos: default, timeLimit: 20m, memory: 400Mi}"
	return fmt.Sprintf("apiVersion: assay.bench/v1alpha1\nkind: Site\nmetadata: {name: %s}\nspec:\n  %s\n  workDir: %s\n  defaults: {service: %s, client: %s}\n",
		name, doors, workDir, defaults, defaults)
}

// For is the plane for a part of the test.
func (p *plane) For(t *testing.T) *plane {
	part := *p
	part.t, part.u, part.site = t, p.u.For(t), p.site.For(t)
	return &part
}

// apply hands objects in.
func (p *plane) apply(texts ...string) {
	p.t.Helper()
	name := strings.NewReplacer("/", "-", " ", "-").Replace(p.t.Name()) + ".yaml"
	p.u.Must("assay", "kubectl", "apply", "-f", p.u.Write(name, strings.Join(texts, "---\n")))
}

// connect reads the kubeconfig, as the programs of others do.
func (p *plane) connect() {
	p.t.Helper()
	text, err := os.ReadFile(p.u.Getenv("KUBECONFIG"))
	if err != nil {
		p.t.Fatal(err)
	}
	value := func(name string) string {
		m := regexp.MustCompile(`(?m)^\s*` + name + `: (\S+)$`).FindStringSubmatch(string(text))
		if m == nil {
			p.t.Fatalf("the kubeconfig has no %s", name)
		}
		return m[1]
	}
	ca, err := base64.StdEncoding.DecodeString(value("certificate-authority-data"))
	if err != nil {
		p.t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		p.t.Fatal("the kubeconfig holds no certificate")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	p.t.Cleanup(transport.CloseIdleConnections)
	p.client, p.server, p.token = &http.Client{Transport: transport}, value("server"), value("token")
}

// get reads what is at a path of the API. There is nothing to read while ok is false.
func (p *plane) get(path string, into any) (ok bool) {
	p.t.Helper()
	ok, err := p.fetch(p.t.Context(), path, into)
	if err != nil {
		p.t.Fatal(err)
	}
	return ok
}

// fetch is get for those who may not end the test.
func (p *plane) fetch(ctx context.Context, path string, into any) (ok bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.server+path, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "Bearer "+p.token)
	res, err := p.client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusNotFound {
		return false, nil
	}
	if err := json.NewDecoder(res.Body).Decode(into); err != nil || res.StatusCode != http.StatusOK {
		return false, fmt.Errorf("%s: %s, %w", path, res.Status, err)
	}
	return true, nil
}

const kinds = "/apis/assay.bench/v1alpha1/namespaces/default/"

// bm is a Benchmark as it is now.
func (p *plane) bm(name string) (b v1alpha1.Benchmark) {
	p.t.Helper()
	if !p.get(kinds+"benchmarks/"+name, &b) {
		p.t.Fatalf("there is no Benchmark %s", name)
	}
	return b
}

// sj is the newest SlurmJob of a Benchmark; nothing while there is none.
func (p *plane) sj(benchmark string) (job v1alpha1.SlurmJob) {
	p.t.Helper()
	var list v1alpha1.SlurmJobList
	p.get(kinds+"slurmjobs", &list)
	for _, j := range list.Items {
		if j.Spec.Run.Owner == benchmark {
			job = j
		}
	}
	return job
}

// siteNow is a Site as it is now.
func (p *plane) siteNow(name string) (s v1alpha1.Site) {
	p.t.Helper()
	if !p.get(kinds+"sites/"+name, &s) {
		p.t.Fatalf("there is no Site %s", name)
	}
	return s
}

// is tells a condition as STATUS REASON.
func is(conditions []metav1.Condition, kind string) string {
	c := meta.FindStatusCondition(conditions, kind)
	if c == nil {
		return ""
	}
	return string(c.Status) + " " + c.Reason
}

// message is that of a condition.
func message(conditions []metav1.Condition, kind string) string {
	if c := meta.FindStatusCondition(conditions, kind); c != nil {
		return c.Message
	}
	return ""
}

// awaitJob waits until the job of a Benchmark is as wanted.
func (p *plane) awaitJob(benchmark, what string, wanted func(v1alpha1.SlurmJob) bool) v1alpha1.SlurmJob {
	p.t.Helper()
	var j v1alpha1.SlurmJob
	p.until(benchmark+": "+what, func() bool { j = p.sj(benchmark); return wanted(j) }, func() any { return j.Status })
	return j
}

// awaitEnd waits until a Benchmark is Complete.
func (p *plane) awaitEnd(benchmark string) v1alpha1.Benchmark {
	p.t.Helper()
	var b v1alpha1.Benchmark
	p.until(benchmark+" ends", func() bool {
		b = p.bm(benchmark)
		return meta.IsStatusConditionTrue(b.Status.Conditions, v1alpha1.ConditionComplete)
	}, func() any { return p.sj(benchmark).Status })
	return b
}

// until waits, and tells what there was instead when it waits in vain.
func (p *plane) until(what string, met func() bool, state func() any) {
	p.t.Helper()
	user.UntilOr(p.t, 250*time.Millisecond, what, met, func() string {
		b, err := json.MarshalIndent(state(), "", " ")
		return fmt.Sprintf("\n%s %v", b, err)
	})
}

// measuring says that the client of a job makes its load.
func measuring(j v1alpha1.SlurmJob) bool {
	return slices.ContainsFunc(j.Status.Components, func(c v1alpha1.ComponentStatus) bool {
		return c.Kind == "LoadClient" && (c.Phase == rundir.PhaseWarmup || c.Phase == rundir.PhaseMeasuring)
	})
}

// reason asks for a condition of a job.
func reason(kind, want string) func(v1alpha1.SlurmJob) bool {
	return func(j v1alpha1.SlurmJob) bool { return is(j.Status.Conditions, kind) == want }
}

// events are all that the control plane told, a line each.
func (p *plane) events() string {
	p.t.Helper()
	return p.u.Must("assay", "kubectl", "get", "events", "-A", "-o",
		`jsonpath={range .items[*]}{.involvedObject.kind}/{.involvedObject.name} {.reason}: {.message}{"\n"}{end}`).Stdout
}

// benchmark is a small server and its small load. Edits are pairs of a text and what stands in its place.
func benchmark(name string, edits ...string) string {
	text := strings.ReplaceAll(`apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: NAME}
spec:
  site: slurm
  services:
  - name: sim
    llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}
    resources: {cpusPerTask: 1}
  clients:
  - name: load
    target: {service: sim}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    closedLoop: {concurrency: 1, thinkTime: 500ms}
    resources: {cpusPerTask: 1}
    duration: 5s
`, "NAME", name)
	return strings.NewReplacer(edits...).Replace(text)
}
