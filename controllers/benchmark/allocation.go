package benchmark

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
)

// childName is the name of the Service or LoadClient object of a component.
func childName(bm *v1alpha1.Benchmark, component v1alpha1.Name) string {
	return bm.Name + "-" + string(component)
}

// wave is a set of SlurmJobs that are made together. The next one is made when all jobs of the former are over.
type wave []*v1alpha1.SlurmJob

// waves returns every SlurmJob of a run: the one that pulls the images, then one wave, or one for each repeat when each
// repeat has a job of its own.
func waves(bm *v1alpha1.Benchmark, run *v1alpha1.RunStatus) []wave {
	count, restart := max(1, bm.Spec.Repeats.Count), bm.Spec.Repeats.Restart
	out := imagesWave(bm, run)
	if restart != v1alpha1.RestartJob {
		return append(out, makeWave(bm, run, "", 1, count, true))
	}
	for k := int32(1); k <= count; k++ {
		out = append(out, makeWave(bm, run, fmt.Sprintf("-r%d", k), k, 1, k == count))
	}
	return out
}

// makeWave returns the jobs of the repeats first, first+1, ... first+count-1.
func makeWave(bm *v1alpha1.Benchmark, run *v1alpha1.RunStatus, suffix string, first, count int32, last bool) wave {
	base := v1alpha1.JobRun{
		Owner: bm.Name, Name: run.Name, FirstRepeat: first,
		Repeats: v1alpha1.Repeats{Count: count, Restart: bm.Spec.Repeats.Restart},
		Retries: bm.Spec.Retries, IdleTimeout: bm.Spec.IdleTimeout, BarrierLead: bm.Spec.BarrierLead, Seed: run.Seed, TimeScale: run.TimeScale,
		// Only what the last repeat leaves behind can be kept.
		KeepServices:  last && bm.Spec.Cleanup.Services == keep,
		DeleteObjects: bm.Spec.Cleanup.Objects != keep,
	}
	refs := components(bm)
	if bm.Spec.Placement != v1alpha1.SeparateJobs {
		return wave{makeJob(bm, run, bm.Name+"-"+run.Name+suffix, base, refs)}
	}
	var out wave
	for _, ref := range refs {
		own := base
		for _, peer := range refs {
			if peer.name != ref.name {
				own.Peers = append(own.Peers, v1alpha1.PeerReference{
					ComponentReference: peer.object(bm), Job: separateName(bm, run, peer.name, suffix),
				})
			}
		}
		out = append(out, makeJob(bm, run, separateName(bm, run, ref.name, suffix), own, []component{ref}))
	}
	return out
}

// keep is the value of spec.cleanup that leaves things be.
const keep = "Keep"

func separateName(bm *v1alpha1.Benchmark, run *v1alpha1.RunStatus, name v1alpha1.Name, suffix string) string {
	return bm.Name + "-" + run.Name + "-" + string(name) + suffix
}

func makeJob(bm *v1alpha1.Benchmark, run *v1alpha1.RunStatus, name string, jobRun v1alpha1.JobRun, refs []component) *v1alpha1.SlurmJob {
	job := &v1alpha1.SlurmJob{
		ObjectMeta: childMeta(bm, run, name, ""),
		Spec:       v1alpha1.SlurmJobSpec{Site: bm.Spec.Site, Run: jobRun},
	}
	for _, ref := range refs {
		job.Spec.Components = append(job.Spec.Components, ref.object(bm))
	}
	return job
}

// component is a service or a client of the benchmark.
type component struct {
	kind string
	name v1alpha1.Name
}

func (c component) object(bm *v1alpha1.Benchmark) v1alpha1.ComponentReference {
	return v1alpha1.ComponentReference{Kind: c.kind, Name: childName(bm, c.name)}
}

// components are the services, then the clients, in the order of the spec.
func components(bm *v1alpha1.Benchmark) []component {
	var out []component
	for i := range bm.Spec.Services {
		out = append(out, component{reconcile.KindService, bm.Spec.Services[i].Name})
	}
	for i := range bm.Spec.Clients {
		out = append(out, component{reconcile.KindLoadClient, bm.Spec.Clients[i].Name})
	}
	return out
}

// childMeta is the metadata of a child: labels to find it by, and its owner.
func childMeta(bm *v1alpha1.Benchmark, run *v1alpha1.RunStatus, name, componentName string) metav1.ObjectMeta {
	labels := map[string]string{v1alpha1.LabelBenchmark: bm.Name, v1alpha1.LabelRun: run.Name}
	if componentName != "" {
		labels[v1alpha1.LabelComponent] = componentName
	}
	return metav1.ObjectMeta{
		Namespace: bm.Namespace, Name: name, Labels: labels,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(bm, v1alpha1.SchemeGroupVersion.WithKind(kindBenchmark))},
	}
}

const kindBenchmark = "Benchmark"

// services and clients are the objects of a run.
func services(bm *v1alpha1.Benchmark, run *v1alpha1.RunStatus) []*v1alpha1.Service {
	var out []*v1alpha1.Service
	for i := range bm.Spec.Services {
		s := &bm.Spec.Services[i]
		out = append(out, &v1alpha1.Service{
			ObjectMeta: childMeta(bm, run, childName(bm, s.Name), string(s.Name)),
			Spec:       v1alpha1.ServiceSpec{ServiceParameters: s.ServiceParameters, IdleTimeout: bm.Spec.IdleTimeout},
		})
	}
	return out
}

func clients(bm *v1alpha1.Benchmark, run *v1alpha1.RunStatus) []*v1alpha1.LoadClient {
	var out []*v1alpha1.LoadClient
	for i := range bm.Spec.Clients {
		c := &bm.Spec.Clients[i]
		object := &v1alpha1.LoadClient{
			ObjectMeta: childMeta(bm, run, childName(bm, c.Name), string(c.Name)),
			Spec:       v1alpha1.LoadClientSpec{ClientParameters: c.ClientParameters},
		}
		if c.Target.Service != "" {
			object.Spec.Target.Service = childName(bm, v1alpha1.Name(c.Target.Service))
		}
		out = append(out, object)
	}
	return out
}
