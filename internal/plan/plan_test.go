package plan_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares content with a file, or writes the file.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got); run with -update if that is meant:\n%s", name, diff)
	}
}

const (
	origin = "0123456789abcdef0123456789abcdef"
	uid    = "11111111-2222-3333-4444-555555555555"
)

func service() v1alpha1.Service {
	return v1alpha1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "demo-sim", Labels: map[string]string{v1alpha1.LabelComponent: "sim"}},
		Spec: v1alpha1.ServiceSpec{ServiceParameters: v1alpha1.ServiceParameters{
			LLMSim: &v1alpha1.LLMSimEngine{
				Model: "m", TTFT: v1alpha1.Latency{Mean: "30ms", Deviation: "3ms"}, ITL: v1alpha1.Latency{Mean: "4ms"},
				Faults: []v1alpha1.Fault{{Type: "RateLimit", Ratio: "0.01"}},
				Stall:  &v1alpha1.Stall{After: "5s", Length: "1s"},
			},
			Resources: v1alpha1.Resources{TimeLimit: "20m", GPUsPerNode: 2, Memory: "64Gi"},
			Metrics:   v1alpha1.Metrics{Targets: []v1alpha1.MetricTarget{{Name: "node", Port: 9100}}},
		}},
	}
}

func loadClient() v1alpha1.LoadClient {
	return v1alpha1.LoadClient{
		ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "demo-load", Labels: map[string]string{v1alpha1.LabelComponent: "load"}},
		Spec: v1alpha1.LoadClientSpec{ClientParameters: v1alpha1.ClientParameters{
			Target:     v1alpha1.Target{Service: "demo-sim"},
			Inference:  &v1alpha1.InferenceWorkload{InputTokens: v1alpha1.Tokens{Fixed: 32}, OutputTokens: v1alpha1.Tokens{Uniform: &v1alpha1.TokenRange{Min: 8, Max: 16}}},
			ClosedLoop: &v1alpha1.ClosedLoop{Concurrency: 8, ThinkTime: "137ms"},
			Instances:  2, Warmup: "30s", Duration: "2m",
			Abort: &v1alpha1.Abort{ErrorRatio: "0.5"},
		}},
	}
}

func input() plan.Input {
	return plan.Input{
		Job: &v1alpha1.SlurmJob{
			ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "demo-g1", UID: uid},
			Spec: v1alpha1.SlurmJobSpec{
				Site: "here",
				Run: v1alpha1.JobRun{
					Owner: "demo", Name: "g1", Seed: 7, IdleTimeout: "10m", TimeScale: "0.1", DeleteObjects: true,
					Repeats: v1alpha1.Repeats{Count: 3, Restart: v1alpha1.RestartProcess},
				},
				Components: []v1alpha1.ComponentReference{{Kind: "Service", Name: "demo-sim"}, {Kind: "LoadClient", Name: "demo-load"}},
			},
		},
		Site: &v1alpha1.Site{Spec: v1alpha1.SiteSpec{
			Modules:  []string{"env/release/2024.1"},
			Defaults: v1alpha1.SiteDefaults{Service: v1alpha1.Resources{Account: "p1", Partition: "gpu"}, Client: v1alpha1.Resources{Account: "p1", Partition: "cpu"}},
		}},
		Services: []v1alpha1.Service{service()}, Clients: []v1alpha1.LoadClient{loadClient()},
		Attempt: 2, Origin: origin, WorkDir: "/scratch/p1", Node: "/scratch/p1/bin/abc/assay-node",
	}
}

func TestMakeIsWhatTheGoldenFilesSay(t *testing.T) {
	out, err := plan.Make(input())
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "shared.plan.json", out.JSON)
	script, err := out.Script.Render(slurmbridge.Key(out.Plan.Key))
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "shared.job.sh", script)
	again, err := plan.Make(input())
	if err != nil || again.Hash != out.Hash {
		t.Errorf("the same input gave hash %s, then %s (%v)", out.Hash, again.Hash, err)
	}
	wantSecrets := []plan.Secret{{File: "secrets/sim", Name: "demo-sim-g1"}}
	if diff := cmp.Diff(wantSecrets, out.Secrets); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
	if strings.Contains(string(out.JSON), "demo-sim-g1") {
		t.Error("the plan names the Secret object: it is none of the node's business")
	}
}

func TestMakeGivesTheJobItsTimeToStop(t *testing.T) {
	cases := map[string]struct {
		reason string
		change func(*plan.Input)
		want   time.Duration
	}{
		"Default": {reason: "the server's 10s, then its files and the job's", change: func(*plan.Input) {}, want: 45 * time.Second},
		"Long":    {reason: "what the recipe asks for", change: func(in *plan.Input) { in.Services[0].Spec.StopTimeout = "60s" }, want: 95 * time.Second},
		"Client": {
			reason: "a client writes what it measured",
			change: func(in *plan.Input) {
				in.Job.Spec.Components = in.Job.Spec.Components[1:]
				in.Job.Spec.Run.Peers = []v1alpha1.PeerReference{{ComponentReference: v1alpha1.ComponentReference{Kind: "Service", Name: "demo-sim"}, Job: "demo-g1-sim"}}
			},
			want: 35 * time.Second,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := input()
			c.change(&in)
			out, err := plan.Make(in)
			if err != nil {
				t.Fatal(err)
			}
			if got := out.Script.KillWait; got != c.want {
				t.Errorf("kill wait %s, want %s: %s", got, c.want, c.reason)
			}
		})
	}
}

func TestMakeScalesPhasesAndNothingElse(t *testing.T) {
	out, err := plan.Make(input())
	if err != nil {
		t.Fatal(err)
	}
	c := out.Plan.Clients[0]
	got := map[string]time.Duration{
		"warmup": c.Warmup.D(), "duration": c.Duration.D(), "think": c.ClosedLoop.ThinkTime.D(), "timeout": c.TimeoutTotal.D(),
	}
	want := map[string]time.Duration{"warmup": 3 * time.Second, "duration": 12 * time.Second, "think": 137 * time.Millisecond, "timeout": time.Minute}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("time scale 0.1 (-want +got):\n%s", diff)
	}
}

func TestMakeOfSeparateJobsFindsPeersThroughTheirJobs(t *testing.T) {
	in := input()
	in.Job.Name = "demo-g1-load"
	in.Job.Spec.Components = []v1alpha1.ComponentReference{{Kind: "LoadClient", Name: "demo-load"}}
	in.Job.Spec.Run.Peers = []v1alpha1.PeerReference{{ComponentReference: v1alpha1.ComponentReference{Kind: "Service", Name: "demo-sim"}, Job: "demo-g1-sim"}}
	out, err := plan.Make(in)
	if err != nil {
		t.Fatal(err)
	}
	want := []rundir.Component{{Name: "sim", Job: "/scratch/p1/" + origin + "/lab/demo/g1/demo-g1-sim", Ranks: 1}}
	if diff := cmp.Diff(want, out.Plan.AllServices); diff != "" {
		t.Errorf("services (-want +got):\n%s", diff)
	}
	if len(out.Plan.Services) != 0 || len(out.Script.Parts) != 1 || out.Script.Parts[0].Partition != "cpu" {
		t.Errorf("a client's own job has %d services and parts %v", len(out.Plan.Services), out.Script.Parts)
	}
	// A Service of its own has a run of its own.
	in.Job.Spec.Run.Peers[0].Owner, in.Job.Spec.Run.Peers[0].Run = "service.demo-sim", "g4"
	if out, err = plan.Make(in); err != nil {
		t.Fatal(err)
	}
	if got, want := out.Plan.AllServices[0].Job, "/scratch/p1/"+origin+"/lab/service.demo-sim/g4/demo-g1-sim"; got != want {
		t.Errorf("peer of another owner: %s, want %s", got, want)
	}
	if got, want := out.Secrets, []plan.Secret{{File: "secrets/sim", Name: "demo-sim-g4"}}; !cmp.Equal(got, want) {
		t.Errorf("secrets of a peer of another owner: %v, want %v", got, want)
	}
}

// An inference client authenticates by a token and by nothing else.
func TestMakeSaysWhichSecretNeedsAToken(t *testing.T) {
	in := input()
	in.Clients[0].Spec.Target = v1alpha1.Target{URL: "http://host:8000", Credentials: &v1alpha1.SecretReference{Name: "mine"}}
	out, err := plan.Make(in)
	if err != nil {
		t.Fatal(err)
	}
	want := []plan.Secret{{File: "secrets/sim", Name: "demo-sim-g1"}, {File: "secrets/target.load", Name: "mine", Needs: plan.NeedsToken}}
	if diff := cmp.Diff(want, out.Secrets); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}

func TestMakeRefuses(t *testing.T) {
	cases := map[string]struct {
		reason   string
		spoil    func(*plan.Input)
		wantPath string
		wantErr  string
	}{
		"DeviationTooLarge": {
			reason:   "a cut-off normal distribution would bend",
			spoil:    func(in *plan.Input) { in.Services[0].Spec.LLMSim.ITL.Deviation = "2ms" },
			wantPath: "llmsim.itl.deviation", wantErr: "more than 30 %",
		},
		"FaultsAboveOne": {
			reason:   "shares of one whole",
			spoil:    func(in *plan.Input) { in.Services[0].Spec.LLMSim.Faults[0].Ratio = "1.5" },
			wantPath: "llmsim.faults[0].ratio", wantErr: "more than 1",
		},
		"TwoDependencies": {
			reason: "a job waits for one thing",
			spoil: func(in *plan.Input) {
				in.Services[0].Spec.Resources.Dependency, in.Clients[0].Spec.Resources.Dependency = "afterok:1", "afterok:2"
			},
			wantPath: "resources.dependency", wantErr: "name one",
		},
		"NoDuration": {
			reason:   "a measurement without length measures nothing",
			spoil:    func(in *plan.Input) { in.Clients[0].Spec.Duration = "0s" },
			wantPath: "duration", wantErr: "no length",
		},
		"AbortAboveOne": {
			reason:   "no window has more failures than requests",
			spoil:    func(in *plan.Input) { in.Clients[0].Spec.Abort.ErrorRatio = "2" },
			wantPath: "abort.errorRatio", wantErr: "at most 1",
		},
		"AbortWithoutWindow": {
			reason:   "a ratio is taken over some time",
			spoil:    func(in *plan.Input) { in.Clients[0].Spec.Abort.Window = "0s" },
			wantPath: "abort.window", wantErr: `"0s" has no length: use one such as 10s`,
		},
		"RateZero": {
			reason:   "it would never send",
			spoil:    func(in *plan.Input) { openLoop(in, "0.0") },
			wantPath: "openLoop.rate", wantErr: "not above 0 and at most 10000000",
		},
		"RateTooHigh": {
			reason:   "no client sends so much",
			spoil:    func(in *plan.Input) { openLoop(in, "10000000.5") },
			wantPath: "openLoop.rate", wantErr: "not above 0 and at most 10000000",
		},
		"ScrapesTooOften": {
			reason:   "a scrape would begin before the last one ended",
			spoil:    func(in *plan.Input) { in.Services[0].Spec.Metrics.Interval = "9.9ms" },
			wantPath: "metrics.interval", wantErr: `"9.9ms" is below 10ms`,
		},
		"ScrapesWithoutPause": {
			reason:   "no interval is none",
			spoil:    func(in *plan.Input) { in.Services[0].Spec.Metrics.Interval = "0s" },
			wantPath: "metrics.interval", wantErr: `"0s" is below 10ms`,
		},
		"URLWithoutHost": {
			reason:   "there is nobody to ask",
			spoil:    func(in *plan.Input) { in.Clients[0].Spec.Target = v1alpha1.Target{URL: "http://"} },
			wantPath: "target.url", wantErr: `"http://" names no server: use a URL such as http://host:8000`,
		},
		"URLWithOnlyAPort": {
			reason:   "a port of whom",
			spoil:    func(in *plan.Input) { in.Clients[0].Spec.Target = v1alpha1.Target{URL: "http://:8000/v1"} },
			wantPath: "target.url", wantErr: "names no server",
		},
		"URLThatIsNone": {
			reason:   "a port is a number",
			spoil:    func(in *plan.Input) { in.Clients[0].Spec.Target = v1alpha1.Target{URL: "http://host:http"} },
			wantPath: "target.url", wantErr: "names no server",
		},
		"URLWithAPassword": {
			reason:   "the plan and the result are no place for it",
			spoil:    func(in *plan.Input) { in.Clients[0].Spec.Target = v1alpha1.Target{URL: "http://bob:secret@host:9000"} },
			wantPath: "target.url", wantErr: "name a Secret in target.credentials",
		},
		"URLWithAPasswordThatIsNoURL": {
			reason:   "what cannot be read is not repeated either",
			spoil:    func(in *plan.Input) { in.Clients[0].Spec.Target = v1alpha1.Target{URL: "http://bob:100%@host"} },
			wantPath: "target.url", wantErr: "name a Secret in target.credentials",
		},
		"URLWithAQuery": {
			reason:   "a key in it would be published, and not sent",
			spoil:    func(in *plan.Input) { in.Clients[0].Spec.Target = v1alpha1.Target{URL: "http://host?key=secret"} },
			wantPath: "target.url", wantErr: "would not be sent: leave it out",
		},
		"URLOfS3WithAPath": {
			reason: "the node would refuse it once the job runs",
			spoil: func(in *plan.Input) {
				spec := &in.Clients[0].Spec
				spec.Inference, spec.S3 = nil, &v1alpha1.S3Workload{Size: v1alpha1.ObjectSize{Fixed: "1k"}}
				spec.Target = v1alpha1.Target{URL: "http://host:9000/bucket"}
			},
			wantPath: "target.url", wantErr: "name the endpoint alone, such as http://host:9000, and the bucket in s3.bucket",
		},
		"AuthorityThatIsNone": {
			reason: "a file of something else",
			spoil: func(in *plan.Input) {
				in.Clients[0].Spec.Target = v1alpha1.Target{URL: "https://host", CA: "-----BEGIN CERTIFICATE-----"}
			},
			wantPath: "target.ca", wantErr: "it holds no certificate in PEM",
		},
		"TargetMissing": {
			reason:   "a client without its service cannot start",
			spoil:    func(in *plan.Input) { in.Clients[0].Spec.Target.Service = "nobody" },
			wantPath: "target.service", wantErr: `"nobody" does not exist`,
		},
		"TargetOfTheEngine": {
			reason:   "the engine scrapes its server under this name: both would write its samples, and its counters would be doubled",
			spoil:    func(in *plan.Input) { in.Services[0].Spec.Metrics.Targets[0].Name = "server" },
			wantPath: "metrics.targets[0].name", wantErr: `there is a target "server" already, of llmsim itself or above: take another name`,
		},
		"Memory": {
			reason:   "admission checks the form only",
			spoil:    func(in *plan.Input) { in.Services[0].Spec.Resources.Memory = "much" },
			wantPath: "resources.memory", wantErr: "64Gi",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := input()
			c.spoil(&in)
			_, err := plan.Make(in)
			var field *v1alpha1.FieldError
			if !errors.As(err, &field) {
				t.Fatalf("%s: got %v, want a FieldError", c.reason, err)
			}
			if field.Path != c.wantPath || !strings.Contains(field.Err.Error(), c.wantErr) {
				t.Errorf("%s: got %s, want path %s and words %q", c.reason, field, c.wantPath, c.wantErr)
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "100%") {
				t.Errorf("%s: the message repeats the password: %s", c.reason, err)
			}
		})
	}
}

func openLoop(in *plan.Input, rate v1alpha1.Decimal) {
	in.Clients[0].Spec.ClosedLoop, in.Clients[0].Spec.OpenLoop = nil, &v1alpha1.OpenLoop{Rate: rate}
}

// The greatest and the least that the node takes are taken.
func TestMakeTakesTheBounds(t *testing.T) {
	in := input()
	openLoop(&in, "10000000")
	in.Services[0].Spec.Metrics.Interval = "10ms"
	in.Clients[0].Spec.Abort.Window = "1ms"
	if _, err := plan.Make(in); err != nil {
		t.Error(err)
	}
}

func benchmark() *v1alpha1.Benchmark {
	bm := &v1alpha1.Benchmark{Spec: v1alpha1.BenchmarkSpec{Repeats: v1alpha1.Repeats{Count: 3, Restart: v1alpha1.RestartProcess}}}
	s, c := service(), loadClient()
	bm.Spec.Services = []v1alpha1.BenchmarkService{{Name: "sim", ServiceParameters: s.Spec.ServiceParameters}}
	c.Spec.Target.Service = "sim"
	bm.Spec.Clients = []v1alpha1.BenchmarkClient{{Name: "load", ClientParameters: c.Spec.ClientParameters}}
	return bm
}

func TestCheckShowsTheArithmeticOfTimes(t *testing.T) {
	problems := plan.Check(benchmark(), nil)
	if len(problems) != 1 {
		t.Fatalf("got %v, want one problem", problems)
	}
	want := "spec.services[0].resources.timeLimit: the job may take 26m0s (3 × readiness 15m0s + 3 × warm-up 1m30s + " +
		"3 × measurement 6m0s + 3 × drain 3m0s + 3 × stop 30s), which is more than its time limit 20m0s: " +
		"raise the limit, or lower readiness.timeout, duration or repeats.count"
	if diff := cmp.Diff(want, problems[0].Error()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	bm := benchmark()
	bm.Spec.Services[0].Resources.TimeLimit = "30m"
	if problems := plan.Check(bm, nil); len(problems) != 0 {
		t.Errorf("a limit of 30m holds 26m, got %v", problems)
	}
}

// The limit that counts is the one that the job gets: with one job for all, the greatest. The run takes 26 minutes.
func TestCheckComparesWithTheLimitOfTheJob(t *testing.T) {
	const service, client = "spec.services[0].resources.timeLimit", "spec.clients[0].resources.timeLimit"
	for name, tc := range map[string]struct {
		service, client, fallback v1alpha1.Duration
		placement                 v1alpha1.Placement
		want                      []string
	}{
		"nobody asks for a limit":         {},
		"only the client's, and too low":  {client: "1m", want: []string{client}},
		"the client's holds for both":     {service: "10m", client: "2h"},
		"the service's holds for both":    {service: "2h", client: "1m"},
		"both too low, the greater named": {service: "10m", client: "20m", want: []string{client}},
		"the site's":                      {fallback: "5m", want: []string{service}},
		"separate jobs, each its own":     {service: "10m", client: "2h", placement: v1alpha1.SeparateJobs, want: []string{service}},
		"separate jobs, both too low":     {service: "10m", client: "1m", placement: v1alpha1.SeparateJobs, want: []string{service, client}},
	} {
		t.Run(name, func(t *testing.T) {
			bm := benchmark()
			bm.Spec.Placement = tc.placement
			bm.Spec.Services[0].Resources.TimeLimit, bm.Spec.Clients[0].Resources.TimeLimit = tc.service, tc.client
			site := &v1alpha1.Site{}
			site.Spec.Defaults.Service.TimeLimit = tc.fallback
			var got []string
			for _, p := range plan.Check(bm, site) {
				if field, ok := errors.AsType[*v1alpha1.FieldError](p); ok && strings.Contains(p.Error(), "26m0s") {
					got = append(got, field.Path)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckNamesTheFieldFromTheTop(t *testing.T) {
	bm := benchmark()
	bm.Spec.Clients[0].Abort.ErrorRatio = "0"
	bm.Spec.Services[0].LLMSim.Slowdown = "0.5"
	var paths []string
	for _, p := range plan.Check(bm, nil) {
		if field, ok := errors.AsType[*v1alpha1.FieldError](p); ok {
			paths = append(paths, field.Path)
		}
	}
	want := []string{"spec.services[0].llmsim.slowdown", "spec.clients[0].abort.errorRatio"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// What the node refuses is never handed in. Admission refuses all of it, but for an object of an older release.
func TestMakeRefusesWhatTheNodeRefuses(t *testing.T) {
	cases := map[string]struct {
		reason string
		spoil  func(*plan.Input)
		want   string
	}{
		"Dots":     {"a name is a folder", func(in *plan.Input) { in.Services[0].Labels[v1alpha1.LabelComponent] = "my.server" }, `plan of demo-g1: component "my.server"`},
		"Secrets":  {"the attempt has a folder of that name", func(in *plan.Input) { in.Clients[0].Labels[v1alpha1.LabelComponent] = "secrets" }, `component "secrets"`},
		"SameName": {"two components in one folder", func(in *plan.Input) { in.Clients[0].Labels[v1alpha1.LabelComponent] = "sim" }, "component sim stands twice"},
		"NoCommand": {"there is nothing to start", func(in *plan.Input) {
			in.Services[0].Spec.LLMSim, in.Services[0].Spec.Command = nil, &v1alpha1.CommandEngine{}
		}, "service sim: no command"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			in := input()
			c.spoil(&in)
			if out, err := plan.Make(in); err == nil || !strings.Contains(err.Error(), c.want) || out.JSON != nil {
				t.Errorf("%s: got %v, want %q in it, and no plan", c.reason, err, c.want)
			}
		})
	}
}

func TestThePlanIsOneThatTheNodeReads(t *testing.T) {
	out, err := plan.Make(input())
	if err != nil {
		t.Fatal(err)
	}
	back, err := rundir.ParsePlan(out.JSON)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&out.Plan, back); diff != "" {
		t.Errorf("the plan changes on its way through JSON (-want +got):\n%s", diff)
	}
}
