//go:build e2e

package testsite

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"assay.bench/test/site"
	"assay.bench/test/user"
)

// twoOrigins are two control planes of one user on one site. One is killed, and the janitor of the other one looks for
// what nobody wants, twice; then the first one's does. Each ends its own orphans, and nothing of the other's.
func twoOrigins(t *testing.T, s *site.Site) {
	t.Helper()
	a, b := comes(t, s, "ssh"), comes(t, s, "cli")
	var stays []string
	for _, p := range []*person{a, b} {
		p.Up()
		p.apply("site", p.siteRecipe())
		stays = append(stays, p.endless("stays"))
	}
	a.KillPlane()
	b.orphan("left1")
	b.orphan("left2")
	b.runs(stays...)
	a.Up()
	a.orphan("left")
	b.runs(stays...)
	for _, p := range []*person{a, b} {
		p.leaves()
		for _, r := range p.records() {
			if !r.ran() {
				t.Errorf("a job never ran: %+v", r)
			}
		}
	}
}

// endless begins a benchmark that does not end by itself, and returns the id of its job once it runs.
func (p *person) endless(name string) (id string) {
	p.t.Helper()
	p.apply(name, fmt.Sprintf(aBenchmark, name, "SharedJob", "10m", "15m", "Stop"))
	user.Until(p.t, "the job of "+name+" runs", func() bool {
		for _, attempt := range p.attempts(name) {
			id = claim(p.t, attempt)
		}
		return id != ""
	})
	return id
}

// orphan makes a job whose object is gone, and waits until the janitor of a new process has ended it.
func (p *person) orphan(name string) {
	p.t.Helper()
	id := p.endless(name)
	p.Must("assay", "kubectl", "annotate", "sj/"+name+"-g1", "assay.bench/abandon=true")
	p.Must("assay", "kubectl", "delete", "sj/"+name+"-g1", "--timeout", user.Within.String())
	p.runs(id)
	p.KillPlane()
	p.Up()
	user.Until(p.t, "the janitor ends the job of "+name, func() bool { return !slices.Contains(p.running(), id) })
	events := p.Must("assay", "kubectl", "get", "events", "-o", "custom-columns=REASON:.reason,MESSAGE:.message").Stdout
	if want := "cancels job " + id + " named assay-" + p.origin(); !strings.Contains(events, want) {
		p.t.Errorf("no event says that it %s:\n%s", want, events)
	}
}

// running are the jobs that run on the site, of anybody.
func (p *person) running() []string {
	p.t.Helper()
	return strings.Fields(p.site.Sh("squeue -h -t running -o %i"))
}

// runs checks that jobs still run.
func (p *person) runs(ids ...string) {
	p.t.Helper()
	running := p.running()
	for _, id := range ids {
		if !slices.Contains(running, id) {
			p.t.Errorf("job %s does not run any more, only %v do", id, running)
		}
	}
}
