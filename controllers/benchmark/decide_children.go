package benchmark

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
)

// childrenMade makes what the run lacks. Children are made once and never changed: a run goes on with what it started.
func childrenMade(p *pass) bool {
	p.view = look(p.bm, p.seen.Jobs, p.now)
	for _, job := range p.view.present {
		if !slices.Contains(p.run().Jobs, job.Name) {
			p.run().Jobs = append(p.run().Jobs, job.Name)
		}
	}
	if p.view.stop != nil {
		return true
	}
	var made []client.Object
	for _, s := range services(p.bm, p.run()) {
		if p.seen.Services[s.Name] == nil {
			made = append(made, s)
		}
	}
	for _, c := range clients(p.bm, p.run()) {
		if p.seen.Clients[c.Name] == nil {
			made = append(made, c)
		}
	}
	for _, job := range p.view.missing {
		made = append(made, job)
	}
	if len(made) == 0 {
		return true
	}
	if p.seen.Taken != "" {
		p.stalled(v1alpha1.ReasonInvalidParameters, p.seen.Taken+" exists and belongs to something else: delete it, or delete this Benchmark and rename the component")
		p.says(phaseInvalid, p.seen.Taken+" is in the way")
		p.lookAgain(again)
		return false
	}
	p.do(WriteRecord{Path: recordPath(p.run().Directory), Record: record(p.bm)})
	if len(p.view.missing) > 0 {
		p.makeCredentials()
	}
	for _, o := range made {
		p.do(Create{Object: o})
	}
	return !p.cannotWrite()
}

// cannotWrite tells what hinders a write into the run directory, which is tried again.
func (p *pass) cannotWrite() bool {
	if p.seen.Unwritten == "" {
		return false
	}
	p.stalled(v1alpha1.ReasonWorkDirUnusable, p.seen.Unwritten)
	p.says(phaseInvalid, p.seen.Unwritten)
	p.lookAgain(again)
	return true
}

// makeCredentials makes the credential of each service before the jobs that need it. One that exists stays.
func (p *pass) makeCredentials() {
	for _, s := range services(p.bm, p.run()) {
		p.do(reconcile.CreateCredential{
			Name: plan.SecretName(s.Name, p.run().Name), Labels: s.Labels, Owner: s.OwnerReferences[0],
		})
	}
}

// recordPath is where a run says who made it.
func recordPath(directory string) string { return directory + "/" + rundir.RecordFile }

// record is what the run directory keeps of the Benchmark.
func record(bm *v1alpha1.Benchmark) rundir.Record {
	spec, err := json.Marshal(bm.Spec)
	if err != nil {
		panic(err) // a struct of strings and numbers always marshals
	}
	run := bm.Status.Run
	return rundir.Record{
		Version: rundir.Version, Kind: kindBenchmark, Namespace: bm.Namespace, Name: bm.Name, UID: string(bm.UID),
		Run: run.Name, Seed: run.Seed, TimeScale: string(run.TimeScale), Spec: spec,
	}
}

// jobsWanted stops what is left of a run that ends before its time: a job that is deleted is stopped, cancelled and
// watched until it is gone.
func jobsWanted(p *pass) bool {
	if at, ok := deadline(p.bm); ok && p.now.Before(at) {
		p.lookAgain(at.Sub(p.now))
	}
	stop := p.view.stop
	if stop == nil {
		return true
	}
	waiting := 0
	for _, job := range p.view.left {
		waiting++
		if job.DeletionTimestamp.IsZero() {
			p.do(reconcile.Delete{Kind: reconcile.KindSlurmJob, Name: job.Name, UID: job.UID})
		}
	}
	if waiting == 0 {
		return true
	}
	p.progressing(fmt.Sprintf("%s: the other jobs are being stopped", stop.message))
	p.says(phaseFinishing, "stops the jobs: "+stop.message)
	p.lookAgain(again)
	return false
}

// sortedNames returns the keys in order.
func sortedNames[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for name := range m {
		out = append(out, name)
	}
	slices.SortFunc(out, strings.Compare)
	return out
}
