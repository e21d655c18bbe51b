package slurmjob

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	ctrl "sigs.k8s.io/controller-runtime/pkg/reconcile"

	"assay.bench/api/v1alpha1"
)

// several are SlurmJobs at a site with limits, before anything was stored of them, and a controller whose clock is at now.
func several(t *testing.T, l v1alpha1.SiteLimits, n int, now *time.Time) (*Kind, *v1alpha1.Site, []*v1alpha1.SlurmJob) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	site := limitedSite(l)
	b := fake.NewClientBuilder().WithScheme(scheme).WithObjects(site).WithStatusSubresource(&v1alpha1.SlurmJob{})
	var jobs []*v1alpha1.SlurmJob
	for i := range n {
		job := inLine(fmt.Sprintf("job-%02d", i), i, "waits")
		jobs = append(jobs, &job)
		b = b.WithObjects(&job)
	}
	c := b.Build()
	return New(Deps{Client: c, Live: c, Now: func() time.Time { return *now }}), site, jobs
}

// turnsOf has all jobs ask at the same time, and returns who may go.
func turnsOf(t *testing.T, k *Kind, site *v1alpha1.Site, jobs []*v1alpha1.SlurmJob, c claim) []string {
	t.Helper()
	may := make([]string, len(jobs))
	var wg sync.WaitGroup
	for i, job := range jobs {
		wg.Go(func() {
			b, err := k.turn(t.Context(), job.DeepCopy(), site, c)
			switch {
			case err != nil:
				t.Error(err)
			case b == nil:
				may[i] = job.Name
			}
		})
	}
	wg.Wait()
	var out []string
	for _, name := range may {
		if name != "" {
			out = append(out, name)
		}
	}
	return out
}

// Whoever asks at the same time gets one turn each and no more, those who came first, though none of it is stored yet.
func TestTurnsAreNotTakenTwice(t *testing.T) {
	now := noon
	k, site, jobs := several(t, v1alpha1.SiteLimits{Jobs: 3}, 12, &now)
	first := []string{"job-00", "job-01", "job-02"}
	for range 3 { // who may go may go still
		if diff := cmp.Diff(first, turnsOf(t, k, site, jobs, claim{})); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		now = now.Add(2 * lineHolds)
	}
	// One is stored and another cannot go after all: what that one had is the next one's.
	store(t, k.Client, jobs[0], v1alpha1.Attempt{Number: 1, Key: "k", State: v1alpha1.AttemptQueued, Submits: 1})
	k.hinder(jobs[1], site)
	if diff := cmp.Diff([]string{"job-02", "job-03"}, turnsOf(t, k, site, jobs[2:], claim{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// It can again, and waits for its turn like everybody: before the younger ones, but takes nothing back.
	if diff := cmp.Diff([]string{"job-02", "job-03"}, turnsOf(t, k, site, jobs[1:], claim{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	store(t, k.Client, jobs[0], v1alpha1.Attempt{Number: 1, Key: "k", State: v1alpha1.AttemptEnded, Submits: 1})
	k.freed(jobs[0])
	if diff := cmp.Diff([]string{"job-01", "job-02", "job-03"}, turnsOf(t, k, site, jobs[1:], claim{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// GPU-hours are promised once as well: two of four GPU-hours each fit into nine.
func TestGPUHoursAreNotPromisedTwice(t *testing.T) {
	now := noon
	k, site, jobs := several(t, v1alpha1.SiteLimits{GPUHours: "9"}, 6, &now)
	four := claim{gpus: 4, gpuSeconds: 4 * 3600, limit: time.Hour}
	turnsOf(t, k, site, jobs, four) // by now everybody has told its claim
	now = now.Add(2 * lineHolds)
	if diff := cmp.Diff([]string{"job-00", "job-01"}, turnsOf(t, k, site, jobs, four)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Nobody is asked about every one that waits: a line that was read refuses others for a while.
func TestWhoWaitsReadsNothing(t *testing.T) {
	now := noon
	k, site, jobs := several(t, v1alpha1.SiteLimits{Jobs: 1}, 30, &now)
	counted := &counter{Reader: k.Live}
	k.Live = counted
	turnsOf(t, k, site, jobs[:1], claim{})
	for range 10 {
		turnsOf(t, k, site, jobs[1:], claim{})
	}
	if counted.lists > 2 {
		t.Errorf("%d live reads for 290 refusals", counted.lists)
	}
}

// Whoever is first in line is looked at when a place gets free.
func TestFreedWakesTheFirstInLine(t *testing.T) {
	now := noon
	k, site, jobs := several(t, v1alpha1.SiteLimits{Jobs: 1}, 5, &now)
	queue := newQueue()
	k.memory.setQueue(queue)
	turnsOf(t, k, site, jobs[:1], claim{})
	turnsOf(t, k, site, []*v1alpha1.SlurmJob{jobs[3], jobs[1], jobs[4], jobs[2]}, claim{})
	k.freed(jobs[0])
	var woken []string
	for range queue.Len() {
		request, _ := queue.Get()
		woken = append(woken, request.Name)
	}
	if diff := cmp.Diff([]string{"job-01", "job-02"}, woken); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func store(t *testing.T, c client.Client, job *v1alpha1.SlurmJob, a v1alpha1.Attempt) {
	t.Helper()
	if err := c.Get(t.Context(), types.NamespacedName{Namespace: job.Namespace, Name: job.Name}, job); err != nil {
		t.Fatal(err)
	}
	job.Status.Attempts = []v1alpha1.Attempt{a}
	if err := c.Status().Update(t.Context(), job); err != nil {
		t.Fatal(err)
	}
}

// counter counts the lists that are read live.
type counter struct {
	client.Reader
	mu    sync.Mutex
	lists int
}

func (c *counter) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	c.mu.Lock()
	c.lists++
	c.mu.Unlock()
	return c.Reader.List(ctx, list, opts...)
}

func newQueue() workqueue.TypedRateLimitingInterface[ctrl.Request] {
	return workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[ctrl.Request]())
}
