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
	parts, _, err := b.parts()
	if err != nil {
		return slurmbridge.Script{}, err
	}
	dependency, err := b.dependency()
	if err != nil {
		return slurmbridge.Script{}, err
	}
	for i := range parts {
		parts[i].Exclude = b.Exclude
	}
	limit := time.Duration(p.TimeLimit)
	return slurmbridge.Script{
		Comment:   fmt.Sprintf("assay %s/%s %s %s", p.Namespace, p.Owner, p.Run, p.Job),
		Directory: p.Directory,
		Parts:     parts,
		TimeLimit: limit, Dependency: dependency,
		Notice:   min(maxNotice, limit/10),
		KillWait: p.StopWithin(),
		Modules:  b.Site.Spec.Modules,
		Node:     b.Node,
	}, nil
}

// place is where a component runs in its job: the part, and the first of its nodes there.
type place struct{ part, node int }

// parts are the resources of the job: one part for the services and one for the clients where what they ask of the
// batch system differs, else one for all. places are by the index of the component. Components never share a node: each
// has its own from the first one on.
func (b builder) parts() (parts []slurmbridge.Part, places []place, err error) {
	if len(b.Job.Spec.Images) > 0 {
		parts = make([]slurmbridge.Part, 1)
		return parts, nil, add(&parts[0], pullResources(b.Site), 1)
	}
	var services, clients slurmbridge.Part
	places = make([]place, len(b.Job.Spec.Components))
	for i, ref := range b.Job.Spec.Components {
		resources, tasks, err := b.asks(ref)
		if err != nil {
			return nil, nil, err
		}
		part := &services
		if ref.Kind != "Service" {
			part, places[i].part = &clients, 1
		}
		places[i].node = part.Nodes
		if err := add(part, resources, tasks); err != nil {
			return nil, nil, fmt.Errorf("component %s: %w", ref.Name, err)
		}
	}
	move := func(node int) {
		for i := range places {
			if places[i].part == 1 {
				places[i] = place{0, places[i].node + node}
			}
		}
	}
	switch {
	case services.Nodes == 0:
		move(0)
		return []slurmbridge.Part{clients}, places, nil
	case clients.Nodes == 0:
		return []slurmbridge.Part{services}, places, nil
	case sameQueue(services, clients):
		move(services.Nodes)
		return []slurmbridge.Part{joined(services, clients)}, places, nil
	}
	return []slurmbridge.Part{services, clients}, places, nil
}

// place tells each component's step where in the job it runs.
func (b builder) place(p *rundir.Plan) error {
	_, places, err := b.parts()
	if err != nil {
		return err
	}
	var services, clients int
	for i, ref := range b.Job.Spec.Components {
		var r *rundir.Resources
		if ref.Kind == "Service" {
			r = &p.Services[services].Resources
			services++
		} else {
			r = &p.Clients[clients].Resources
			clients++
		}
		asked, _, err := b.asks(ref)
		if err != nil {
			return err
		}
		if *r, err = stepResources(asked); err != nil {
			return err
		}
		r.HetGroup, r.FirstNode = places[i].part, places[i].node
	}
	return nil
}

// asks is what a component asks of the batch system, the site's defaults included, and the number of its tasks.
func (b builder) asks(ref v1alpha1.ComponentReference) (v1alpha1.Resources, int, error) {
	if ref.Kind == "Service" {
		s, err := b.service(ref.Name)
		if err != nil {
			return v1alpha1.Resources{}, 0, err
		}
		planned, err := b.planService(s)
		asked := merge(s.Spec.Resources, b.Site.Spec.Defaults.Service)
		if s.Spec.Replicas > 1 {
			asked.Nodes = max(1, asked.Nodes) * s.Spec.Replicas
		}
		return asked, planned.Ranks, err
	}
	c, err := b.client(ref.Name)
	if err != nil {
		return v1alpha1.Resources{}, 0, err
	}
	return merge(c.Spec.Resources, b.Site.Spec.Defaults.Client), int(max(1, c.Spec.Instances)), nil
}

// add puts a component with some tasks into a part. What is named once holds for the part; nodes add up, and what is
// counted on a node takes the larger, since a part's nodes are equal.
func add(p *slurmbridge.Part, r v1alpha1.Resources, tasks int) error {
	memory, err := mebibytes(r.Memory)
	if err != nil {
		return err
	}
	nodes := int(max(1, r.Nodes))
	p.Nodes += nodes
	p.TasksPerNode = max(p.TasksPerNode, (tasks+nodes-1)/nodes)
	larger(p, slurmbridge.Part{
		Account: r.Account, Partition: r.Partition, QOS: r.QOS, CPUsPerTask: int(r.CPUsPerTask), GPUsPerNode: int(r.GPUsPerNode),
		MemoryMiB: memory, Gres: r.Gres, Constraint: r.Constraint, Reservation: r.Reservation, Licenses: r.Licenses,
		Exclusive: r.Exclusive != "",
	})
	return nil
}

// larger takes over what p leaves open, and the larger counts.
func larger(p *slurmbridge.Part, o slurmbridge.Part) {
	p.Account, p.Partition, p.QOS = cmp.Or(p.Account, o.Account), cmp.Or(p.Partition, o.Partition), cmp.Or(p.QOS, o.QOS)
	p.Gres, p.Constraint = cmp.Or(p.Gres, o.Gres), cmp.Or(p.Constraint, o.Constraint)
	p.Reservation, p.Licenses = cmp.Or(p.Reservation, o.Reservation), cmp.Or(p.Licenses, o.Licenses)
	p.TasksPerNode, p.CPUsPerTask = max(p.TasksPerNode, o.TasksPerNode), max(p.CPUsPerTask, o.CPUsPerTask)
	p.GPUsPerNode, p.MemoryMiB = max(p.GPUsPerNode, o.GPUsPerNode), max(p.MemoryMiB, o.MemoryMiB)
	p.Exclusive = p.Exclusive || o.Exclusive
}

// sameQueue says whether two parts can be one plain job.
func sameQueue(a, b slurmbridge.Part) bool {
	return a.Account == b.Account && a.Partition == b.Partition && a.QOS == b.QOS && a.Gres == b.Gres && a.Constraint == b.Constraint &&
		a.Reservation == b.Reservation && a.Licenses == b.Licenses && a.Exclusive == b.Exclusive
}

func joined(a, b slurmbridge.Part) slurmbridge.Part {
	larger(&a, b)
	a.Nodes += b.Nodes
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
		Gres:        cmp.Or(r.Gres, defaults.Gres),
		Constraint:  cmp.Or(r.Constraint, defaults.Constraint),
		Reservation: cmp.Or(r.Reservation, defaults.Reservation),
		Licenses:    cmp.Or(r.Licenses, defaults.Licenses),
		Dependency:  cmp.Or(r.Dependency, defaults.Dependency),
		Exclusive:   cmp.Or(r.Exclusive, defaults.Exclusive),
	}
}

// dependency of the job is what its components name: a batch system takes one for the whole.
func (b builder) dependency() (string, error) {
	first := ""
	for _, ref := range b.Job.Spec.Components {
		asked, _, err := b.asks(ref)
		if err != nil {
			return "", err
		}
		if first != "" && asked.Dependency != "" && asked.Dependency != first {
			return "", v1alpha1.At("resources.dependency", fmt.Errorf("%q and %q in one job: name one, or use placement SeparateJobs", first, asked.Dependency))
		}
		first = cmp.Or(first, asked.Dependency)
	}
	return first, nil
}

// timeLimit of the job is the longest that one of its components asks for; zero leaves it to the site.
func (b builder) timeLimit() (time.Duration, error) {
	if len(b.Job.Spec.Images) > 0 {
		limit, err := pullResources(b.Site).TimeLimit.Parse()
		if err != nil {
			return 0, v1alpha1.At("images.resources.timeLimit", err)
		}
		return limit, nil
	}
	limit := time.Duration(0)
	for _, ref := range b.Job.Spec.Components {
		asked, _, err := b.asks(ref)
		if err != nil {
			return 0, err
		}
		v, err := asked.TimeLimit.Parse()
		if err != nil {
			return 0, v1alpha1.At("resources.timeLimit", err)
		}
		limit = max(limit, v)
	}
	return limit, nil
}
