package benchmark

import "assay.bench/api/v1alpha1"

// Planned are the objects that a run will have, in the order in which they are made.
type Planned struct {
	Services []v1alpha1.Service
	Clients  []v1alpha1.LoadClient
	Jobs     []v1alpha1.SlurmJob
}

// Plan tells what a run would make, without making it.
func Plan(bm *v1alpha1.Benchmark, run *v1alpha1.RunStatus) Planned {
	var out Planned
	for _, s := range services(bm, run) {
		out.Services = append(out.Services, *s)
	}
	for _, c := range clients(bm, run) {
		out.Clients = append(out.Clients, *c)
	}
	for _, w := range waves(bm, run) {
		for _, j := range w {
			out.Jobs = append(out.Jobs, *j)
		}
	}
	return out
}
