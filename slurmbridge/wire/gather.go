package wire

import (
	"strings"

	"assay.bench/slurmbridge"
)

// gathering makes one job of a heterogeneous one: its leader, with the nodes of all its components.
type gathering struct {
	jobs   []slurmbridge.Job
	others map[string][]string
}

// add takes a job of the list. One that is not a leader adds its nodes only, if it is a component of a job.
func (g *gathering) add(j slurmbridge.Job, leader, component bool) {
	switch {
	case !j.Key.Valid():
	case leader:
		g.jobs = append(g.jobs, j)
	case component && j.Nodes != "":
		if g.others == nil {
			g.others = map[string][]string{}
		}
		g.others[j.ID] = append(g.others[j.ID], j.Nodes)
	}
}

// merged are the jobs that were added.
func (g *gathering) merged() []slurmbridge.Job {
	for i, j := range g.jobs {
		g.jobs[i].Nodes = strings.TrimPrefix(strings.Join(append([]string{j.Nodes}, g.others[j.ID]...), ","), ",")
	}
	return g.jobs
}
