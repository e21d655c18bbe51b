package slurmjob

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"strconv"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/poll"
	"assay.bench/slurmbridge/sim"
)

const (
	origin = "0123456789abcdef"
	node   = "/work/bin/assay-node"
)

// crash ends a pass as a killed process would: nothing after it happens, and nothing in memory survives.
type crash struct{ at string }

// plot says at which of three places, and at which visit to each, the process is killed.
type plot struct {
	place string
	visit int
	seen  map[string]int
}

func (p *plot) at(place string) {
	p.seen[place]++
	if p.place == place && p.seen[place] == p.visit {
		panic(crash{place})
	}
}

// places where the process is killed.
const (
	beforeStatus = "before the status write"
	beforeSubmit = "before submit"
	afterSubmit  = "after submit, before its answer"
	afterRelease = "after release"
)

// killer is a door that kills the process.
type killer struct {
	slurmbridge.Jobs
	plot *plot
	// excluded are the nodes that each job was to keep away from.
	excluded map[slurmbridge.Key][]string
}

func (k killer) Submit(ctx context.Context, key slurmbridge.Key, s slurmbridge.Script) error {
	k.plot.at(beforeSubmit)
	if k.excluded != nil {
		k.excluded[key] = s.Parts[0].Exclude
	}
	err := k.Jobs.Submit(ctx, key, s)
	k.plot.at(afterSubmit)
	return err
}

func (k killer) Release(ctx context.Context, id string) error {
	err := k.Jobs.Release(ctx, id)
	k.plot.at(afterRelease)
	return err
}

// view serves what was seen at some earlier look: as stale as a poll may be.
type view struct {
	site  *sim.Site
	jobs  slurmbridge.Jobs
	now   func() time.Time
	stale func() bool
	want  map[slurmbridge.Key]poll.Watched
	last  map[slurmbridge.Key]poll.View
}

func (v *view) Watch(key slurmbridge.Key, w poll.Watched) { v.want[key] = w }
func (v *view) Forget(key slurmbridge.Key)                { delete(v.want, key); delete(v.last, key) }
func (v *view) Expect()                                   {}

func (v *view) Lookup(ctx context.Context, key slurmbridge.Key, since time.Time) ([]slurmbridge.Job, error) {
	jobs, err := v.jobs.Find(ctx, key)
	if err != nil || len(jobs) > 0 || since.IsZero() {
		return jobs, err
	}
	if jobs, err = v.site.Past(ctx, since, key); errors.Is(err, slurmbridge.ErrNoAccounting) {
		return nil, nil
	}
	return jobs, err
}

func (v *view) Seen(key slurmbridge.Key) (poll.View, bool) {
	w, ok := v.want[key]
	if !ok {
		return poll.View{}, false
	}
	if old, ok := v.last[key]; ok && v.stale() {
		return old, true
	}
	fresh := poll.View{Lists: v.last[key].Lists + 1, Listed: v.now(), Reads: v.last[key].Reads + 1, Read: v.now()}
	all, err := v.jobs.List(context.Background())
	if err != nil {
		old := v.last[key]
		old.ListErr = err
		return old, true
	}
	for _, j := range all {
		if j.Key == key {
			fresh.Jobs = append(fresh.Jobs, j)
		}
	}
	fresh.Files, fresh.ReadErr = v.site.Read(context.Background(), w.Paths...)
	v.last[key] = fresh
	return fresh, true
}

// bench is a whole world of one SlurmJob.
type bench struct {
	t       *testing.T
	now     time.Time
	random  *rand.Rand
	cluster *sim.Cluster
	site    *sim.Site
	// remembers is how long the door says that ended jobs are listed.
	remembers time.Duration
	client    client.WithWatch
	plot      *plot
	// excluded is killer.excluded.
	excluded map[slurmbridge.Key][]string
	events   *events.FakeRecorder
	request  ctrl.Request
	// process counts the processes; cached is what a cache that lags behind may still hold, while a pass is made.
	process    int
	cached     *v1alpha1.SlurmJob
	passing    bool
	controller *reconcile.Controller[*v1alpha1.SlurmJob, v1alpha1.SlurmJobStatus, world]
}

func newBench(t *testing.T, seed uint64, p *plot) *bench {
	t.Helper()
	return newBenchOn(t, seed, p, func(o sim.Options) sim.Options { return o })
}

// newBenchOn is newBench on a cluster of another kind.
func newBenchOn(t *testing.T, seed uint64, p *plot, kind func(sim.Options) sim.Options) *bench {
	t.Helper()
	b := &bench{t: t, now: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), random: rand.New(rand.NewPCG(seed, 1)), plot: p, excluded: map[slurmbridge.Key][]string{}}
	p.seen = map[string]int{}
	clock := func() time.Time { return b.now }
	o := kind(sim.Options{Seed: seed, Now: clock})
	b.cluster, b.remembers = sim.New(o), o.Remember
	b.site = b.cluster.Site(origin)
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	b.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects()...).WithStatusSubresource(&v1alpha1.SlurmJob{}).
		WithInterceptorFuncs(interceptor.Funcs{
			Get:   b.lag,
			Apply: applyFinalizers,
			SubResourceApply: func(ctx context.Context, c client.Client, _ string, obj runtime.ApplyConfiguration, _ ...client.SubResourceApplyOption) error {
				b.plot.at(beforeStatus)
				return applyStatus(ctx, c, obj)
			},
		}).Build()
	b.events = events.NewFakeRecorder(1000)
	b.request = ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "default", Name: "run"}}
	b.start()
	return b
}

// The fake client applies an empty value for each required field of a spec that an apply configuration leaves out, so
// the two applies of the kernel are made as updates with the same meaning.

func applyFinalizers(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	var patch, job v1alpha1.SlurmJob
	if err := convert(obj, &patch); err != nil {
		return err
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(&patch), &job); err != nil {
		return err
	}
	job.Finalizers = patch.Finalizers
	return c.Update(ctx, &job)
}

func applyStatus(ctx context.Context, c client.Client, obj runtime.ApplyConfiguration) error {
	var patch, job v1alpha1.SlurmJob
	if err := convert(obj, &patch); err != nil {
		return err
	}
	if err := c.Get(ctx, client.ObjectKeyFromObject(&patch), &job); err != nil {
		return err
	}
	job.Status, job.ResourceVersion = patch.Status, patch.ResourceVersion
	if err := c.Status().Update(ctx, &job); err != nil {
		return err
	}
	job.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind("SlurmJob"))
	return convert(&job, obj)
}

func convert(from, to any) error {
	b, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, to)
}

// start is a new process: nothing is remembered.
func (b *bench) start() {
	b.process++
	jobs := killer{Jobs: b.site, plot: b.plot, excluded: b.excluded}
	clock := func() time.Time { return b.now }
	poller := &view{
		site: b.site, jobs: jobs, now: clock, stale: func() bool { return b.random.IntN(3) == 0 },
		want: map[slurmbridge.Key]poll.Watched{}, last: map[slurmbridge.Key]poll.View{},
	}
	door := slurmbridge.Door{Jobs: jobs, Files: b.site, WorkDir: "/work", Origin: origin, Node: node, Remembers: b.remembers}
	kind := New(Deps{
		Client: b.client, Live: b.client, Doors: oneDoor{door}, Process: fmt.Sprint("process ", b.process), Now: clock,
		Poller: func(string, string) (Poller, bool) { return poller, true },
	})
	b.controller = &reconcile.Controller[*v1alpha1.SlurmJob, v1alpha1.SlurmJobStatus, world]{
		Kind: kind, Client: b.client, Events: b.events, Owner: "test", Now: clock,
	}
}

type oneDoor struct{ door slurmbridge.Door }

func (d oneDoor) Door(string, string) (slurmbridge.Door, error) { return d.door, nil }

// lag serves an older SlurmJob to a third of the passes, as a cache may.
func (b *bench) lag(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	job, ok := obj.(*v1alpha1.SlurmJob)
	if ok && b.passing && b.cached != nil && b.random.IntN(3) == 0 {
		b.cached.DeepCopyInto(job)
		return nil
	}
	if err := c.Get(ctx, key, obj, opts...); err != nil {
		return err
	}
	if ok {
		b.cached = job.DeepCopy()
	}
	return nil
}

// pass makes one pass; a killed process is replaced by a new one.
func (b *bench) pass() {
	b.t.Helper()
	b.passing = true
	defer func() {
		b.passing = false
		switch c := recover().(type) {
		case nil:
		case crash:
			b.start()
		default:
			panic(c)
		}
	}()
	result, err := b.controller.Reconcile(b.t.Context(), b.request)
	if err != nil {
		b.t.Fatalf("reconcile: %v", err)
	}
	pause := 200 * time.Millisecond
	if result.RequeueAfter > 0 {
		pause = min(max(pause, result.RequeueAfter), 5*time.Second)
	}
	b.now = b.now.Add(pause)
}

func (b *bench) job() *v1alpha1.SlurmJob {
	b.t.Helper()
	var job v1alpha1.SlurmJob
	if err := b.client.Get(b.t.Context(), b.request.NamespacedName, &job); err != nil {
		b.t.Fatal(err)
	}
	return &job
}

// until makes passes until the object is as wanted.
func (b *bench) until(what string, wanted func(*v1alpha1.SlurmJob) bool) *v1alpha1.SlurmJob {
	b.t.Helper()
	for range 2000 {
		if job := b.job(); wanted(job) {
			return job
		}
		b.pass()
	}
	b.t.Fatalf("it never was %s: %+v", what, b.job().Status)
	return nil
}

func complete(job *v1alpha1.SlurmJob) bool {
	return meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.ConditionComplete)
}

// checkOnce fails unless each key was started and worked at most once, and the newest exactly once.
func (b *bench) checkOnce(job *v1alpha1.SlurmJob) {
	b.t.Helper()
	counts := b.cluster.Counts()
	for key, n := range counts.Started {
		if n != 1 || counts.Worked[key] != 1 {
			b.t.Errorf("key %s: started %d times, worked %d times", key, n, counts.Worked[key])
		}
	}
	if len(counts.Started) != int(job.Status.Attempt) {
		b.t.Errorf("started %v for %d attempts", counts.Started, job.Status.Attempt)
	}
}

// checkSecrets wants no credential in the folder of an attempt that is over: its job has removed it, or it was emptied.
func (b *bench) checkSecrets(job *v1alpha1.SlurmJob) {
	b.t.Helper()
	for n := range job.Status.Attempt {
		file := path.Join(path.Dir(job.Status.Directory), strconv.Itoa(int(n)+1), rundir.SecretsDir, "server")
		found, err := b.site.Read(b.t.Context(), file)
		if err != nil || len(found[file]) > 0 {
			b.t.Errorf("%s holds %q, %v", file, found[file], err)
		}
	}
}

// drain returns the reasons of the events so far.
func (b *bench) drain() string {
	var out []string
	for {
		select {
		case e := <-b.events.Events:
			out = append(out, e)
		default:
			return strings.Join(out, "\n")
		}
	}
}

func objects() []client.Object {
	at := func(name, uid string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: "default", Name: name, UID: types.UID(uid), Generation: 1}
	}
	site := &v1alpha1.Site{
		ObjectMeta: at("here", "10000000-0000-4000-8000-000000000001"),
		Spec:       v1alpha1.SiteSpec{Jobs: v1alpha1.JobsDoor{Sim: &v1alpha1.SimDoor{}}, WorkDir: "/work"},
	}
	reconcile.Conditions{List: &site.Status.Conditions, Generation: 1}.Current(v1alpha1.ReasonSiteAnswers, "")
	return []client.Object{
		site,
		&v1alpha1.Service{ObjectMeta: at("server", "10000000-0000-4000-8000-000000000002"),
			Spec: v1alpha1.ServiceSpec{ServiceParameters: v1alpha1.ServiceParameters{LLMSim: &v1alpha1.LLMSimEngine{}}}},
		&v1alpha1.LoadClient{ObjectMeta: at("load", "10000000-0000-4000-8000-000000000003"),
			Spec: v1alpha1.LoadClientSpec{ClientParameters: v1alpha1.ClientParameters{
				Target:     v1alpha1.Target{Service: "server"},
				Inference:  &v1alpha1.InferenceWorkload{InputTokens: v1alpha1.Tokens{Fixed: 8}, OutputTokens: v1alpha1.Tokens{Fixed: 8}},
				ClosedLoop: &v1alpha1.ClosedLoop{Concurrency: 2}, Instances: 1, Duration: "10s",
			}}},
		&corev1.Secret{ObjectMeta: at("server-g1", "10000000-0000-4000-8000-000000000004"), Data: map[string][]byte{"token": []byte("t0ps3cret")}},
		&v1alpha1.SlurmJob{ObjectMeta: at("run", "20000000-0000-4000-8000-000000000005"),
			Spec: v1alpha1.SlurmJobSpec{
				Site: "here", Run: v1alpha1.JobRun{Owner: "bench", Name: "g1", FirstRepeat: 1, Repeats: v1alpha1.Repeats{Count: 1, Restart: v1alpha1.RestartProcess}},
				Components: []v1alpha1.ComponentReference{{Kind: "Service", Name: "server"}, {Kind: "LoadClient", Name: "load"}},
			}},
	}
}

// TestCrashes kills the process once, at a seeded place and visit, and wants one job that ran once.
func TestCrashes(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 0))
		place := []string{beforeStatus, beforeSubmit, afterSubmit, afterRelease}[random.IntN(4)]
		visit := 1
		if place == beforeStatus {
			visit += random.IntN(12)
		}
		t.Run(fmt.Sprintf("seed %d %s %d", seed, place, visit), func(t *testing.T) {
			b := newBench(t, seed, &plot{place: place, visit: visit})
			if random.IntN(3) == 0 {
				b.cluster.LoseReplies(1)
			}
			whole := seed%10 == 0
			if !whole { // a program in place of the node side: the protocol is the same, and much faster to play
				b.cluster.Program(node, sim.Program{Takes: 20 * time.Second})
			}
			job := b.until("complete", complete)
			if whole != meta.IsStatusConditionTrue(job.Status.Conditions, v1alpha1.ConditionSucceeded) {
				t.Errorf("want success %v, got %+v", whole, job.Status)
			}
			if job.Status.Attempt != 1 {
				t.Errorf("want one attempt, got %+v", job.Status.Attempts)
			}
			b.checkOnce(job)
			for key, n := range b.cluster.Counts().Submits {
				if n != 1 {
					t.Errorf("key %s: %d jobs were made", key, n)
				}
			}
		})
	}
}

// TestFaults is about what sites do to jobs.
func TestFaults(t *testing.T) {
	running := func(job *v1alpha1.SlurmJob) bool { return job.Status.Phase == "Running" }
	cases := map[string]struct {
		reason string
		before func(*bench)
		when   func(*v1alpha1.SlurmJob) bool
		do     func(*bench, *v1alpha1.SlurmJob)
		// want of the end.
		attempts  int32
		succeeded bool
		condition string
		event     string
	}{
		"prolog": {
			reason: "a job that the batch system holds after a failed prolog is cancelled, and tried again",
			before: func(b *bench) { b.cluster.FailPrologs(1) }, attempts: 2, succeeded: true, condition: v1alpha1.ReasonCompleted, event: "AttemptRetried",
		},
		"launch": {
			reason: "a job that the batch system cancels because it could not start it is no person's cancel",
			before: func(b *bench) { b.cluster.FailLaunches(2) }, attempts: 3, succeeded: true, condition: v1alpha1.ReasonCompleted, event: "AttemptRetried",
		},
		"requeue": {
			reason: "a job that was started again does no work, and a new attempt begins anew",
			when:   running, do: func(b *bench, j *v1alpha1.SlurmJob) { b.cluster.Requeue(j.Status.JobID) },
			attempts: 2, succeeded: true, condition: v1alpha1.ReasonCompleted, event: "AttemptRetried",
		},
		"node": {
			reason: "a lost node is the site's fault",
			when:   running, do: func(b *bench, j *v1alpha1.SlurmJob) { b.cluster.LoseNode(j.Status.JobID) },
			attempts: 2, succeeded: true, condition: v1alpha1.ReasonCompleted, event: "AttemptRetried",
		},
		"refused": {
			reason: "a refusal is final, in the batch system's words",
			before: func(b *bench) { b.cluster.SkewClock(time.Hour); b.tooLarge() }, attempts: 1, condition: v1alpha1.ReasonSubmitRefused, event: "JobEnded",
		},
		"cancelled": {
			reason: "a job that somebody else cancels is aborted",
			when:   running, do: func(b *bench, j *v1alpha1.SlurmJob) { _ = b.site.Cancel(b.t.Context(), j.Status.JobID) },
			attempts: 1, condition: v1alpha1.ReasonAborted, event: "JobEnded",
		},
		"readiness": {
			reason: "the component's own reason is the job's",
			before: func(b *bench) { b.cluster.FailComponent("server", "ReadinessTimeout") }, attempts: 1, condition: v1alpha1.ReasonReadinessTimeout, event: "JobEnded",
		},
		"outage": {
			reason: "an outage changes nothing but Synced",
			when:   running,
			do: func(b *bench, j *v1alpha1.SlurmJob) {
				b.cluster.Outage(true)
				b.until("unsynced", func(j *v1alpha1.SlurmJob) bool {
					return meta.FindStatusCondition(j.Status.Conditions, v1alpha1.ConditionSynced).Status == metav1.ConditionUnknown
				})
				b.cluster.Outage(false)
			},
			attempts: 1, succeeded: true, condition: v1alpha1.ReasonCompleted,
		},
		"purged": {
			reason: "a job that the batch system forgot ended as its exit.json says",
			when:   running,
			do: func(b *bench, j *v1alpha1.SlurmJob) {
				b.now = b.now.Add(10 * time.Minute)
				b.cluster.Purge()
			},
			attempts: 1, succeeded: true, condition: v1alpha1.ReasonCompleted,
		},
		"vanished": {
			reason: "a job that vanished while it ran is lost, after three answers, and is not tried again",
			when:   running, do: func(b *bench, j *v1alpha1.SlurmJob) {
				b.cluster.LoseNode(j.Status.JobID)
				b.cluster.Vanish(j.Status.JobID)
			},
			attempts: 1, condition: v1alpha1.ReasonLost, event: "JobEnded",
		},
		"lost replies": {
			reason: "an answer that was lost leads to a look, not to a second job",
			before: func(b *bench) { b.cluster.LoseReplies(1) }, attempts: 1, succeeded: true, condition: v1alpha1.ReasonCompleted,
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, 7, &plot{})
			if c.before != nil {
				c.before(b)
			}
			if c.when != nil {
				c.do(b, b.until("there", c.when))
			}
			job := b.until("complete", complete)
			got := meta.FindStatusCondition(job.Status.Conditions, v1alpha1.ConditionSucceeded)
			if got.Reason != c.condition || (got.Status == metav1.ConditionTrue) != c.succeeded || job.Status.Attempt != c.attempts {
				t.Errorf("%s: got %+v after %d attempts, want %s %v after %d", c.reason, got, job.Status.Attempt, c.condition, c.succeeded, c.attempts)
			}
			b.checkSecrets(job)
			if told := b.drain(); !strings.Contains(told, c.event) {
				t.Errorf("no event %s in\n%s", c.event, told)
			}
		})
	}
}

// tooLarge asks for more nodes than there are.
func (b *bench) tooLarge() {
	var s v1alpha1.Service
	if err := b.client.Get(b.t.Context(), types.NamespacedName{Namespace: "default", Name: "server"}, &s); err != nil {
		b.t.Fatal(err)
	}
	s.Spec.Resources.Nodes = 1000
	if err := b.client.Update(b.t.Context(), &s); err != nil {
		b.t.Fatal(err)
	}
}

// TestDuplicate submits a second job under the key behind the controller's back.
func TestDuplicate(t *testing.T) {
	b := newBench(t, 3, &plot{})
	job := b.until("handed in", func(j *v1alpha1.SlurmJob) bool { return handedIn(newest(j.Status.Attempts)) && j.Status.JobID != "" })
	key := slurmbridge.Key(newest(job.Status.Attempts).Key)
	b.now = b.now.Add(time.Second)
	script := slurmbridge.Script{Directory: job.Status.Directory, Node: "/n", Parts: []slurmbridge.Part{{Nodes: 1}}}
	if err := b.site.Submit(t.Context(), key, script); err != nil {
		t.Fatal(err)
	}
	b.checkOnce(b.until("complete", complete))
	if told := b.drain(); !strings.Contains(told, "DuplicateJobCancelled") {
		t.Errorf("no event in\n%s", told)
	}
}

// TestDelete wants the object gone only once the job is.
func TestDelete(t *testing.T) {
	for _, phase := range []string{"Intended", "Submitted", "Running", "Ended"} {
		t.Run(phase, func(t *testing.T) {
			b := newBench(t, 5, &plot{})
			job := b.until(phase, func(j *v1alpha1.SlurmJob) bool { return j.Status.Phase == phase })
			if err := b.client.Delete(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			for range 200 {
				if b.pass(); b.client.Get(t.Context(), b.request.NamespacedName, &v1alpha1.SlurmJob{}) != nil {
					break
				}
			}
			if err := b.client.Get(t.Context(), b.request.NamespacedName, &v1alpha1.SlurmJob{}); err == nil {
				t.Fatal("it is still there")
			}
			jobs, err := b.site.List(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if left := alive(jobs); len(left) > 0 {
				t.Errorf("left behind: %+v", left)
			}
			b.checkSecrets(job)
		})
	}
}
