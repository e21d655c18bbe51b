package reconcile

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"assay.bench/api/v1alpha1"
)

func TestRemoval(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		children []Child
		abandon  bool
		want     []Effect
	}{
		"jobs first": {
			reason:   "what the jobs speak of stays until they are gone",
			children: []Child{{Kind: KindService, Name: "s"}, {Kind: KindSlurmJob, Name: "j", UID: "u"}},
			want:     []Effect{Delete{KindSlurmJob, "j", "u"}},
		},
		"a job on its way": {
			reason:   "it was asked for already",
			children: []Child{{Kind: KindService, Name: "s"}, {Kind: KindSlurmJob, Name: "j", Deleting: true}},
		},
		"the rest": {
			reason:   "all together",
			children: []Child{{Kind: KindService, Name: "s"}, {Kind: KindSecret, Name: "x"}},
			want:     []Effect{Delete{KindService, "s", ""}, Delete{KindSecret, "x", ""}},
		},
		"abandoned": {
			reason:   "the annotation reaches each job once, before it is deleted",
			children: []Child{{Kind: KindSlurmJob, Name: "a"}, {Kind: KindSlurmJob, Name: "b", Abandoned: true, Deleting: true}},
			abandon:  true,
			want:     []Effect{Abandon{"a", ""}, Delete{KindSlurmJob, "a", ""}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Removal(c.children, c.abandon)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

func fakeAPI(t *testing.T, objects ...client.Object) (client.Client, Children) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	api := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	return api, Children{Client: api, Live: api, Owner: "test"}
}

func TestChildrenListAndDelete(t *testing.T) {
	mine := metav1.ObjectMeta{Namespace: "ns", Name: "j", UID: "old", Labels: map[string]string{"a": "b", v1alpha1.LabelRun: "g1"}}
	other := metav1.ObjectMeta{Namespace: "ns", Name: "k", Labels: map[string]string{"a": "c"}}
	api, children := fakeAPI(t, &v1alpha1.SlurmJob{ObjectMeta: mine}, &v1alpha1.Service{ObjectMeta: mine}, &corev1.Secret{ObjectMeta: mine}, &v1alpha1.SlurmJob{ObjectMeta: other})
	list, err := children.List(t.Context(), "ns", map[string]string{"a": "b"})
	if err != nil {
		t.Fatal(err)
	}
	want := []Child{{Kind: KindSlurmJob, Name: "j", UID: "old", Run: "g1"}, {Kind: KindService, Name: "j", UID: "old", Run: "g1"}, {Kind: KindSecret, Name: "j", UID: "old", Run: "g1"}}
	if diff := cmp.Diff(want, list); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, uid := range []types.UID{"old", "old"} { // the second finds nothing, which is no error
		if err := children.Delete(t.Context(), "ns", Delete{KindSlurmJob, "j", uid}); err != nil {
			t.Error(err)
		}
	}
	if err := api.Get(t.Context(), types.NamespacedName{Namespace: "ns", Name: "j"}, &v1alpha1.SlurmJob{}); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the job is still there: %v", err)
	}
}

// TestDeleteSparesANamesake: an object of another UID is another object.
func TestDeleteSparesANamesake(t *testing.T) {
	api, children := fakeAPI(t)
	sent := types.UID("")
	children.Client = spy{api, func(o ...client.DeleteOption) {
		var opts client.DeleteOptions
		opts.ApplyOptions(o)
		if opts.Preconditions != nil && opts.Preconditions.UID != nil {
			sent = *opts.Preconditions.UID
		}
	}}
	if err := children.Delete(t.Context(), "ns", Delete{KindService, "s", "mine"}); err != nil || sent != "mine" {
		t.Errorf("precondition %q, %v", sent, err)
	}
}

type spy struct {
	client.Client
	deleted func(...client.DeleteOption)
}

func (s spy) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	s.deleted(opts...)
	return s.Client.Delete(ctx, o, opts...)
}

func TestAbandon(t *testing.T) {
	api, children := fakeAPI(t, &v1alpha1.SlurmJob{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "j", UID: "u", Labels: map[string]string{"a": "b"}}})
	if err := children.Abandon(t.Context(), "ns", Abandon{"j", "u"}); err != nil {
		t.Fatal(err)
	}
	var job v1alpha1.SlurmJob
	if err := api.Get(t.Context(), types.NamespacedName{Namespace: "ns", Name: "j"}, &job); err != nil || !IsAbandoned(&job) || job.Labels["a"] != "b" {
		t.Errorf("%v, %v %v", err, job.Annotations, job.Labels)
	}
}

func TestCredentialIsMadeOnce(t *testing.T) {
	api, _ := fakeAPI(t)
	read := func() map[string][]byte {
		var s corev1.Secret
		if err := api.Get(t.Context(), types.NamespacedName{Namespace: "ns", Name: "x"}, &s); err != nil {
			t.Fatal(err)
		}
		return s.Data
	}
	create := func(seed byte) {
		random := bytes.NewReader(bytes.Repeat([]byte{seed}, 64))
		if err := PerformCredential(t.Context(), api, random, "ns", CreateCredential{Name: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	create(1)
	first := read()
	create(2)
	if diff := cmp.Diff(first, read()); diff != "" {
		t.Errorf("a credential that may be in use was replaced (-first +second):\n%s", diff)
	}
	if len(first["token"]) != 32 || len(first["password"]) != 32 || slices.Equal(first["token"], []byte{}) {
		t.Errorf("%d and %d characters", len(first["token"]), len(first["password"]))
	}
	if err := PerformCredential(t.Context(), api, bytes.NewReader(nil), "ns", CreateCredential{Name: "y"}); err == nil {
		t.Error("a credential without randomness")
	}
}
