package site

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/poll"
	"assay.bench/slurmbridge/sim"
)

const origin = "0123456789abcdef"

// kind is a controller over a simulated cluster, with a clock that stands still.
func kind(t *testing.T, objects ...client.Object) (*Kind, *sim.Cluster, *events.FakeRecorder) {
	t.Helper()
	now := func() time.Time { return noon }
	cluster := sim.New(sim.Options{Now: now})
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).
		WithIndex(&v1alpha1.SlurmJob{}, indexUsers, func(o client.Object) []string { return []string{string(o.(*v1alpha1.SlurmJob).Spec.Site)} }).Build()
	recorder := events.NewFakeRecorder(100)
	registry := NewRegistry(origin, nil, now)
	t.Cleanup(registry.Close)
	k := New(Deps{
		Client: c, Live: c, Events: recorder, Registry: registry, Now: now,
		Origin: Origin{User: "ada", Host: "login1", PID: 42, ProcessStart: noon},
		Openers: []Opener{
			{Name: "local", Host: Always, Matches: func(s *v1alpha1.SiteSpec) bool { return s.Jobs.Local != nil },
				Open: func(context.Context, *v1alpha1.Site, Secrets) (Opened, error) {
					return Opened{}, errors.New("assay-node is missing: build it with make")
				}},
			{Name: "sim", Matches: func(s *v1alpha1.SiteSpec) bool { return s.Jobs.Sim != nil },
				Open: func(context.Context, *v1alpha1.Site, Secrets) (Opened, error) {
					site := cluster.Site(origin)
					return Opened{Jobs: site, Files: site, Prober: site, Node: "/node", Pace: poll.Near()}, nil
				}},
		},
	})
	return k, cluster, recorder
}

func simSite() *v1alpha1.Site {
	return &v1alpha1.Site{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "here", UID: "u1", Generation: 1},
		Spec:       v1alpha1.SiteSpec{Jobs: v1alpha1.JobsDoor{Sim: &v1alpha1.SimDoor{Nodes: 4}}, WorkDir: "/work"},
	}
}

func user() *v1alpha1.SlurmJob {
	return &v1alpha1.SlurmJob{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "run", UID: "20000000-0000-4000-8000-000000000005"},
		Spec:       v1alpha1.SlurmJobSpec{Site: "here"},
	}
}

func perform(t *testing.T, k *Kind, site *v1alpha1.Site, effects ...any) world {
	t.Helper()
	for _, e := range effects {
		if err := k.Perform(t.Context(), site, e); err != nil {
			t.Fatalf("%T: %v", e, err)
		}
	}
	seen, err := k.Observe(t.Context(), site)
	if err != nil {
		t.Fatal(err)
	}
	return seen
}

func TestDoorOpensAndShuts(t *testing.T) {
	k, cluster, _ := kind(t)
	site := simSite()
	if _, err := k.Registry.Door("default", "here"); !errors.Is(err, slurmbridge.ErrNotOpen) {
		t.Fatalf("want ErrNotOpen, got %v", err)
	}
	if seen := perform(t, k, site, Open{}, Probe{}); !seen.open || !seen.current || seen.looks.failed != nil {
		t.Fatalf("want an open door, got %+v", seen)
	}
	door, err := k.Registry.Door("default", "here")
	if err != nil || door.WorkDir != "/work" || door.Origin != origin || door.Node != "/node" {
		t.Fatalf("got %+v, %v", door, err)
	}
	if _, ok := k.Registry.Poller("default", "here"); !ok {
		t.Error("no poll")
	}
	cluster.Outage(true)
	if seen := perform(t, k, site, Probe{}); !errors.Is(seen.looks.failed, slurmbridge.ErrUnreachable) {
		t.Errorf("want an unreachable site, got %v", seen.looks.failed)
	}
	site.Spec.WorkDir = "/elsewhere"
	if seen := perform(t, k, site); seen.current {
		t.Error("another work folder needs another door")
	}
	if seen := perform(t, k, site, Shut{}); seen.open {
		t.Error("it is still open")
	}
}

func TestDoorThatDoesNotOpen(t *testing.T) {
	k, _, _ := kind(t)
	site := simSite()
	site.Spec.Jobs = v1alpha1.JobsDoor{Local: &v1alpha1.LocalDoor{}}
	if err := k.Perform(t.Context(), site, Open{}); err == nil {
		t.Error("a door to this host was opened without leave")
	}
	if seen := perform(t, k, site); !seen.refused {
		t.Error("want a refusal")
	}
	k.AllowHost = true
	seen := perform(t, k, site, Open{}, Probe{}, Beat{}, Sweep{})
	if seen.open || seen.looks.failed == nil || !strings.Contains(seen.looks.failed.Error(), "make") {
		t.Errorf("want the opener's words, got %+v", seen)
	}
}

// A host that takes our connection and says nothing more holds up none of the others for ever.
func TestDoorThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k, _, _ := kind(t)
		k.Openers = []Opener{{Name: "ssh", Matches: func(*v1alpha1.SiteSpec) bool { return true },
			Open: func(ctx context.Context, _ *v1alpha1.Site, _ Secrets) (Opened, error) {
				<-ctx.Done()
				return Opened{}, context.Cause(ctx)
			}}}
		start := time.Now()
		seen := perform(t, k, simSite(), Open{})
		if took := time.Since(start); took != openTimeout || seen.open || seen.looks.failed == nil || seen.looks.failed.Error() != "it was not open within 5m0s" {
			t.Errorf("after %s it is %+v", took, seen)
		}
	})
}

func TestBeat(t *testing.T) {
	k, _, _ := kind(t)
	site := simSite()
	perform(t, k, site, Open{}, Beat{})
	door, err := k.Registry.Door("default", "here")
	if err != nil {
		t.Fatal(err)
	}
	path := "/work/.origins/" + origin + ".json"
	files, err := door.Files.Read(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	var got Origin
	if err := json.Unmarshal(files[path], &got); err != nil {
		t.Fatalf("%q: %v", files[path], err)
	}
	want := Origin{Origin: origin, User: "ada", Host: "login1", PID: 42, ProcessStart: noon, Counter: noon.Unix()}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestSweep(t *testing.T) {
	k, cluster, recorder := kind(t, user())
	site := simSite()
	perform(t, k, site, Open{})
	jobs := cluster.Site(origin)
	for _, uid := range []string{"20000000-0000-4000-8000-000000000005", "30000000-0000-4000-8000-000000000006"} {
		key := slurmbridge.NewKey(origin, uid, 1)
		if err := jobs.Submit(t.Context(), key, slurmbridge.Script{Directory: "/work/1", Node: "/n", Parts: []slurmbridge.Part{{Nodes: 1}}}); err != nil {
			t.Fatal(err)
		}
	}
	perform(t, k, site, Sweep{})
	list, err := jobs.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var alive []string
	for _, j := range list {
		if !j.Over() {
			alive = append(alive, j.Key.UID())
		}
	}
	if diff := cmp.Diff([]string{"2000000000004000"}, alive); diff != "" {
		t.Errorf("the job whose object is gone, and no other, is cancelled (-want +got):\n%s", diff)
	}
	if e := <-recorder.Events; !strings.Contains(e, "OrphanCancelled") {
		t.Errorf("got event %q", e)
	}
}

// TestOrphanedDoor: a door outlives its Site as long as a SlurmJob needs it.
func TestOrphanedDoor(t *testing.T) {
	k, _, _ := kind(t, user())
	perform(t, k, simSite(), Open{})
	k.shutOrphans(t.Context())
	if _, err := k.Registry.Door("default", "here"); err != nil {
		t.Fatalf("a SlurmJob needs it: %v", err)
	}
	if err := k.Client.Delete(t.Context(), user()); err != nil {
		t.Fatal(err)
	}
	k.shutOrphans(t.Context())
	if _, err := k.Registry.Door("default", "here"); err == nil {
		t.Error("nobody needs it")
	}
}

func TestObserveCounts(t *testing.T) {
	live, ended := user(), user()
	live.Name, live.UID = "live", "u2"
	live.Status.Attempts = []v1alpha1.Attempt{{Number: 1, Submits: 1, State: v1alpha1.AttemptRunning}}
	ended.Name, ended.UID = "ended", "u3"
	ended.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionComplete, Status: metav1.ConditionTrue}}
	elsewhere := user()
	elsewhere.Name, elsewhere.UID, elsewhere.Spec.Site = "elsewhere", "u4", "there"
	k, _, _ := kind(t, user(), live, ended, elsewhere)
	site := simSite()
	site.DeletionTimestamp = &metav1.Time{Time: noon}
	seen := perform(t, k, site)
	if seen.jobs != 2 || seen.live != 1 {
		t.Errorf("got %d jobs, %d live; want 2 that have not ended, 1 with a job", seen.jobs, seen.live)
	}
	if diff := cmp.Diff([]string{"ended", "live", "run"}, seen.users); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
}
