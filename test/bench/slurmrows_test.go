//go:build bench

package bench

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// waiting is a benchmark of which nothing runs while its partition is down.
const waiting = `---
apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: waiting%d}
spec:
  site: testsite
  services:
  - {name: sim, llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}}
  clients:
  - name: load
    target: {service: sim}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    closedLoop: {concurrency: 1}
    duration: 10s
`

// numbered writes benchmarks that differ by a number.
func numbered(text string, from, to int) string {
	var out strings.Builder
	for i := from; i < to; i++ {
		fmt.Fprintf(&out, text, i)
	}
	return out.String()
}

// submissions applies many benchmarks at once, until the job of each was seen in the queue, released.
func (p *plane) submissions(r *rows, s size) {
	p.t.Helper()
	before, _ := p.asked()
	began := time.Now()
	p.apply("waiting", numbered(waiting, 0, s.submits))
	p.await(s.submits, "queued", queued)
	took := time.Since(began)
	after, _ := p.asked()
	came := p.login.since(began)
	p.t.Logf("%d jobs are in the queue after %s; on the login node: %v", s.submits, took.Round(time.Second), kinds(came))
	r.atMost(fmt.Sprintf("%d jobs submitted, released and seen: requests to slurmctld for each", s.submits), "", 2.2, float64(after-before)/float64(s.submits))
	r.atMost("the same: most commands of Slurm a second over any 10 s, after the burst", "/s", siteRate, fastest(only(came, asksSlurm), 10*time.Second))
}

// steady watches many jobs that wait, once the poll has come to its slow pace.
func (p *plane) steady(r *rows, s size) {
	p.t.Helper()
	p.u.Must("assay", "kubectl", "patch", "site", "testsite", "--type=merge", "-p", `{"spec":{"limits":{"rate":"100","burst":100}}}`)
	p.apply("more", numbered(waiting, s.submits, s.steady))
	p.await(s.steady, "queued", queued)
	pause(p.t, s.slowly)
	all, lists := p.asked()
	began := time.Now()
	pause(p.t, s.steadily)
	allThen, listsThen := p.asked()
	minutes := time.Since(began).Minutes()
	p.t.Logf("%d requests to slurmctld in %.1f min; on the login node: %v", allThen-all, minutes, kinds(p.login.since(began)))
	r.atMost(fmt.Sprintf("%d jobs that wait: lists by slurmctld's count", s.steady), "/min", 2, float64(listsThen-lists)/minutes)
}

// deaf is a benchmark whose server does not end by TERM, and is never ready.
const deaf = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: deaf%d}
spec:
  site: testsite
  services:
  - name: server
    stopTimeout: 1m
    command:
      argv: [bash, -c, "trap '' TERM; touch $(DIR)/deaf; while :; do sleep 1; done"]
      ports: [{name: http}]
      probes: [{exec: {argv: ["false"]}}]
      model: m
      protocol: OpenAI
  clients:
  - name: load
    target: {service: server}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    closedLoop: {concurrency: 1}
    duration: 10s
`

// deletions deletes benchmarks whose jobs do not want to end, until they are gone.
func (p *plane) deletions(r *rows, s size) {
	p.t.Helper()
	const killWait, tick = 5 * time.Second, 5 * time.Second // of the site, and of the poll after something was done
	var took []float64
	for i := range s.repeats {
		name := fmt.Sprintf("deaf%d", i)
		p.apply(name, fmt.Sprintf(deaf, i))
		user.Until(p.t, name+" does not listen to TERM", func() bool {
			found, err := filepath.Glob(filepath.Join(p.work, "*", "*", name, "*", "*", "1", "server", "0", "deaf"))
			if err != nil {
				p.t.Fatal(err)
			}
			return len(found) == 1
		})
		p.await(1, "running", func(j *v1alpha1.SlurmJob) bool { return j.Status.Phase == "Running" })
		began := time.Now()
		p.u.Must("assay", "kubectl", "delete", "bm", name, "--timeout", user.Within.String())
		took = append(took, time.Since(began).Seconds())
		p.t.Logf("%s is gone; on the login node: %v", name, kinds(p.login.since(began)))
		if left := p.site.Sh("squeue -h -t R,CG,PD -o '%i %T'"); left != "" || len(p.jobs()) > 0 {
			p.t.Fatalf("the Benchmark is gone, and there are still jobs (%s) or %d SlurmJobs", left, len(p.jobs()))
		}
	}
	r.atMost("kubectl delete of a benchmark whose server ignores TERM, until it is gone", "s", (2*killWait + tick).Seconds(), took...)
}

// running is a benchmark of one node, whose job is a stand-in.
const running = `---
apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: running%d}
spec:
  site: testsite
  clients:
  - name: load
    target: {url: "http://127.0.0.1:9"}
    inference: {model: m, inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}
    closedLoop: {concurrency: 1}
    duration: 20m
`

// standIn takes the place of assay-node on the site: what it does with files is the real one's work, but a job of it only
// writes the status of a client that measures, as often as the real one does.
const standIn = `#!/bin/bash
[ "$1" = job ] || exec "$0.real" "$@"
mkdir -p load/0
for ((beat = 1; ; beat++)); do
  printf '{"version":%d,"heartbeat":%%d,"phase":"Measuring","repeat":1,"host":"%%s","pid":%%d,"time":"2026-01-01T00:00:00Z"}\n' $beat $HOSTNAME $$ >load/0/.new &&
    mv load/0/.new load/0/status.json
  sleep 10 &
  wait $!
done
`

// replaceNode puts the stand-in in the place of assay-node, at once.
func (p *plane) replaceNode() {
	p.t.Helper()
	p.site.Sh(fmt.Sprintf(`cd %s/bin/* && ln assay-node assay-node.real && printf %%s '%s' >new && chmod 0700 new && mv new assay-node`,
		p.work, strings.ReplaceAll(fmt.Sprintf(standIn, rundir.Version), "'", `'\''`)))
}

// statuses watches the files of many running jobs, on the side of the site.
func (p *plane) statuses(r *rows, s size) {
	p.t.Helper()
	const tick = 10 * time.Second // of the reads, while nothing starts
	p.replaceNode()
	p.apply("running", numbered(running, 0, s.running))
	p.await(s.running, "measuring", func(j *v1alpha1.SlurmJob) bool {
		return len(j.Status.Components) == 1 && j.Status.Components[0].Phase == rundir.PhaseMeasuring
	})
	pause(p.t, min(s.slowly, 3*tick)) // what came with their starts is over
	began := time.Now()
	var reads []login
	user.Until(p.t, "the statuses are read a few times", func() bool {
		pause(p.t, time.Second)
		reads = only(p.login.since(began), readsRuns)
		return len(reads) > s.ticks
	})
	came := p.login.between(reads[0].at, reads[len(reads)-1].at)
	p.t.Logf("%d jobs run; on the login node in %d ticks: %v", s.running, len(reads)-1, kinds(came))
	name := fmt.Sprintf("%d running jobs over SSH (stand-ins that write a status)", s.running)
	r.atMost(name+": reads of their statuses on the login node for each tick of 10 s", "", 1, perTick(reads, tick))
	r.atMost("the same: writes of what is wanted of them (control.json)", "", 1, perTick(only(came, writesRuns), tick))
	p.site.Sh("scancel -u $(id -un)")
	p.await(s.running, "over", func(j *v1alpha1.SlurmJob) bool { return j.Status.Phase == "Failed" })
}

// onNodes is a benchmark whose two instances are on nodes of their own, so that they start together two seconds (the
// barrier's lead) after the server is ready.
const onNodes = `---
apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: started}
spec:
  site: testsite
  services:
  - {name: sim, llmsim: {ttft: {mean: 1ms}, itl: {mean: 1ms}}}
  clients:
  - name: load
    target: {service: sim}
    inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 4}}
    closedLoop: {concurrency: 2}
    instances: 2
    resources: {nodes: 2}
    duration: 1s
`

// firstRequest is how long after its service is ready a client sends its first request, less the barrier's lead.
func firstRequest(t *testing.T, r *rows, s size, at *site.Site) {
	const lead = 2 * time.Second
	var beyond []float64
	for i := range s.repeats {
		u := user.New(t)
		work := filepath.Join(at.Get("WORK"), fmt.Sprintf("started-%d", i))
		file := u.Write("started.yaml", siteText(t, at, work)+onNodes)
		if a := u.Do("assay", "run", file, "--output", u.Path("out")); a.Code != 0 && a.Code != 4 { // a busy machine limits the client
			t.Fatalf("exit code %d, want 0 or 4\n%s%s", a.Code, a.Stdout, a.Stderr)
		}
		rank := func(component string) string {
			found, err := filepath.Glob(filepath.Join(work, "*", "*", "started", "*", "*", "1", component, "0"))
			if err != nil || len(found) != 1 {
				t.Fatalf("folders of %s: %v, %v", component, found, err)
			}
			return found[0]
		}
		ready := mono(t, u.Events(rank("sim")), "Ready")
		beyond = append(beyond, (time.Duration(firstMeasured(t, rank("load"))-ready) - lead).Seconds())
	}
	r.atMost("from a service that is ready to a client's first request, beyond the barrier's lead of 2 s", "s", 2, beyond...)
}
