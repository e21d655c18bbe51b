package benchmark

import (
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/api/v1alpha1"
)

func TestWaves(t *testing.T) {
	type jobs [][]string
	for name, c := range map[string]struct {
		reason string
		change func(*v1alpha1.Benchmark)
		want   jobs
	}{
		"shared": {
			reason: "one allocation for all components and repeats",
			change: func(*v1alpha1.Benchmark) {},
			want:   jobs{{"bm-g1 r1+2 drop: bm-sim bm-load"}},
		},
		"separate": {
			reason: "an allocation for each component, that knows where the others are",
			change: func(bm *v1alpha1.Benchmark) { bm.Spec.Placement = v1alpha1.SeparateJobs },
			want: jobs{{
				"bm-g1-sim r1+2 drop: bm-sim | LoadClient bm-load in bm-g1-load",
				"bm-g1-load r1+2 drop: bm-load | Service bm-sim in bm-g1-sim",
			}},
		},
		"images of a registry": {
			reason: "they are pulled before, each once; what is a file of the site is not",
			change: func(bm *v1alpha1.Benchmark) {
				withImages(bm)
				bm.Spec.Repeats.Restart = v1alpha1.RestartJob
			},
			want: jobs{{"bm-g1.images r1+1: (docker://a/b:v1)"}, {"bm-g1-r1 r1+1 drop: bm-sim bm-again bm-file bm-load"}, {"bm-g1-r2 r2+1 drop: bm-sim bm-again bm-file bm-load"}},
		},
		"a job for each repeat": {
			reason: "each repeat has a job of its own, with its number; services are kept only after the last",
			change: func(bm *v1alpha1.Benchmark) {
				bm.Spec.Repeats.Restart, bm.Spec.Cleanup = v1alpha1.RestartJob, v1alpha1.Cleanup{Services: "Keep", Objects: "Keep"}
			},
			want: jobs{{"bm-g1-r1 r1+1: bm-sim bm-load"}, {"bm-g1-r2 r2+1 keep: bm-sim bm-load"}},
		},
		"separate jobs for each repeat": {
			reason: "peers are those of the same repeat",
			change: func(bm *v1alpha1.Benchmark) {
				bm.Spec.Placement, bm.Spec.Repeats.Restart = v1alpha1.SeparateJobs, v1alpha1.RestartJob
			},
			want: jobs{
				{"bm-g1-sim-r1 r1+1 drop: bm-sim | LoadClient bm-load in bm-g1-load-r1", "bm-g1-load-r1 r1+1 drop: bm-load | Service bm-sim in bm-g1-sim-r1"},
				{"bm-g1-sim-r2 r2+1 drop: bm-sim | LoadClient bm-load in bm-g1-load-r2", "bm-g1-load-r2 r2+1 drop: bm-load | Service bm-sim in bm-g1-sim-r2"},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			bm := underRun(c.change)
			var got jobs
			for _, w := range waves(bm, bm.Status.Run) {
				var names []string
				for _, j := range w {
					names = append(names, jobWords(j))
				}
				got = append(got, names)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func jobWords(j *v1alpha1.SlurmJob) string {
	run := j.Spec.Run
	out := j.Name + " r" + strconv.Itoa(int(run.FirstRepeat)) + "+" + strconv.Itoa(int(run.Repeats.Count))
	if run.KeepServices {
		out += " keep"
	}
	if run.DeleteObjects {
		out += " drop"
	}
	out += ":"
	for _, c := range j.Spec.Components {
		out += " " + c.Name
	}
	for _, img := range j.Spec.Images {
		out += " (" + img.URI + ")"
	}
	for _, p := range run.Peers {
		out += " | " + p.Kind + " " + p.Name + " in " + p.Job
	}
	return out
}

func TestSpecHash(t *testing.T) {
	base := specHash(benchmark())
	for name, c := range map[string]struct {
		reason string
		change func(*v1alpha1.Benchmark)
		same   bool
	}{
		"suspend": {"it may change during a run", func(bm *v1alpha1.Benchmark) { bm.Spec.Suspend = true }, true},
		"cleanup": {"it may change during a run", func(bm *v1alpha1.Benchmark) { bm.Spec.Cleanup.Services = "Keep" }, true},
		"labels":  {"only the spec counts", func(bm *v1alpha1.Benchmark) { bm.Labels = map[string]string{"a": "b"} }, true},
		"repeats": {"another experiment", func(bm *v1alpha1.Benchmark) { bm.Spec.Repeats.Count++ }, false},
		"slo":     {"another question", func(bm *v1alpha1.Benchmark) { bm.Spec.SLOs = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := specHash(benchmark(c.change)) == base; got != c.same {
				t.Errorf("%s: same %v", c.reason, got)
			}
		})
	}
}
