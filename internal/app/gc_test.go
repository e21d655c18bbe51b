package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/site"
	"assay.bench/internal/app/state"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/cli"
	"assay.bench/slurmbridge/local"
	"assay.bench/slurmbridge/sim"
)

// quick is gc without long waits.
func quick(opts gcOptions) gcOptions {
	opts.watch, opts.pace = 10*time.Millisecond, 20*time.Millisecond
	return opts
}

// A dead run's jobs on this host are listed, and end when somebody agrees.
func TestGCEndsLocalJobs(t *testing.T) {
	home := t.TempDir()
	f := created(t, home, state.Info{Kind: state.KindRun, Benchmarks: []string{"ns/bm"}})
	end := job(t, f)
	list := func() string {
		t.Helper()
		o, said := at(home, "")
		if err := listJobs(t.Context(), o, jobsOptions{format: formatText}); err != nil {
			t.Fatal(err)
		}
		return said.String()
	}
	if got := list(); !strings.Contains(got, f.Short()+"  run, dead      local  L1   assay-"+f.Short()) || !strings.Contains(got, "RUNNING") {
		t.Fatalf("assay jobs says\n%s", got)
	}
	for _, step := range []struct {
		reason, answer string
		asks           bool
		opts           gcOptions
		words, err     string
		live           bool
	}{
		{"only showing ends nothing", "y\n", true, gcOptions{dryRun: true}, "its state " + f.Path + " stays, for its results are not collected: assay attach " + f.Short(), "", true},
		{"there is nobody to ask", "y\n", false, gcOptions{}, "L1", "give --yes", true},
		{"an empty answer is no", "\n", true, gcOptions{}, "nothing was ended", "", true},
		{"another one's digits", "", true, gcOptions{origin: "zz", yes: true}, "", `no control plane begins with "zz"`, true},
		{"yes is yes", "y\n", true, gcOptions{origin: f.Short()[:6]}, "job L1 at local is gone", "", false},
	} {
		o, said := at(home, step.answer)
		o.Asks = step.asks
		err := gc(t.Context(), o, quick(step.opts))
		if (err != nil) != (step.err != "") || err != nil && !strings.Contains(err.Error(), step.err) || !strings.Contains(said.String(), step.words) {
			t.Errorf("%s: error %v, and it says\n%s", step.reason, err, said)
		}
		if jobs, err := liveJobs(t.Context(), f); err != nil || (len(jobs) > 0) != step.live {
			t.Errorf("%s: %d jobs live, %v", step.reason, len(jobs), err)
		}
	}
	if !fileExists(f.Path) {
		t.Error("results that nobody collected are gone")
	}
	if got := list(); strings.Contains(got, "L1") {
		t.Errorf("the job is still listed:\n%s", got)
	}
	end() // as long as its record is there
	if _, err := f.Change(func(i *state.Info) { i.Collected, i.Output = true, "/results" }); err != nil {
		t.Fatal(err)
	}
	o, said := at(home, "")
	if err := gc(t.Context(), o, quick(gcOptions{yes: true})); err != nil || fileExists(f.Path) || !strings.Contains(said.String(), "its results are in /results") {
		t.Errorf("the state of no more use: %v, and it says\n%s", err, said)
	}
}

// The control plane that lives is refused, and so are its jobs.
func TestGCLeavesTheLivingAlone(t *testing.T) {
	home := t.TempDir()
	f := created(t, home, state.Info{Kind: state.KindRun, Collected: true})
	lock, err := f.Hold(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	job(t, f)
	o, said := at(home, "")
	if err := gc(t.Context(), o, quick(gcOptions{yes: true})); err != nil || !strings.Contains(said.String(), "no dead control plane") {
		t.Errorf("without a name: %v\n%s", err, said)
	}
	if err := gc(t.Context(), o, quick(gcOptions{yes: true, origin: f.Short()})); err == nil || !strings.Contains(err.Error(), "it is alive: end it where it runs") {
		t.Errorf("by its name: %v", err)
	}
	one := &origin{short: f.Short(), full: f.Info.Origin, life: dead, folder: &f} // it was dead when it was looked at
	if err := quick(gcOptions{}).end(t.Context(), o, one); err == nil || !strings.Contains(err.Error(), "it lives again") {
		t.Errorf("taken up since: %v", err)
	}
	if jobs, err := liveJobs(t.Context(), f); err != nil || len(jobs) != 1 || !fileExists(f.Path) {
		t.Errorf("%d of its jobs live, %v", len(jobs), err)
	}
}

// abroad is a site with the jobs and marks of many control planes.
type abroad struct {
	t       *testing.T
	o       *OS
	said    *bytes.Buffer
	cluster *sim.Cluster
	workDir string
	sites   []*sim.Site
}

const abroadNode = "/work/bin/assay-node"

func newAbroad(t *testing.T) *abroad {
	o, said := at(t.TempDir(), "")
	o.Host, o.Env = "login1", os.Getenv
	a := &abroad{t: t, o: o, said: said, cluster: sim.New(sim.Options{Nodes: 64}), workDir: filepath.Join(t.TempDir(), "it's")}
	a.cluster.Program(abroadNode, sim.Program{Takes: time.Hour})
	return a
}

// origin makes a control plane with a job, and a mark unless there is none.
func (a *abroad) origin(digits string, mark *site.Origin) {
	a.t.Helper()
	full := strings.Repeat(digits, 32/len(digits))
	s := a.cluster.Site(full)
	a.sites = append(a.sites, s)
	key := slurmbridge.NewKey(full, full, 1)
	script := slurmbridge.Script{Directory: "/work/" + full + "/1", Node: abroadNode, Parts: []slurmbridge.Part{{Nodes: 1}}}
	if err := s.Submit(a.t.Context(), key, script); err != nil {
		a.t.Fatal(err)
	}
	jobs, err := s.Find(a.t.Context(), key)
	if err != nil || len(jobs) != 1 {
		a.t.Fatalf("%v, %v", jobs, err)
	}
	if err := s.Release(a.t.Context(), jobs[0].ID); err != nil {
		a.t.Fatal(err)
	}
	if mark != nil {
		mark.Origin = full
		a.write(*mark)
	}
}

func (a *abroad) write(m site.Origin) {
	a.t.Helper()
	b, err := json.Marshal(m)
	file := site.OriginFile(a.workDir, m.Origin)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(file), 0o700)
	}
	if err == nil {
		err = os.WriteFile(file, append(b, '\n'), 0o600)
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

// here makes the state of a control plane of this host, which a process holds or not, and returns its mark.
func (a *abroad) here(digits string, hold bool, counter int64) *site.Origin {
	a.t.Helper()
	f := state.Folder{Path: filepath.Join(a.t.TempDir(), "assay", strings.Repeat(digits, 4)), Info: state.Info{Origin: strings.Repeat(digits, 16), Kind: state.KindRun}}
	if err := os.MkdirAll(f.Path, 0o700); err != nil {
		a.t.Fatal(err)
	}
	if err := f.Save(); err != nil {
		a.t.Fatal(err)
	}
	if hold {
		lock, err := f.Hold(time.Now())
		if err != nil {
			a.t.Fatal(err)
		}
		a.t.Cleanup(func() { _ = lock.Close() })
	}
	return &site.Origin{User: "me", Host: "login1", StateFolder: f.Path, Counter: counter}
}

// everyJob is a simulated cluster as one user sees it.
type everyJob struct {
	*sim.Site
	of *abroad
}

func (e everyJob) All(ctx context.Context) ([]slurmbridge.Job, error) {
	var out []slurmbridge.Job
	for _, s := range e.of.sites {
		jobs, err := s.List(ctx)
		if err != nil {
			return nil, err
		}
		out = append(out, jobs...)
	}
	return out, nil
}

// look is what assay jobs and assay gc find there.
func (a *abroad) look() *survey {
	a.t.Helper()
	r := &reach{name: "meluxina", workDir: a.workDir, runner: cli.Local{Env: a.o.Env}, close: func() {}}
	r.jobs = func(_ context.Context, origin string) (everybody, error) {
		return everyJob{a.cluster.Site(origin), a}, nil
	}
	got := answer{name: r.name, reach: r}
	var err error
	if got.marks, err = r.marks(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
	if got.jobs, err = (everyJob{of: a}).All(a.t.Context()); err != nil {
		a.t.Fatal(err)
	}
	s := &survey{}
	s.add(a.o, got)
	return s
}

// running are the digits of the control planes whose job lives.
func (a *abroad) running() []string {
	a.t.Helper()
	var out []string
	for _, s := range a.sites {
		jobs, err := s.List(a.t.Context())
		if err != nil {
			a.t.Fatal(err)
		}
		if countLive(jobs) > 0 {
			out = append(out, jobs[0].Key.Origin()[:2])
		}
	}
	return out
}

// marked are the digits of the control planes whose mark is there.
func (a *abroad) marked() []string {
	a.t.Helper()
	marks, err := filepath.Glob(filepath.Join(a.workDir, ".origins", "*"))
	if err != nil {
		a.t.Fatal(err)
	}
	for i := range marks {
		marks[i] = filepath.Base(marks[i])[:2]
	}
	return marks
}

// Of all that a user has at a site, only what is dead ends.
func TestGCAtASite(t *testing.T) {
	a := newAbroad(t)
	now := time.Now().Unix()
	a.origin("a1", a.here("a1", false, now))                                                  // killed here a moment ago
	a.origin("a2", a.here("a2", true, now))                                                   // lives here
	a.origin("b1", &site.Origin{User: "me", Host: "laptop", Counter: now})                    // lives there
	a.origin("b2", &site.Origin{User: "me", Host: "laptop", Counter: now - 3600})             // silent there
	a.origin("b3", &site.Origin{User: "me", Host: "laptop", Counter: now - 3600})             // comes back
	a.origin("b4", &site.Origin{User: "me", Host: "login1", StateFolder: "/x", Counter: now}) // another host of this name
	a.origin("c1", nil)                                                                       // whose?
	s := a.look()
	want := map[string]string{
		"a1": "me@login1, dead", "a2": "me@login1, alive", "b1": "me@laptop, alive", "b2": "me@laptop, silent for 1h0m", "b3": "me@laptop, silent for 1h0m",
		"b4": "me@login1, alive", "c1": "unknown",
	}
	got := map[string]string{}
	for _, r := range rowsOf(s.origins, false) {
		got[r.Origin[:2]] = r.ControlPlane
		if r.Site != "meluxina" || r.State != "RUNNING" {
			t.Errorf("%+v", r)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("assay jobs (-want +got):\n%s", diff)
	}
	for digits, words := range map[string]string{"a2": "it is alive", "b1": "it is alive", "b4": "it is alive", "c1": "nothing tells whose its jobs are"} {
		if _, err := (gcOptions{origin: digits}).choose(s.origins); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("gc --origin %s: %v, want %q", digits, err, words)
		}
	}
	list, err := gcOptions{}.choose(s.origins)
	if err != nil || len(list) != 3 {
		t.Fatalf("chosen: %+v, %v", list, err)
	}
	a.write(site.Origin{Origin: strings.Repeat("b3", 16), User: "me", Host: "laptop", Counter: now - 3500})
	for _, one := range list {
		err := quick(gcOptions{}).end(t.Context(), a.o, one)
		if back := one.short[:2] == "b3"; (err != nil) != back || back && !strings.Contains(err.Error(), "it lives on laptop") {
			t.Errorf("%s: %v", one.short, err)
		}
	}
	if diff := cmp.Diff([]string{"a2", "b1", "b3", "b4", "c1"}, a.running()); diff != "" {
		t.Errorf("jobs that live (-want +got):\n%s\n%s", diff, a.said)
	}
	if diff := cmp.Diff([]string{"a2", "b1", "b3", "b4"}, a.marked()); diff != "" {
		t.Errorf("marks that stay (-want +got):\n%s", diff)
	}
}

// A control plane whose mark stands still and whose jobs hear from it lives: something keeps it from that one file.
func TestGCLeavesOneThatTellsItsJobs(t *testing.T) {
	a := newAbroad(t)
	long := time.Now().Unix() - 3600
	a.origin("b1", &site.Origin{User: "me", Host: "laptop", Counter: long})
	a.origin("b2", &site.Origin{User: "me", Host: "laptop", Counter: long})
	tell := func(digits string, sequence int64) {
		slurmJob := &v1alpha1.SlurmJob{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "bench-g1"}}
		slurmJob.Spec.Run = v1alpha1.JobRun{Owner: "bench", Name: "g1"}
		dir := plan.AttemptDirectory(slurmJob, a.workDir, strings.Repeat(digits, 16), 1)
		content, err := json.Marshal(rundir.Control{Version: rundir.Version, Sequence: sequence, Want: rundir.WantRun})
		if err == nil {
			err = (local.Files{}).Write(t.Context(), map[string][]byte{filepath.Join(dir, rundir.ControlFile): append(content, '\n')})
		}
		if err != nil {
			t.Error(err)
		}
	}
	tell("b1", 1)
	tell("b2", 1)
	list, err := gcOptions{}.choose(a.look().origins)
	if err != nil || len(list) != 2 {
		t.Fatalf("chosen: %+v, %v", list, err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var telling sync.WaitGroup
	telling.Go(func() {
		for sequence := int64(2); ctx.Err() == nil; sequence++ {
			tell("b1", sequence)
		}
	})
	for _, one := range list {
		err := quick(gcOptions{}).end(t.Context(), a.o, one)
		if lives := one.short[:2] == "b1"; (err != nil) != lives || lives && !strings.Contains(err.Error(), "it lives on laptop: it writes no mark") {
			t.Errorf("%s: %v", one.short, err)
		}
	}
	stop()
	telling.Wait()
	if diff := cmp.Diff([]string{"b1"}, a.running()); diff != "" {
		t.Errorf("jobs that live (-want +got):\n%s\n%s", diff, a.said)
	}
}

// Two control planes whose ids begin alike cannot be told apart by the names of their jobs.
func TestGCDoubt(t *testing.T) {
	a := newAbroad(t)
	a.origin("a1", &site.Origin{Host: "laptop"})
	a.write(site.Origin{Origin: "a1a1a1a1" + strings.Repeat("0", 24), Host: "laptop", Counter: time.Now().Unix()})
	_, err := gcOptions{origin: "a1"}.choose(a.look().origins)
	if err == nil || !strings.Contains(err.Error(), "have the same first digits") {
		t.Errorf("error %v", err)
	}
}

func TestSitesOfAPlane(t *testing.T) {
	home := t.TempDir()
	f := created(t, home, state.Info{Kind: state.KindUp, Context: "lab"})
	slurm := func(host string) state.Site {
		return state.Site{Namespace: "default", Name: "m", Spec: json.RawMessage(fmt.Sprintf(`{"jobs":{"ssh":{"host":%q}},"workDir":"/w"}`, host))}
	}
	for _, s := range []state.Site{slurm("old"), {Namespace: "default", Name: "l", Spec: json.RawMessage(`{"jobs":{"local":{}}}`)}, slurm("new")} {
		if err := f.AddSite(s); err != nil {
			t.Fatal(err)
		}
	}
	f, err := state.Open(f.Path)
	if err != nil {
		t.Fatal(err)
	}
	sites := sitesOf(&OS{}, f)
	if len(sites) != 1 || sites[0].spec.Jobs.SSH.Host != "new" || sites[0].spec.WorkDir != "/w" {
		t.Errorf("%+v, want the one of the batch system, as it was last", sites)
	}
	s := &survey{origins: []*origin{{short: f.Short(), full: f.Info.Origin, life: dead, folder: &f}}}
	door, err := sites[0].sameDoor()
	if err != nil {
		t.Fatal(err)
	}
	s.troubles = []trouble{{Site: "other name", door: door}}
	if got := s.unasked(sites); len(got) != 1 || got[0] != "m" {
		t.Errorf("unasked %v, want the Site of the door that is in trouble", got)
	}
	if got := distinct(slices.Concat(sites, sites)); len(got) != 1 {
		t.Errorf("%d places, want one", len(got))
	}
}

func TestParseMarks(t *testing.T) {
	good := `{"origin":"0123abcd","user":"u","host":"h","counter":7}`
	for reason, tt := range map[string]struct {
		text string
		want int
		bad  bool
	}{
		"no folder":               {"", 0, false},
		"no mark":                 {"1700000000\n", 0, false},
		"an empty line between":   {"1700000000\n" + good + "\n\n" + good + "\n", 2, false},
		"a broken one hides none": {"1700000000\n{\"origin\n" + good + "\n{\"origin\":\"../../x\"}\n", 1, false},
		"no clock":                {"sh: date: not found\n" + good, 0, true},
	} {
		got, err := parseMarks([]byte(tt.text))
		if len(got.list) != tt.want || (err != nil) != tt.bad {
			t.Errorf("%s: %+v, %v", reason, got, err)
		}
	}
}

// FuzzParseMarks: whatever a site prints, an origin is nothing but digits: it becomes a path.
func FuzzParseMarks(f *testing.F) {
	f.Add([]byte("1700000000\n{\"origin\":\"0123abcd\",\"counter\":7}\n"))
	f.Add([]byte("1700000000\n{\"origin\":\"../0123abcd\"}\n{\"origin\":[]}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := parseMarks(text)
		for _, m := range got.list {
			if err != nil || strings.Trim(m.Origin, "0123456789abcdef-") != "" || len(slurmbridge.Origin8(m.Origin)) != 8 {
				t.Errorf("origin %q, %v", m.Origin, err)
			}
		}
	})
}
