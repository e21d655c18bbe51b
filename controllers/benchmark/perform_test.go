package benchmark

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// memory is a run directory in memory; err makes it silent, and full refuses writes.
type memory struct {
	files     map[string][]byte
	err, full error
}

func (m *memory) Read(_ context.Context, paths ...string) (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, p := range paths {
		if b, ok := m.files[p]; ok {
			out[p] = b
		}
	}
	return out, m.err
}

func (m *memory) Write(_ context.Context, files map[string][]byte) error {
	if m.full != nil {
		return m.full
	}
	maps.Copy(m.files, files)
	return m.err
}

func (m *memory) Open(context.Context, string, int64) (io.ReadCloser, error) {
	return nil, fs.ErrNotExist
}

// Door makes memory the only open site.
func (m *memory) Door(_, name string) (slurmbridge.Door, error) {
	if name != "here" {
		return slurmbridge.Door{}, fmt.Errorf("site %s: %w", name, slurmbridge.ErrNotOpen)
	}
	return slurmbridge.Door{Files: m, WorkDir: "/work", Origin: "o"}, nil
}

// rig is a controller on a fake API server and a run directory in memory.
type rig struct {
	t          *testing.T
	api        client.Client
	files      *memory
	controller *reconcile.Controller[*v1alpha1.Benchmark, v1alpha1.BenchmarkStatus, World]
	now        time.Time
}

func newRig(t *testing.T, objects ...client.Object) *rig {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	objects = append(objects, &v1alpha1.Site{ObjectMeta: metav1.ObjectMeta{Name: "here", Namespace: "ns"}})
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithStatusSubresource(&v1alpha1.Benchmark{}, &v1alpha1.SlurmJob{}).Build()
	r := &rig{t: t, api: api, files: &memory{files: map[string][]byte{}}, now: now}
	kind := newKind(api, api, Deps{
		Doors: r.files, Random: rand.NewChaCha8([32]byte{1}), Version: "v1", Now: func() time.Time { return r.now },
	})
	r.controller = &reconcile.Controller[*v1alpha1.Benchmark, v1alpha1.BenchmarkStatus, World]{
		Kind: kind, Client: api, Events: events.NewFakeRecorder(100), Owner: fieldOwner, Now: func() time.Time { return r.now },
	}
	return r
}

// pass reconciles once.
func (r *rig) pass() ctrl.Result {
	r.t.Helper()
	res, err := r.controller.Reconcile(r.t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "ns", Name: "bm"}})
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

func (r *rig) benchmark() *v1alpha1.Benchmark {
	r.t.Helper()
	var bm v1alpha1.Benchmark
	if err := r.api.Get(r.t.Context(), types.NamespacedName{Namespace: "ns", Name: "bm"}, &bm); err != nil {
		r.t.Fatal(err)
	}
	return &bm
}

// children lists what exists, as kind and name.
func (r *rig) children() []string {
	r.t.Helper()
	list, err := r.controller.Kind.(*Kind).children.List(r.t.Context(), "ns", map[string]string{v1alpha1.LabelBenchmark: "bm"})
	if err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, c := range list {
		out = append(out, c.Kind+" "+c.Name)
	}
	slices.Sort(out)
	return out
}

// finish plays the SlurmJob's controller and the node: the job is over, and its attempt holds a whole measurement.
func (r *rig) finish(name string) {
	r.t.Helper()
	var job v1alpha1.SlurmJob
	if err := r.api.Get(r.t.Context(), types.NamespacedName{Namespace: "ns", Name: name}, &job); err != nil {
		r.t.Fatal(err)
	}
	run := rundir.Run("/work", "o", "ns", job.Spec.Run.Owner, job.Spec.Run.Name)
	job.Status.Directory = rundir.Attempt(run, name, 1)
	complete("True", "Completed", "ok")(&job)
	if err := r.api.Status().Update(r.t.Context(), &job); err != nil {
		r.t.Fatal(err)
	}
	r.play(job.Status.Directory)
}

func (r *rig) play(attempt string) {
	r.t.Helper()
	plan := `{"version":1,"launcher":"process","repeats":{"first":1,"count":2,"restart":"Process"},"idleTimeout":"15m",
		"services":[{"name":"sim","engine":"llmsim","ranks":1,"argv":["x"],"bind":"lo","readyTimeout":"1m","probeEvery":"1s","stopTimeout":"1s","scrapeEvery":"1s","protocol":"OpenAI"}],
		"clients":[{"name":"load","ranks":1,"target":{"service":"sim"},"inference":{"api":"Completions","inputTokens":{"min":1,"max":1},"outputTokens":{"min":1,"max":1},"temperature":0},"closedLoop":{"concurrency":2},"duration":"25s","seed":1}],
		"key":"","origin":"","namespace":"","owner":"","run":"","job":"","attempt":1,"runDirectory":"","directory":"","seed":1}`
	r.files.files[attempt+"/plan.json"] = []byte(plan)
	end := []byte(`{"version":1,"reason":"Ended","code":0,"time":"2026-11-23T12:09:00Z"}`)
	r.files.files[attempt+"/exit.json"] = end
	for _, component := range []string{"sim", "load"} {
		r.files.files[rundir.Rank(attempt, component, 0)+"/exit.json"] = end
	}
	for k := 1; k <= 2; k++ {
		b, err := results.Seal(measured(r.t, k, 1000, 50*time.Millisecond))
		if err != nil {
			r.t.Fatal(err)
		}
		r.files.files[rundir.Repeat(rundir.Rank(attempt, "load", 0), k)+"/result.json"] = b
	}
}

func TestWholeLife(t *testing.T) {
	r := newRig(t, benchmark(func(bm *v1alpha1.Benchmark) { bm.Spec.Seed = 0 }))
	r.pass() // the run and its children
	want := []string{"LoadClient bm-load", "Secret bm-sim-g1", "Service bm-sim", "SlurmJob bm-g1"}
	if diff := cmp.Diff(want, r.children()); diff != "" {
		t.Fatalf("children (-want +got):\n%s", diff)
	}
	run := r.benchmark().Status.Run
	if run == nil || run.Name != "g1" || run.Seed == 0 || run.Directory != runDirectory {
		t.Fatalf("run %+v", run)
	}
	if _, ok := r.files.files[recordPath(runDirectory)]; !ok {
		t.Error("the run is not recorded")
	}
	r.checkChildren(run)
	secret := r.secret()
	r.pass() // the same again
	r.pass()
	if diff := cmp.Diff(secret.Data, r.secret().Data); diff != "" {
		t.Errorf("a credential changed (-before +after):\n%s", diff)
	}

	r.finish("bm-g1")
	for range 4 {
		r.pass()
	}
	got := r.benchmark()
	if !reconcile.IsComplete(got.Status.Conditions) || got.Status.Run.ResultHash != digest(r.files.files[resultPath(runDirectory)]) {
		t.Fatalf("not complete with a written result: %+v", got.Status)
	}
	result, err := results.Parse(r.files.files[resultPath(runDirectory)])
	if err != nil || result.Outcome != results.Passed {
		t.Fatalf("result %s %s, %v", result.Outcome, result.Message, err)
	}
	if diff := cmp.Diff([]string{"LoadClient bm-load", "Service bm-sim", "SlurmJob bm-g1"}, r.children()); diff != "" {
		t.Errorf("what stays after a run (-want +got):\n%s", diff)
	}
	r.checkDeletion()
}

func (r *rig) secret() *corev1.Secret {
	r.t.Helper()
	var s corev1.Secret
	if err := r.api.Get(r.t.Context(), types.NamespacedName{Namespace: "ns", Name: "bm-sim-g1"}, &s); err != nil {
		r.t.Fatal(err)
	}
	return &s
}

func (r *rig) checkChildren(run *v1alpha1.RunStatus) {
	r.t.Helper()
	ctx := r.t.Context()
	var c v1alpha1.LoadClient
	if err := r.api.Get(ctx, types.NamespacedName{Namespace: "ns", Name: "bm-load"}, &c); err != nil {
		r.t.Fatal(err)
	}
	if c.Spec.Target.Service != "bm-sim" || c.Spec.ClosedLoop.Concurrency != 2 || c.Labels[v1alpha1.LabelComponent] != "load" {
		r.t.Errorf("load client %+v %+v", c.Labels, c.Spec)
	}
	if o := metav1.GetControllerOf(&c); o == nil || o.UID != "uid-bm" {
		r.t.Errorf("owner %+v", o)
	}
	var job v1alpha1.SlurmJob
	if err := r.api.Get(ctx, types.NamespacedName{Namespace: "ns", Name: "bm-g1"}, &job); err != nil {
		r.t.Fatal(err)
	}
	want := v1alpha1.SlurmJobSpec{
		Site: "here",
		Run: v1alpha1.JobRun{
			Owner: "bm", Name: "g1", FirstRepeat: 1, Repeats: v1alpha1.Repeats{Count: 2, Restart: "Process"},
			IdleTimeout: "15m", DeleteObjects: true, Seed: run.Seed,
		},
		Components: []v1alpha1.ComponentReference{{Kind: "Service", Name: "bm-sim"}, {Kind: "LoadClient", Name: "bm-load"}},
	}
	if diff := cmp.Diff(want, job.Spec); diff != "" {
		r.t.Errorf("SlurmJob (-want +got):\n%s", diff)
	}
	for _, key := range []string{"token", "username", "password"} {
		if len(r.secret().Data[key]) < 12 {
			r.t.Errorf("credential %s has %d characters", key, len(r.secret().Data[key]))
		}
	}
}

func (r *rig) checkDeletion() {
	r.t.Helper()
	if err := r.api.Delete(r.t.Context(), r.benchmark()); err != nil {
		r.t.Fatal(err)
	}
	for range 4 {
		r.pass()
	}
	if left := r.children(); len(left) > 0 {
		r.t.Errorf("left behind: %v", left)
	}
	err := r.api.Get(r.t.Context(), types.NamespacedName{Namespace: "ns", Name: "bm"}, &v1alpha1.Benchmark{})
	if !apierrors.IsNotFound(err) {
		r.t.Errorf("the Benchmark is still there: %v", err)
	}
}

// TestMadeAgain makes a Benchmark under the name of a former one: its run must not meet the former's folder.
func TestMadeAgain(t *testing.T) {
	r := newRig(t, benchmark())
	r.files.files[recordPath(runDirectory)] = []byte("{}")
	r.pass()
	if got := r.benchmark().Status.Run; got == nil || got.Name != "g1-2" || got.Directory != "/work/o/ns/bm/g1-2" {
		t.Errorf("run %+v", got)
	}
}

// TestDeadDuringTheRun starts a controller after everything has ended on the site.
func TestDeadDuringTheRun(t *testing.T) {
	bm := underRun()
	var objects []client.Object
	w := world(bm)
	for _, o := range w.Services {
		objects = append(objects, o)
	}
	for _, o := range w.Clients {
		objects = append(objects, o)
	}
	for _, o := range w.Jobs {
		objects = append(objects, o)
	}
	bm.Status.Run.Jobs = nil // it died before it saw them
	r := newRig(t, append(objects, bm)...)
	r.finish("bm-g1")
	before := r.children()
	for range 4 {
		r.pass()
	}
	got := r.benchmark()
	if !reconcile.IsComplete(got.Status.Conditions) || got.Status.Runs[0].Outcome != results.Passed {
		t.Errorf("status %+v", got.Status)
	}
	if diff := cmp.Diff(before, r.children()); diff != "" {
		t.Errorf("children were made or removed (-before +after):\n%s", diff)
	}
}

func TestSilentSite(t *testing.T) {
	r := newRig(t, benchmark())
	r.pass()
	r.finish("bm-g1")
	r.files.err = errors.New("connection refused")
	res := r.pass()
	got := r.benchmark()
	if reconcile.IsComplete(got.Status.Conditions) || res.RequeueAfter != again || !strings.Contains(got.Status.Step, "waits for the site") {
		t.Errorf("after %s, step %q", res.RequeueAfter, got.Status.Step)
	}
	r.files.err = nil
	for range 4 {
		r.pass()
	}
	if !reconcile.IsComplete(r.benchmark().Status.Conditions) {
		t.Error("it does not go on once the site answers")
	}
}

// TestFullDisk: a write that fails is told, makes nothing that should come after it, and is tried again.
func TestFullDisk(t *testing.T) {
	r := newRig(t, benchmark())
	r.files.full = errors.New("no space left on device")
	once := func() error {
		_, err := r.controller.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "ns", Name: "bm"}})
		return err
	}
	if err := once(); !errors.Is(err, r.files.full) || len(r.children()) != 0 {
		t.Fatalf("without a record of the run: error %v, children %v", err, r.children())
	}
	if err := once(); !errors.Is(err, r.files.full) || r.benchmark().Status.Step != cannotWriteWords {
		t.Errorf("error %v, step %q", err, r.benchmark().Status.Step)
	}
	r.files.full = nil
	r.pass()
	r.pass()
	r.finish("bm-g1")

	r.files.full = errors.New("no space left on device")
	r.pass()
	if res := r.pass(); res.RequeueAfter != again || r.benchmark().Status.Step != cannotWriteWords {
		t.Errorf("after %s, step %q", res.RequeueAfter, r.benchmark().Status.Step)
	}
	r.files.full = nil
	for range 5 {
		r.pass()
	}
	if !reconcile.IsComplete(r.benchmark().Status.Conditions) {
		t.Error("it does not go on once there is room")
	}
}

// TestForeignObject keeps hands off an object that has a child's name.
func TestForeignObject(t *testing.T) {
	r := newRig(t, benchmark(), &v1alpha1.Service{ObjectMeta: metav1.ObjectMeta{Name: "bm-sim", Namespace: "ns"}})
	r.pass()
	if got := r.benchmark().Status; got.Run != nil || !strings.Contains(got.Step, "services.assay.bench bm-sim exists") {
		t.Errorf("run %+v, step %q", got.Run, got.Step)
	}
}

// TestBrokenResult: a cut file is missing from the result, which says so.
func TestBrokenResult(t *testing.T) {
	r := newRig(t, benchmark())
	r.pass()
	r.finish("bm-g1")
	path := rundir.Repeat(rundir.Rank(rundir.Attempt(runDirectory, "bm-g1", 1), "load", 0), 2) + "/result.json"
	r.files.files[path] = r.files.files[path][:100]
	for range 4 {
		r.pass()
	}
	result, err := results.Parse(r.files.files[resultPath(runDirectory)])
	if err != nil || result.Outcome != results.Partial || result.RepeatsWhole != 1 {
		t.Fatalf("%s %s, %v", result.Outcome, result.Message, err)
	}
	if !slices.ContainsFunc(result.Warnings, func(w string) bool { return strings.Contains(w, path) }) {
		t.Errorf("warnings %q", result.Warnings)
	}
}
