package app

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/app/recipe"
)

const (
	aBenchmark = `apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: one}
spec:
  services:
  - {name: sim, llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}}
  clients:
  - {name: load, target: {service: sim}, inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}, closedLoop: {concurrency: 1}, duration: 2s}
`
	aService = `apiVersion: assay.bench/v1alpha1
kind: Service
metadata: {name: web}
spec: {site: local, llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}}
`
	aClient = `apiVersion: assay.bench/v1alpha1
kind: LoadClient
metadata: {name: users}
spec: {site: local, target: {service: web}, inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}, closedLoop: {concurrency: 1}, duration: 2s}
`
)

// objects are those of a recipe in the default namespace.
func objects(t *testing.T, documents ...string) []recipe.Object {
	t.Helper()
	out, err := parseFiles(&OS{}, []string{recipeFile(t, documents...)})
	if err != nil {
		t.Fatal(err)
	}
	for i := range out {
		out[i].File = "r.yaml"
	}
	return out
}

// command runs assay in this process.
func command(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	o, out := at(t.TempDir(), "")
	var problems bytes.Buffer
	o.Args, o.Stderr, o.Dir = args, &problems, t.TempDir()
	code = Main(*o)
	return code, out.String(), problems.String()
}

// withPlane runs a test on a control plane without controllers.
func withPlane(t *testing.T, test func(p *plane)) {
	t.Helper()
	o, _ := at(t.TempDir(), "")
	if err := withThrowaway(t.Context(), o, func(p *plane) error { test(p); return nil }); err != nil {
		t.Fatal(err)
	}
}

// runs lists what runs on a control plane as kind/name.
func runs(t *testing.T, c client.Client) []string {
	t.Helper()
	var out []string
	for _, list := range runKinds() {
		found, err := items(t.Context(), c, list, func(client.Object) bool { return true })
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range found {
			out = append(out, strings.TrimSuffix(reflect.TypeOf(list).Elem().Name(), "List")+"/"+o.GetName())
		}
	}
	return out
}

func TestARunIsNotTakenOver(t *testing.T) {
	withPlane(t, func(p *plane) {
		mine := objects(t, aBenchmark, aService, aClient)
		made, err := p.accept(t.Context(), mine)
		if err != nil || len(made) != 3 {
			t.Fatalf("made %v, %v", made, err)
		}
		for _, o := range made {
			if o.GetUID() == "" || o.GetGeneration() != 1 {
				t.Errorf("%s: UID %q, generation %d", o.GetName(), o.GetUID(), o.GetGeneration())
			}
		}
		const want = `r.yaml:3:12: metadata.name: there is a Benchmark "one" in namespace default already: delete it first, or give yours another name`
		site := "apiVersion: assay.bench/v1alpha1\nkind: Site\nmetadata: {name: s}\nspec: {jobs: {local: {}}, workDir: /tmp/x}\n"
		second := objects(t, strings.Replace(aBenchmark, "2s", "3s", 1), site)
		made, err = p.accept(t.Context(), second)
		if code := codeOf(err); code != exitUsage || err.Error() != want || len(made) != 0 {
			t.Errorf("exit code %d, made %v, %v", code, made, err)
		}
		if there, err := exists(t.Context(), p.client, &v1alpha1.Site{}, "default", "s"); there || err != nil {
			t.Errorf("of a recipe that is refused something was applied: %t, %v", there, err)
		}
		// Another assay run may have looked as early as this one.
		made, err = store(t.Context(), p.client, objects(t, strings.Replace(aService, "web", "other", 1), aBenchmark))
		if err == nil || !strings.Contains(err.Error(), `there is a Benchmark "one"`) || len(made) != 1 {
			t.Errorf("made %v, %v; want what was made before the refusal", made, err)
		}
	})
}

// A session takes back what it made, and nothing that has its name.
func TestASessionDeletesOnlyItsOwn(t *testing.T) {
	withPlane(t, func(p *plane) {
		ctx := t.Context()
		if _, err := p.accept(ctx, objects(t, strings.Replace(aService, "web", "others", 1))); err != nil {
			t.Fatal(err)
		}
		made, err := p.accept(ctx, objects(t, aBenchmark, aService, aClient))
		if err != nil {
			t.Fatal(err)
		}
		o, _ := at(t.TempDir(), "")
		standing := *p
		standing.owned = false
		s := &session{o: o, plane: &standing, names: []string{"default/one"}, made: made, progress: newProgress(o)}
		bm, err := s.benchmark(ctx, "default/one")
		if err != nil {
			t.Fatal(err)
		}
		// Somebody deletes the Benchmark and makes another one of this name.
		if err := p.client.Delete(ctx, bm); err != nil {
			t.Fatal(err)
		}
		if _, err := p.accept(ctx, objects(t, aBenchmark)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.benchmark(ctx, "default/one"); client.IgnoreNotFound(err) != nil || err == nil {
			t.Errorf("somebody else's Benchmark is followed: %v", err)
		}
		if err := s.clean(ctx); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"Benchmark/one", "Service/others"}, runs(t, p.client)); diff != "" {
			t.Errorf("left on a standing control plane (-want +got):\n%s", diff)
		}
		s.plane = p
		if err := removeAll(ctx, p.client, runKinds(), s.isMine); err != nil {
			t.Fatal(err)
		}
		if left := runs(t, p.client); len(left) > 0 {
			t.Errorf("left on a control plane of its own: %v", left)
		}
	})
}

// Who lost the terminal finds in the log how to come back.
func TestHowToAttachIsInTheLog(t *testing.T) {
	withPlane(t, func(p *plane) {
		o, said := at(t.TempDir(), "")
		s := &session{o: o, plane: p, progress: newProgress(o)}
		if err := s.begin(t.Context(), objects(t, aBenchmark)); err != nil {
			t.Fatal(err)
		}
		log, err := os.ReadFile(p.folder.Log())
		if err != nil {
			t.Fatal(err)
		}
		command := "assay attach " + p.folder.Short()
		if !strings.Contains(said.String(), command) || !strings.Contains(string(log), `"msg":"if the terminal is lost, attach","command":"`+command+`"`) {
			t.Errorf("said:\n%s\nlogged:\n%s", said, log)
		}
	})
}

// What a cancelled run left, and could not be written, is not lost with the state: assay attach writes it.
func TestWhatACancelledRunLeftIsFound(t *testing.T) {
	withPlane(t, func(p *plane) {
		run := filepath.Join(p.folder.Work(), p.folder.Info.Origin, "default", "one", "g1")
		if err := os.MkdirAll(run, 0o700); err != nil {
			t.Fatal(err)
		}
		s := &session{plane: p, names: []string{"default/one", "default/two"}}
		if diff := cmp.Diff(map[string]string{"default/one": run}, s.directories(t.Context())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		named := p.folder // a Site named another work folder since
		if err := os.RemoveAll(run); err != nil {
			t.Fatal(err)
		}
		_, other := elsewhere(t, &named)
		if diff := cmp.Diff(map[string]string{"default/one": other}, s.directories(t.Context())); diff != "" {
			t.Errorf("in a work folder of a Site's own (-want +got):\n%s", diff)
		}
		standing := *p
		standing.owned = false
		s.plane = &standing
		if found := s.directories(t.Context()); len(found) > 0 {
			t.Errorf("on a standing control plane it is somebody else's: %v", found)
		}
	})
}

// What was seen is deleted, not what has its name by then.
func TestADeletionMeansOneObject(t *testing.T) {
	withPlane(t, func(p *plane) {
		made, err := p.accept(t.Context(), objects(t, aService))
		if err != nil {
			t.Fatal(err)
		}
		before := made[0].DeepCopyObject().(client.Object)
		before.SetUID("00000000-0000-0000-0000-000000000001")
		if err := deleteAll(t.Context(), p.client, []client.Object{before}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"Service/web"}, runs(t, p.client)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestCompleteSpeaksOfWhatWasApplied(t *testing.T) {
	made := &v1alpha1.Benchmark{ObjectMeta: metav1.ObjectMeta{UID: "u", Generation: 2}}
	for reason, tt := range map[string]struct {
		uid      types.UID
		status   metav1.ConditionStatus
		observed int64
		want     bool
	}{
		"the run has ended":                       {"u", metav1.ConditionTrue, 2, true},
		"a change of cleanup starts no other run": {"u", metav1.ConditionTrue, 3, true},
		"the run before has ended":                {"u", metav1.ConditionTrue, 1, false},
		"the run is under way":                    {"u", metav1.ConditionFalse, 2, false},
		"an attach knows no generation any more":  {"v", metav1.ConditionTrue, 1, true},
	} {
		bm := &v1alpha1.Benchmark{ObjectMeta: metav1.ObjectMeta{UID: tt.uid}}
		bm.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionComplete, Status: tt.status, ObservedGeneration: tt.observed}}
		if got := (&session{made: []client.Object{made}}).isComplete(bm); got != tt.want {
			t.Errorf("%s: %t, want %t", reason, got, tt.want)
		}
	}
}

// watched keeps the names of what is deleted.
type watched struct {
	client.Client
	deleted []string
}

func (w *watched) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	w.deleted = append(w.deleted, o.GetName())
	return w.Client.Delete(ctx, o, opts...)
}

// The Sites go too, and last: a job needs its own to end. assay down --drain keeps them.
func TestDrainTakesSitesLast(t *testing.T) {
	withPlane(t, func(p *plane) {
		o, _ := at(t.TempDir(), "")
		if _, err := p.accept(t.Context(), objects(t, aBenchmark, aService, aClient)); err != nil {
			t.Fatal(err)
		}
		c := &watched{Client: p.client}
		for _, kinds := range [][]client.ObjectList{runKinds(), drainKinds()} {
			if err := drainAll(t.Context(), o, c, kinds, time.Minute); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"one", "users", "web", "local"}, c.deleted); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if there, err := exists(t.Context(), p.client, &v1alpha1.Site{}, "default", "local"); there || err != nil {
			t.Errorf("the Site is left: %t, %v", there, err)
		}
		if err := p.ensureLocalSite(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if there, err := exists(t.Context(), p.client, &v1alpha1.Site{}, "default", "local"); !there || err != nil {
			t.Errorf("the next assay up makes no Site: %t, %v", there, err)
		}
	})
}

func TestDrainSaysWhatIsLeft(t *testing.T) {
	withPlane(t, func(p *plane) {
		made, err := p.accept(t.Context(), objects(t, aService))
		if err != nil {
			t.Fatal(err)
		}
		patch := client.MergeFrom(made[0].DeepCopyObject().(client.Object))
		made[0].SetFinalizers([]string{v1alpha1.FinalizerChildren})
		if err := p.client.Patch(t.Context(), made[0], patch); err != nil {
			t.Fatal(err)
		}
		o, _ := at(t.TempDir(), "")
		err = drainAll(t.Context(), o, p.client, runKinds(), time.Second)
		if err == nil || !strings.Contains(err.Error(), "these are not gone: [default/web]; their jobs have not ended") {
			t.Errorf("error %v", err)
		}
	})
}
