//go:build bench

package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// What a Site has that says nothing of its limits.
const siteRate, siteBurst = 5, 10

// slurm measures what a real Slurm site is asked by a control plane of assay up, over SSH: people apply and delete objects
// with kubectl, slurmctld counts its requests (sdiag), and the login node writes down who comes.
func slurm(t *testing.T, r *rows, s size) {
	if os.Getuid() != 0 {
		t.Fatal("a test site needs root: run make bench as root")
	}
	ctrl.SetLogger(logr.Discard()) // the client's
	at := site.Up(t, site.Slurm2411)
	firstRequest(t, r, s, at)
	p := newPlane(t, at)
	p.deletions(r, s)
	p.statuses(r, s)
	// Nothing runs from here on: jobs are accepted, and wait.
	at.Root("scontrol", "update", "PartitionName=cpu", "State=DOWN")
	p.submissions(r, s)
	p.steady(r, s)
	p.u.Must("assay", "down", "--leave") // the jobs end with the site
}

// plane is a standing control plane with the site in it, and witnesses beside it.
type plane struct {
	t     *testing.T
	u     *user.User
	site  *site.Site
	login *logins
	work  string
	api   client.Client
}

// newPlane starts a control plane with a Site that says nothing of its limits, and waits until it is ready.
func newPlane(t *testing.T, at *site.Site) *plane {
	t.Helper()
	p := &plane{t: t, u: user.New(t), site: at, login: watchLogins(t, at), work: filepath.Join(at.Get("WORK"), "bench")}
	p.u.Up()
	config, err := clientcmd.BuildConfigFromFlags("", p.u.Getenv("KUBECONFIG"))
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	if p.api, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		t.Fatal(err)
	}
	p.apply("site", siteText(t, at, p.work))
	p.u.Must("assay", "kubectl", "wait", "--for=condition=Ready", "site/testsite", "--timeout", user.Within.String())
	return p
}

// apply hands objects in.
func (p *plane) apply(name, text string) {
	p.t.Helper()
	p.u.Must("assay", "kubectl", "apply", "-f", p.u.Write(name+".yaml", text))
}

// jobs are all SlurmJobs as they are now.
func (p *plane) jobs() []v1alpha1.SlurmJob {
	p.t.Helper()
	var list v1alpha1.SlurmJobList
	if err := p.api.List(p.t.Context(), &list); err != nil {
		p.t.Fatal(err)
	}
	return list.Items
}

// await waits until as many SlurmJobs as are wanted are so. Hundreds of jobs take longer than what else a user waits for.
func (p *plane) await(want int, what string, so func(*v1alpha1.SlurmJob) bool) {
	p.t.Helper()
	deadline := time.Now().Add(20 * time.Minute)
	for {
		begin, found := time.Now(), 0
		jobs := p.jobs()
		for i := range jobs {
			if so(&jobs[i]) {
				found++
			}
		}
		if found == want {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("%d of %d SlurmJobs are %s, want %d; the first one: %+v", found, len(jobs), what, want, jobs[:min(1, len(jobs))])
		}
		pause(p.t, max(250*time.Millisecond, 5*time.Since(begin))) // the control plane needs the cores
	}
}

// queued says that a job was seen in the queue, released.
func queued(j *v1alpha1.SlurmJob) bool { return j.Status.Phase == "Queued" }

// asked is what slurmctld was asked by our user in all, and how often by anybody for a list of jobs.
func (p *plane) asked() (all, lists int64) {
	p.t.Helper()
	out := p.site.Root("sdiag")
	for _, m := range regexp.MustCompile(`(?m)^\s*(\S+)\s*\(\s*\d+\)\s*count:(\d+)`).FindAllStringSubmatch(out, -1) {
		switch m[1] {
		case p.site.Get("SSH_USER"):
			all += number(p.t, m[2])
		case "REQUEST_JOB_INFO", "REQUEST_JOB_USER_INFO", "REQUEST_JOB_INFO_SINGLE":
			lists += number(p.t, m[2])
		}
	}
	return all, lists
}

// siteText is the site as a Site. Its jobs are so small that hundreds fit in.
func siteText(t *testing.T, at *site.Site, work string) string {
	t.Helper()
	known, err := os.ReadFile(at.Get("SSH_KNOWN_HOSTS"))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf(`apiVersion: assay.bench/v1alpha1
kind: Site
metadata: {name: testsite}
spec:
  jobs: {ssh: {host: %s, port: %s, user: %s, knownHosts: %q, privateKey: {file: %s}}}
  workDir: %s
  defaults:
    service: {account: %[7]s, partition: cpu, qos: default, timeLimit: 30m, cpusPerTask: 1, memory: 256Mi}
    client: {account: %[7]s, partition: cpu, qos: default, timeLimit: 30m, cpusPerTask: 1, memory: 256Mi}
`, at.Get("SSH_HOST"), at.Get("SSH_PORT"), at.Get("SSH_USER"), known, at.Get("SSH_KEY"), work, at.Get("ACCOUNT"))
}
