package app

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/site"
	"assay.bench/internal/app/state"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/local"
)

// at is a person in a home folder of their own, who answers questions with a line.
func at(home, line string) (o *OS, said *bytes.Buffer) {
	said = &bytes.Buffer{}
	return &OS{
		Env: func(string) string { return "" }, Home: home, UID: os.Getuid(), Now: time.Now,
		Stdin: strings.NewReader(line), Stdout: said, Stderr: said,
	}, said
}

// job starts a real process as a local job of a control plane and returns how it is ended.
func job(t *testing.T, f state.Folder) (end func()) {
	t.Helper()
	host, err := local.Open(local.Options{StateDir: f.Jobs(), Origin: f.Info.Origin})
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(f.Work(), f.Info.Origin, "ns", "bm", "g1", "bm-g1", "1")
	node := filepath.Join(f.Path, "node")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(node, []byte("#!/bin/sh\nexec sleep 1000\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	key := slurmbridge.NewKey(f.Info.Origin, "00000000-0000-0000-0000-000000000001", 1)
	ctx := context.Background()
	if err := host.Submit(ctx, key, slurmbridge.Script{Directory: dir, Node: node, Parts: []slurmbridge.Part{{}}}); err != nil {
		t.Fatal(err)
	}
	await := func(what string, met func(slurmbridge.Job) bool) slurmbridge.Job {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-time.After(20 * time.Millisecond) {
			jobs, err := host.Find(ctx, key)
			if err != nil {
				t.Fatal(err)
			}
			if len(jobs) == 1 && met(jobs[0]) {
				return jobs[0]
			}
		}
		t.Fatalf("the job is not %s", what)
		return slurmbridge.Job{}
	}
	id := await("there", func(slurmbridge.Job) bool { return true }).ID
	if err := host.Release(ctx, id); err != nil {
		t.Fatal(err)
	}
	await("running", func(j slurmbridge.Job) bool { return j.Phase == slurmbridge.Running })
	end = sync.OnceFunc(func() {
		// As a controller does: ask again until the job is seen to be over.
		await("over", func(j slurmbridge.Job) bool {
			if !j.Over() {
				if err := host.Cancel(ctx, id); err != nil {
					t.Error(err)
				}
			}
			return j.Over()
		})
	})
	t.Cleanup(end)
	return end
}

// created is a control plane of the person whose home it is.
func created(t *testing.T, home string, info state.Info) state.Folder {
	t.Helper()
	info.Created = time.Now()
	f, err := state.Create(filepath.Join(home, ".local", "state", "assay"), info)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestPruneNeverTouchesALiveJob(t *testing.T) {
	home := t.TempDir()
	f := created(t, home, state.Info{Kind: state.KindRun, Benchmarks: []string{"ns/bm"}, Collected: true})
	end := job(t, f)
	root := filepath.Dir(f.Path)
	before := below(t, root)
	o, said := at(home, "")
	if err := prune(t.Context(), o, pruneOptions{yes: true, uncollected: true}); err != nil {
		t.Fatal(err)
	}
	if err := removeState(t.Context(), o, f); err == nil || !strings.Contains(err.Error(), "1 of its jobs live, the first is L1") {
		t.Errorf("the state of a job that lives: %v, want that it stays", err)
	}
	if got := below(t, root); len(got) < len(before) || !strings.Contains(said.String(), "nothing to remove") {
		t.Fatalf("a live job may still write, and was pruned: %v\n%s", got, said)
	}
	end()
	for _, step := range []struct {
		reason string
		opts   pruneOptions
		answer string
		words  string
		gone   bool
	}{
		{"an empty answer is no", pruneOptions{}, "\n", "nothing was removed", false},
		{"the end of the input is no", pruneOptions{}, "", "nothing was removed", false},
		{"only showing removes nothing", pruneOptions{dryRun: true}, "y\n", "state of a dead assay run of ns/bm", false},
		{"what is younger stays", pruneOptions{yes: true, olderThan: time.Hour}, "", "nothing to remove", false},
		{"yes is yes", pruneOptions{}, "y\n", "Remove these 1 folders", true},
	} {
		o, said := at(home, step.answer)
		if err := prune(t.Context(), o, step.opts); err != nil {
			t.Fatal(err)
		}
		if gone := !fileExists(f.Path); gone != step.gone || !strings.Contains(said.String(), step.words) {
			t.Errorf("%s: gone is %t, and it says\n%s", step.reason, gone, said)
		}
	}
}

// ran makes the folder of a run of a standing control plane and returns its path.
func ran(t *testing.T, f state.Folder, owner string, files map[string]string) string {
	t.Helper()
	path := filepath.Join(f.Work(), f.Info.Origin, "default", owner, "g1")
	if err := os.MkdirAll(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(path, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return path
}

// Results that nobody has are only removed by who says so.
func TestPruneKeepsWhatWasNotCollected(t *testing.T) {
	home := t.TempDir()
	detached := created(t, home, state.Info{Kind: state.KindRun, Benchmarks: []string{"ns/bm"}})
	copied := created(t, home, state.Info{Kind: state.KindRun, Benchmarks: []string{"ns/bm"}, Collected: true})
	checked := created(t, home, state.Info{Kind: state.KindRun})
	up := created(t, home, state.Info{Kind: state.KindUp, Context: "lab"})
	merged := ran(t, up, "merged", map[string]string{"run.json": `{"version": 1, "kind": "Benchmark"}`, "result.json": "{}"})
	left := ran(t, up, "left", map[string]string{"run.json": `{"version": 1, "kind": "Benchmark"}`})
	unknown := ran(t, up, "unknown", nil)
	served := ran(t, up, "service.web", map[string]string{"run.json": `{"version": 1, "kind": "Service"}`})

	loaded := ran(t, up, "loadclient.users", map[string]string{"run.json": `{"version": 1, "kind": "LoadClient"}`})

	there := func() (out []string) {
		for name, path := range map[string]string{
			"detached": detached.Path, "copied": copied.Path, "checked": checked.Path, "merged": merged, "left": left, "unknown": unknown, "served": served, "loaded": loaded, "up": up.Path,
		} {
			if fileExists(path) {
				out = append(out, name)
			}
		}
		slices.Sort(out)
		return out
	}
	for _, step := range []struct {
		opts  pruneOptions
		words []string
		want  []string
	}{
		{
			pruneOptions{yes: true},
			[]string{
				"of ns/bm, not yet collected: assay attach " + detached.Short() + ")", left + "  (an ended run of assay up lab, perhaps not yet collected: assay up --context lab, then assay prune again)",
				loaded + "  (an ended run of assay up lab, perhaps not yet collected: assay up --context lab, then assay prune again)",
				unknown + "  (an ended run of assay up lab, it has no run.json that tells whose it is: see what is in it)",
				"assay: 4 of these stay, for their results may not be collected yet", "--uncollected",
			},
			[]string{"detached", "left", "loaded", "unknown", "up"},
		},
		{pruneOptions{yes: true}, []string{"nothing to remove"}, []string{"detached", "left", "loaded", "unknown", "up"}},
		{pruneOptions{dryRun: true, uncollected: true}, []string{detached.Path}, []string{"detached", "left", "loaded", "unknown", "up"}},
		{pruneOptions{yes: true, uncollected: true}, nil, []string{"up"}},
	} {
		o, said := at(home, "")
		if err := prune(t.Context(), o, step.opts); err != nil {
			t.Fatal(err)
		}
		for _, w := range step.words {
			if !strings.Contains(said.String(), w) {
				t.Errorf("%+v does not say %q:\n%s", step.opts, w, said)
			}
		}
		if diff := cmp.Diff(step.want, there()); diff != "" {
			t.Errorf("%+v: left (-want +got):\n%s", step.opts, diff)
		}
	}
}

// Nobody collects for what is gone: only a control plane that is up can tell, and then that may go.
func TestPruneAsksForTheOwner(t *testing.T) {
	withPlane(t, func(p *plane) {
		made, err := p.accept(t.Context(), objects(t, aBenchmark, aService, aClient))
		if err != nil {
			t.Fatal(err)
		}
		uids := map[string]types.UID{}
		for _, o := range made {
			uids[o.GetName()] = o.GetUID()
		}
		record := func(kind, name string, uid types.UID) map[string]string {
			return map[string]string{"run.json": fmt.Sprintf(`{"version": 1, "kind": %q, "namespace": "default", "name": %q, "uid": %q}`, kind, name, uid)}
		}
		up := p.folder
		up.Info.Kind, up.Info.Context = state.KindUp, "lab"
		ran(t, up, "one", record("Benchmark", "one", uids["one"]))
		ran(t, up, "service.web", record("Service", "web", uids["web"]))
		ran(t, up, "loadclient.users", record("LoadClient", "users", uids["users"]))
		again := ran(t, up, "again", record("Benchmark", "one", "of-another-one"))
		deleted := ran(t, up, "loadclient.no", record("LoadClient", "no", "some"))
		unserved := ran(t, up, "service.no", record("Service", "no", "some"))
		ran(t, up, "unknown", nil)
		expect := func(reason string, want ...string) {
			t.Helper()
			found, err := leftovers(t.Context(), up, true)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, l := range found {
				got = append(got, l.path+" "+l.what+l.keep)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", reason, diff)
			}
		}
		gone := []string{
			again + " an ended run of assay up lab whose Benchmark default/one is gone",
			deleted + " an ended run of assay up lab whose LoadClient default/no is gone",
			unserved + " an ended run of assay up lab whose Service default/no is gone",
		}
		expect("what is there is under way, for all that is known", gone...)
		var load v1alpha1.LoadClient
		if _, err := exists(t.Context(), p.client, &load, "default", "users"); err != nil {
			t.Fatal(err)
		}
		load.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue, Reason: "Passed", LastTransitionTime: metav1.Now()}}
		if err := p.client.Status().Update(t.Context(), &load); err != nil {
			t.Fatal(err)
		}
		users := filepath.Join(up.Work(), up.Info.Origin, "default", "loadclient.users", "g1")
		expect("the results of a LoadClient are in its status", gone[0], gone[1], users+" an ended run of assay up lab", gone[2])
		up = created(t, t.TempDir(), up.Info)
		ran(t, up, "loadclient.no", record("LoadClient", "no", "some"))
		expect("one without a kubeconfig starts")
		writeConfig(t, up.Kubeconfig(), "https://127.0.0.1:1")
		expect("one that does not answer is starting, or ending")
	})
}

// elsewhere is a run in a work folder that a Site of a control plane named, beside somebody else's.
func elsewhere(t *testing.T, f *state.Folder) (work, run string) {
	t.Helper()
	work = filepath.Join(t.TempDir(), "a [work] folder*")
	var err error
	if *f, err = f.Change(func(i *state.Info) { i.WorkDirs = append(i.WorkDirs, work) }); err != nil {
		t.Fatal(err)
	}
	run = filepath.Join(work, f.Info.Origin, "default", "one", "g1")
	for _, folder := range []string{run, filepath.Join(work, "bin"), filepath.Join(work, ".origins"), filepath.Join(work, "others", "default", "one", "g1")} {
		if err := os.MkdirAll(folder, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{filepath.Join(run, "result.json"), site.OriginFile(work, f.Info.Origin), site.OriginFile(work, "others")} {
		if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return work, run
}

// othersLeft is what is in the work folder elsewhere once all of one control plane is gone.
var othersLeft = []string{".origins", ".origins/others.json", "bin", "others", "others/default", "others/default/one", "others/default/one/g1"}

// What a control plane put into a work folder that a Site names goes with its state, and nothing of others.
func TestPruneFindsOtherWorkFolders(t *testing.T) {
	home := t.TempDir()
	dead := created(t, home, state.Info{Kind: state.KindRun, Benchmarks: []string{"default/one"}, Collected: true})
	work, _ := elsewhere(t, &dead)
	up := created(t, home, state.Info{Kind: state.KindUp, Context: "lab"})
	upWork, run := elsewhere(t, &up)
	open, _ := elsewhere(t, &dead)
	if err := os.Chmod(filepath.Join(open, dead.Info.Origin), 0o777); err != nil {
		t.Fatal(err)
	}
	end := job(t, dead)
	for _, step := range []struct {
		reason string
		opts   pruneOptions
		words  []string
		gone   bool
	}{
		{"a job may still write", pruneOptions{yes: true}, []string{run + "  (an ended run of assay up lab)"}, false},
		{"it is shown", pruneOptions{dryRun: true}, []string{dead.Path + "  (state of a dead assay run of default/one, with " + filepath.Join(work, dead.Info.Origin) + ")"}, false},
		{"it goes", pruneOptions{yes: true}, nil, true},
	} {
		o, said := at(home, "")
		if err := prune(t.Context(), o, step.opts); err != nil {
			t.Fatal(err)
		}
		for _, w := range step.words {
			if !strings.Contains(said.String(), w) {
				t.Errorf("%s: it does not say %q:\n%s", step.reason, w, said)
			}
		}
		if gone := !fileExists(filepath.Join(work, dead.Info.Origin)); gone != step.gone || gone == fileExists(dead.Path) {
			t.Errorf("%s: gone is %t", step.reason, gone)
		}
		end()
	}
	if diff := cmp.Diff(othersLeft, below(t, work)); diff != "" {
		t.Errorf("what others have (-want +got):\n%s", diff)
	}
	if fileExists(run) || !fileExists(site.OriginFile(upWork, up.Info.Origin)) || !fileExists(filepath.Join(open, dead.Info.Origin)) {
		t.Error("the ended run stays, or the mark of what stands went, or what everybody may write to")
	}
}

// A run that was collected leaves nothing in a work folder of its Site's own, although that was named after it began.
func TestStateTakesOtherWorkFoldersAlong(t *testing.T) {
	o, _ := at(t.TempDir(), "")
	var work, path string
	if err := withThrowaway(t.Context(), o, func(p *plane) error {
		named := p.folder
		work, _ = elsewhere(t, &named)
		path = p.folder.Path
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(othersLeft, below(t, work)); diff != "" || fileExists(path) {
		t.Errorf("the state is there: %t (-want +got):\n%s", fileExists(path), diff)
	}
}

// answering is a person who answers after something happened.
type answering struct {
	before func()
	io.Reader
}

func (a answering) Read(b []byte) (int, error) {
	a.before()
	return a.Reader.Read(b)
}

// What was listed may be taken up again before the answer comes.
func TestPruneLooksAgain(t *testing.T) {
	for reason, meanwhile := range map[string]func(t *testing.T, f state.Folder){
		"assay attach opened it": func(t *testing.T, f state.Folder) {
			lock, err := f.Hold(time.Now())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = lock.Close() }) // nobody asks any more
		},
		"a job of it began": func(t *testing.T, f state.Folder) { job(t, f) },
	} {
		t.Run(reason, func(t *testing.T) {
			home := t.TempDir()
			f := created(t, home, state.Info{Kind: state.KindRun, Benchmarks: []string{"ns/bm"}, Collected: true})
			o, said := at(home, "")
			o.Stdin = answering{sync.OnceFunc(func() { meanwhile(t, f) }), strings.NewReader("y\n")}
			if err := prune(t.Context(), o, pruneOptions{}); err != nil {
				t.Fatal(err)
			}
			if !fileExists(filepath.Join(f.Path, "assay.json")) || !strings.Contains(said.String(), f.Path+" stays: it is in use again") {
				t.Errorf("it was removed, or nothing was said:\n%s", said)
			}
		})
	}
}

// What a cluster's manager runs on this host is listed too; the rest of it is in the cluster.
func TestJobsOfAManagerAreListed(t *testing.T) {
	home := t.TempDir()
	up := created(t, home, state.Info{Kind: state.KindUp, Context: "lab"})
	root := filepath.Dir(up.Path)
	manager := state.Cluster(root, "9b2f1c04-71d2-4c53-a7c8-0f6f5a4be001")
	if err := os.MkdirAll(manager.Path, 0o700); err != nil {
		t.Fatal(err)
	}
	list := func() string {
		t.Helper()
		o, said := at(home, "")
		if err := listJobs(t.Context(), o, jobsOptions{format: formatText}); err != nil {
			t.Fatal(err)
		}
		return said.String()
	}
	end := job(t, manager)
	lines := strings.Split(list(), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[1], "9b2f1c04  manager of a cluster  local  L1 ") || !strings.Contains(lines[1], "RUNNING") {
		t.Errorf("while a job of the manager runs:\n%q", lines)
	}
	end()
	if got := list(); strings.Count(got, "\n") != 1 {
		t.Errorf("after it:\n%s", got)
	}
	if folders, err := state.List(root); err != nil || len(folders) != 1 {
		t.Errorf("a cluster is no control plane to attach to: %v, %v", folders, err)
	}
}

// Commands that only list start nothing: a job of a dead control plane begins when that is taken up again.
func TestListingStartsNoJob(t *testing.T) {
	home := t.TempDir()
	f := created(t, home, state.Info{Kind: state.KindRun, Benchmarks: []string{"ns/bm"}})
	host, err := local.Open(local.Options{StateDir: f.Jobs(), Origin: f.Info.Origin})
	if err != nil {
		t.Fatal(err)
	}
	key := slurmbridge.NewKey(f.Info.Origin, "00000000-0000-0000-0000-000000000002", 1)
	script := slurmbridge.Script{Directory: filepath.Join(t.TempDir(), "1"), Node: "/bin/true", Parts: []slurmbridge.Part{{}}}
	if err := host.Submit(t.Context(), key, script); err != nil {
		t.Fatal(err)
	}
	record := filepath.Join(f.Jobs(), "jobs", "L1")
	if err := os.WriteFile(filepath.Join(record, "released"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	before := below(t, record)
	o, said := at(home, "")
	root := filepath.Dir(f.Path)
	for what, list := range map[string]func() error{
		"jobs":            func() error { return listJobs(t.Context(), o, jobsOptions{all: true, format: formatText}) },
		"prune --dry-run": func() error { return prune(t.Context(), o, pruneOptions{dryRun: true}) },
		"attach":          func() error { return listRuns(o, root) },
	} {
		if err := list(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !strings.Contains(said.String(), "PENDING") || !strings.Contains(said.String(), "ns/bm") {
		t.Errorf("they say\n%s", said)
	}
	if diff := cmp.Diff(before, below(t, record)); diff != "" {
		t.Errorf("the job was started (-want +got):\n%s", diff)
	}
}
