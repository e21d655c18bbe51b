package plan

import (
	"cmp"
	"fmt"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// maxNotice is how long before the time limit a job is told to write what it has.
const maxNotice = 60 * time.Second

// script is the job as the batch system sees it.
func (b builder) script(p rundir.Plan) (slurmbridge.Script, error) {
	parts, err := b.parts()
	if err != nil {
		return slurmbridge.Script{}, err
	}
	limit := time.Duration(p.TimeLimit)
	return slurmbridge.Script{
		Comment:   fmt.Sprintf("assay %s/%s %s %s", p.Namespace, p.Owner, p.Run, p.Job),
		Directory: p.Directory,
		Parts:     parts,
		TimeLimit: limit,
		Notice:    min(maxNotice, limit/10),
		KillWait:  p.StopWithin(),
		Modules:   b.Site.Spec.Modules,
		Node:      b.Node,
	}, nil
}

// parts are the resources of the job: one part for the services and one for the clients where what they ask of the
// batch system differs, else one for all.
func (b builder) parts() ([]slurmbridge.Part, error) {
	var services, clients slurmbridge.Part
	var hasService, hasClient bool
	for _, ref := range b.Job.Spec.Components {
		if ref.Kind == "Service" {
			s, err := b.service(ref.Name)
			if err != nil {
				return nil, err
			}
			if err := add(&services, merge(s.Spec.Resources, b.Site.Spec.Defaults.Service), 1); err != nil {
				return nil, fmt.Errorf("service %s: %w", ComponentName(s), err)
			}
			hasService = true
			continue
		}
		c, err := b.client(ref.Name)
		if err != nil {
			return nil, err
		}
		if err := add(&clients, merge(c.Spec.Resources, b.Site.Spec.Defaults.Client), int(max(1, c.Spec.Instances))); err != nil {
			return nil, fmt.Errorf("client %s: %w", ComponentName(c), err)
		}
		hasClient = true
	}
	switch {
	case !hasService:
		return []slurmbridge.Part{clients}, nil
	case !hasClient:
		return []slurmbridge.Part{services}, nil
	case sameQueue(services, clients):
		return []slurmbridge.Part{joined(services, clients)}, nil
	}
	return []slurmbridge.Part{services, clients}, nil
}

// add puts a component with some tasks into a part. What is named once holds for the part; sizes add up or take the
// larger, as the components run side by side.
func add(p *slurmbridge.Part, r v1alpha1.Resources, tasks int) error {
	memory, err := mebibytes(r.Memory)
	if err != nil {
		return err
	}
	p.Account = cmp.Or(p.Account, r.Account)
	p.Partition = cmp.Or(p.Partition, r.Partition)
	p.QOS = cmp.Or(p.QOS, r.QOS)
	p.Nodes += int(max(1, r.Nodes))
	p.Tasks += max(tasks, int(r.Nodes))
	p.CPUsPerTask = max(p.CPUsPerTask, int(r.CPUsPerTask))
	p.GPUsPerNode = max(p.GPUsPerNode, int(r.GPUsPerNode))
	p.MemoryMiB = max(p.MemoryMiB, memory)
	return nil
}

// sameQueue says whether two parts can be one plain job.
func sameQueue(a, b slurmbridge.Part) bool {
	return a.Account == b.Account && a.Partition == b.Partition && a.QOS == b.QOS
}

func joined(a, b slurmbridge.Part) slurmbridge.Part {
	a.Nodes += b.Nodes
	a.Tasks += b.Tasks
	a.CPUsPerTask = max(a.CPUsPerTask, b.CPUsPerTask)
	a.GPUsPerNode = max(a.GPUsPerNode, b.GPUsPerNode)
	a.MemoryMiB = max(a.MemoryMiB, b.MemoryMiB)
	return a
}

// merge fills what the component leaves open from the site's defaults.
func merge(r, defaults v1alpha1.Resources) v1alpha1.Resources {
	return v1alpha1.Resources{
		Account:     cmp.Or(r.Account, defaults.Account),
		Partition:   cmp.Or(r.Partition, defaults.Partition),
		QOS:         cmp.Or(r.QOS, defaults.QOS),
		TimeLimit:   cmp.Or(r.TimeLimit, defaults.TimeLimit),
		Nodes:       cmp.Or(r.Nodes, defaults.Nodes),
		GPUsPerNode: cmp.Or(r.GPUsPerNode, defaults.GPUsPerNode),
		CPUsPerTask: cmp.Or(r.CPUsPerTask, defaults.CPUsPerTask),
		Memory:      cmp.Or(r.Memory, defaults.Memory),
	}
}

// timeLimit of the job is the longest that one of its components asks for; zero leaves it to the site.
func (b builder) timeLimit() (time.Duration, error) {
	limit := time.Duration(0)
	for _, ref := range b.Job.Spec.Components {
		var d v1alpha1.Duration
		if ref.Kind == "Service" {
			s, err := b.service(ref.Name)
			if err != nil {
				return 0, err
			}
			d = merge(s.Spec.Resources, b.Site.Spec.Defaults.Service).TimeLimit
		} else {
			c, err := b.client(ref.Name)
			if err != nil {
				return 0, err
			}
			d = merge(c.Spec.Resources, b.Site.Spec.Defaults.Client).TimeLimit
		}
		v, err := d.Parse()
		if err != nil {
			return 0, v1alpha1.At("resources.timeLimit", err)
		}
		limit = max(limit, v)
	}
	return limit, nil
}
