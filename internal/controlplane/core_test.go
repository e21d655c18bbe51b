package controlplane_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applycore "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"assay.bench/api/v1alpha1"
)

// newNamespace makes a namespace that the test alone uses.
func newNamespace(t *testing.T, c client.Client) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "t-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.Name
}

func meta(namespace, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: name}
}

func TestStrictFields(t *testing.T) {
	c := client.WithFieldValidation(clientOf(t, sharedServer(t)), metav1.FieldValidationStrict)
	spec := parse(t, baseBenchmark)
	spec["clientz"] = []any{}
	err := c.Create(t.Context(), object("Benchmark", map[string]any{"spec": spec}), client.DryRunAll)
	if err == nil || !strings.Contains(err.Error(), `unknown field "spec.clientz"`) {
		t.Errorf("custom resource: %v", err)
	}
	secret := object("Secret", map[string]any{"dta": map[string]any{}})
	secret.SetAPIVersion("v1")
	err = c.Create(t.Context(), secret, client.DryRunAll)
	if err == nil || !strings.Contains(err.Error(), `unknown field "dta"`) {
		t.Errorf("built-in kind: %v", err)
	}
}

func TestStatusSubresource(t *testing.T) {
	c := clientOf(t, sharedServer(t))
	b := &v1alpha1.Site{ObjectMeta: meta(newNamespace(t, c), "a")}
	b.Spec.WorkDir, b.Spec.Jobs.Local = "/tmp/x", &v1alpha1.LocalDoor{}
	b.Status.Door = "not yet"
	if err := c.Create(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if b.Status.Door != "" || b.Generation != 1 {
		t.Errorf("create must not take the status: %q, generation %d", b.Status.Door, b.Generation)
	}
	stale := b.DeepCopy()
	b.Status.Door, b.Spec.WorkDir = "local", "/other"
	if err := c.Status().Update(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if b.Status.Door != "local" || b.Spec.WorkDir != "/tmp/x" || b.Generation != 1 {
		t.Errorf("a status update changes the status only: %q, %q, generation %d", b.Status.Door, b.Spec.WorkDir, b.Generation)
	}
	if err := c.Status().Update(t.Context(), stale); !apierrors.IsConflict(err) {
		t.Errorf("a stale update must conflict, got %v", err)
	}
}

func TestNamespaces(t *testing.T) {
	c := clientOf(t, sharedServer(t))
	err := c.Create(t.Context(), &corev1.Secret{ObjectMeta: meta("no-such", "a")})
	if !apierrors.IsNotFound(err) || !strings.Contains(err.Error(), `namespaces "no-such" not found`) {
		t.Errorf("writing into a missing namespace: %v", err)
	}
	site := object("Site", map[string]any{"spec": parse(t, baseSite)})
	site.SetNamespace("no-such")
	if err := c.Create(t.Context(), site); !apierrors.IsNotFound(err) {
		t.Errorf("a custom resource in a missing namespace: %v", err)
	}
	if err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(site), client.FieldOwner("t")); !apierrors.IsNotFound(err) {
		t.Errorf("applying into a missing namespace: %v", err)
	}
	for _, name := range []string{"default", "kube-system"} {
		ns := &corev1.Namespace{}
		if err := c.Get(t.Context(), client.ObjectKey{Name: name}, ns); err != nil || ns.UID == "" || ns.Status.Phase != corev1.NamespaceActive {
			t.Errorf("%s must exist from the start: %v, %+v", name, err, ns)
		}
		if err := c.Delete(t.Context(), ns); !apierrors.IsForbidden(err) {
			t.Errorf("%s must not be deleted: %v", name, err)
		}
	}
	if err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: meta("", "Bad_Name")}); !apierrors.IsInvalid(err) {
		t.Errorf("a bad name: %v", err)
	}
}

func TestNamespaceDeletion(t *testing.T) {
	c := clientOf(t, sharedServer(t))
	name := newNamespace(t, c)
	site := object("Site", map[string]any{"spec": parse(t, baseSite)})
	site.SetNamespace(name)
	site.SetFinalizers([]string{"assay.bench/test"})
	for _, obj := range []client.Object{
		site, &corev1.Secret{ObjectMeta: meta(name, "s")}, &corev1.ConfigMap{ObjectMeta: meta(name, "c")},
		&coordinationv1.Lease{ObjectMeta: meta(name, "l")},
	} {
		if err := c.Create(t.Context(), obj); err != nil {
			t.Fatal(err)
		}
	}
	ns := &corev1.Namespace{ObjectMeta: meta("", name)}
	if err := c.Delete(t.Context(), ns, client.DryRunAll); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(ns), ns); err != nil || ns.DeletionTimestamp != nil {
		t.Fatalf("a dry run deletes nothing: %v, %v", err, ns.DeletionTimestamp)
	}
	if err := c.Delete(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: name, Name: "s"}, &corev1.Secret{}); !apierrors.IsNotFound(err) {
			return "the Secret is still there"
		}
		return ""
	})
	// The finalizer holds the Site, and the Site holds the namespace.
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(ns), ns); err != nil || ns.Status.Phase != corev1.NamespaceTerminating {
		t.Fatalf("want Terminating, got %q, %v", ns.Status.Phase, err)
	}
	ns.Labels["a"] = "b"
	if err := c.Update(t.Context(), ns); err != nil {
		t.Errorf("an update of a terminating namespace: %v", err)
	}
	err := c.Create(t.Context(), &corev1.Secret{ObjectMeta: meta(name, "late")})
	if !apierrors.IsForbidden(err) || !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		t.Errorf("creating in a terminating namespace: %v", err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(site), site); err != nil || site.GetDeletionTimestamp() == nil {
		t.Fatalf("the Site must be deleted and held: %v", err)
	}
	controllerutil.RemoveFinalizer(site, "assay.bench/test")
	if err := c.Update(t.Context(), site); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(ns), ns); !apierrors.IsNotFound(err) {
			return "the namespace is still there"
		}
		return ""
	})
}

func TestSecrets(t *testing.T) {
	c := clientOf(t, sharedServer(t))
	ns := newNamespace(t, c)
	s := &corev1.Secret{ObjectMeta: meta(ns, "a"), Data: map[string][]byte{"k": []byte("1")}, StringData: map[string]string{"s": "2"}}
	if err := c.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	want := map[string][]byte{"k": []byte("1"), "s": []byte("2")}
	if diff := cmp.Diff(want, s.Data); diff != "" || s.Type != corev1.SecretTypeOpaque || s.StringData != nil {
		t.Errorf("type %q, stringData %v, data (-want +got):\n%s", s.Type, s.StringData, diff)
	}
	if err := c.Create(t.Context(), &corev1.Secret{ObjectMeta: meta(ns, "a")}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("create must never replace: %v", err)
	}
	for name, tc := range map[string]struct {
		reason string
		change func(*corev1.Secret)
		field  string
	}{
		"type": {"readers rely on it", func(s *corev1.Secret) { s.Type = "other" }, "type"},
		"key":  {"a key is a file name", func(s *corev1.Secret) { s.Data["a/b"] = nil }, "data[a/b]"},
		"size": {"etcd is no file system", func(s *corev1.Secret) { s.Data["a"] = make([]byte, 1<<20) }, "data"},
	} {
		t.Run(name, func(t *testing.T) {
			changed := s.DeepCopy()
			tc.change(changed)
			assertField(t, c.Update(t.Context(), changed), tc.field)
		})
	}
	s.Immutable = new(true)
	if err := c.Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	changed := s.DeepCopy()
	changed.Data["k"] = []byte("3")
	assertField(t, c.Update(t.Context(), changed), "data")
	changed = s.DeepCopy()
	changed.Immutable = nil
	assertField(t, c.Update(t.Context(), changed), "immutable")
	s.Labels = map[string]string{"a": "b"}
	if err := c.Update(t.Context(), s); err != nil {
		t.Errorf("labels of an immutable Secret may change: %v", err)
	}
}

func TestSecretApply(t *testing.T) {
	c := clientOf(t, sharedServer(t))
	ns := newNamespace(t, c)
	apply := func(owner string, data map[string][]byte, o ...client.ApplyOption) error {
		return c.Apply(t.Context(), applycore.Secret("a", ns).WithData(data), append(o, client.FieldOwner(owner))...)
	}
	get := func() map[string][]byte {
		s := &corev1.Secret{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "a"}, s); err != nil {
			t.Fatal(err)
		}
		return s.Data
	}
	if err := apply("one", map[string][]byte{"p": []byte("1"), "q": []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if err := apply("two", map[string][]byte{"r": []byte("2")}); err != nil {
		t.Fatal(err)
	}
	if err := apply("two", map[string][]byte{"q": []byte("2"), "r": []byte("2")}); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), ".data.q") {
		t.Errorf("want a conflict about .data.q, got %v", err)
	}
	if err := apply("one", map[string][]byte{"p": []byte("1")}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{"p": []byte("1"), "r": []byte("2")}, get()); diff != "" {
		t.Errorf("each owner has its keys (-want +got):\n%s", diff)
	}
}

func TestConfigMaps(t *testing.T) {
	c := clientOf(t, sharedServer(t))
	ns := newNamespace(t, c)
	both := &corev1.ConfigMap{ObjectMeta: meta(ns, "a"), Data: map[string]string{"k": "1"}, BinaryData: map[string][]byte{"k": nil}}
	assertField(t, c.Create(t.Context(), both), "data[k]")
	cm := &corev1.ConfigMap{ObjectMeta: meta(ns, "a"), Data: map[string]string{"k": "1"}, Immutable: new(true)}
	if err := c.Create(t.Context(), cm); err != nil {
		t.Fatal(err)
	}
	cm.Data["k"] = "2"
	assertField(t, c.Update(t.Context(), cm), "data")
	assertField(t, c.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: meta(ns, "Upper")}), "metadata.name")
}

func TestLeases(t *testing.T) {
	c := clientOf(t, sharedServer(t))
	ns := newNamespace(t, c)
	l := &coordinationv1.Lease{ObjectMeta: meta(ns, "a"), Spec: coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(0))}}
	assertField(t, c.Create(t.Context(), l), "spec.leaseDurationSeconds")
	l.Spec.LeaseDurationSeconds = new(int32(15))
	if err := c.Create(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	stale := l.DeepCopy()
	l.Spec.HolderIdentity = new("me")
	if err := c.Update(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if err := c.Update(t.Context(), stale); !apierrors.IsConflict(err) {
		t.Errorf("two holders must not both win: %v", err)
	}
}

func TestEvents(t *testing.T) {
	c := clientOf(t, sharedServer(t))
	ns := newNamespace(t, c)
	at := metav1.NewMicroTime(time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC))
	e := &eventsv1.Event{
		ObjectMeta: meta(ns, "a"), EventTime: at, ReportingController: "assay.bench/x", ReportingInstance: "i",
		Action: "Start", Reason: "Started", Type: corev1.EventTypeNormal, Note: "hello",
		Regarding: corev1.ObjectReference{Kind: "Benchmark", Namespace: ns, Name: "b"},
		Series:    &eventsv1.EventSeries{Count: 2, LastObservedTime: at},
	}
	bad := e.DeepCopy()
	bad.Action, bad.Note = "", strings.Repeat("x", 1025)
	assertField(t, c.Create(t.Context(), bad.DeepCopy()), "action", "note")
	if err := c.Create(t.Context(), e); err != nil {
		t.Fatal(err)
	}
	core := &corev1.EventList{}
	if err := c.List(t.Context(), core, client.InNamespace(ns), client.MatchingFields{"involvedObject.name": "b"}); err != nil {
		t.Fatal(err)
	}
	if len(core.Items) != 1 || core.Items[0].Message != "hello" || core.Items[0].Series.Count != 2 || core.Items[0].UID != e.UID {
		t.Errorf("the core group shows %+v", core.Items)
	}
	other := &corev1.Event{
		ObjectMeta: meta(ns, "b"), Message: "old", Reason: "R", Source: corev1.EventSource{Component: "x"},
		InvolvedObject: corev1.ObjectReference{Kind: "Benchmark", Namespace: ns, Name: "c"},
	}
	if err := c.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	list := &eventsv1.EventList{}
	if err := c.List(t.Context(), list, client.InNamespace(ns), client.MatchingFields{"regarding.name": "c"}); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 1 || list.Items[0].Note != "old" || list.Items[0].DeprecatedSource.Component != "x" {
		t.Errorf("events.k8s.io shows %+v", list.Items)
	}
	patch := client.StrategicMergeFrom(e.DeepCopy())
	e.Series.Count = 3
	if err := c.Patch(t.Context(), e, patch); err != nil || e.Series.Count != 3 {
		t.Errorf("a recorder patches the series: %v, %+v", err, e.Series)
	}
	err := c.List(t.Context(), list, client.MatchingFields{"nonsense": "c"})
	if !apierrors.IsBadRequest(err) {
		t.Errorf("an unknown field selector: %v", err)
	}
	wrong := other.DeepCopy()
	wrong.ObjectMeta, wrong.InvolvedObject.Namespace = meta(ns, "c"), "elsewhere"
	assertField(t, c.Create(t.Context(), wrong), "involvedObject.namespace")
}

func TestReviews(t *testing.T) {
	k, err := kubernetes.NewForConfig(sharedServer(t).Config())
	if err != nil {
		t.Fatal(err)
	}
	who, err := k.AuthenticationV1().SelfSubjectReviews().Create(t.Context(), &authenticationv1.SelfSubjectReview{}, metav1.CreateOptions{})
	if err != nil || who.Status.UserInfo.Username == "" {
		t.Errorf("whoami: %v, %+v", err, who)
	}
	create := &authorizationv1.ResourceAttributes{Verb: "create", Group: "assay.bench", Resource: "benchmarks", Namespace: "default"}
	self, err := k.AuthorizationV1().SelfSubjectAccessReviews().Create(t.Context(), &authorizationv1.SelfSubjectAccessReview{
		Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: create},
	}, metav1.CreateOptions{})
	if err != nil || !self.Status.Allowed {
		t.Errorf("the owner may do all: %v, %+v", err, self)
	}
	bob, err := k.AuthorizationV1().SubjectAccessReviews().Create(t.Context(), &authorizationv1.SubjectAccessReview{
		Spec: authorizationv1.SubjectAccessReviewSpec{User: "bob", ResourceAttributes: create},
	}, metav1.CreateOptions{})
	if err != nil || bob.Status.Allowed {
		t.Errorf("others may do nothing: %v, %+v", err, bob)
	}
	rules, err := k.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), &authorizationv1.SelfSubjectRulesReview{
		Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: "default"},
	}, metav1.CreateOptions{})
	if err != nil || len(rules.Status.ResourceRules) != 1 {
		t.Errorf("rules: %v, %+v", err, rules)
	}
}

// Nothing here removes the finalizers of a foreground deletion, so the server must not set them.
func TestCascadesEnd(t *testing.T) {
	c := clientOf(t, sharedServer(t))
	ns := newNamespace(t, c)
	for _, policy := range []metav1.DeletionPropagation{metav1.DeletePropagationForeground, metav1.DeletePropagationOrphan} {
		site := object("Site", map[string]any{"spec": parse(t, baseSite)})
		site.SetNamespace(ns)
		for _, obj := range []client.Object{site, &corev1.Secret{ObjectMeta: meta(ns, "s")}} {
			if err := c.Create(t.Context(), obj); err != nil {
				t.Fatal(err)
			}
			if err := c.Delete(t.Context(), obj, client.PropagationPolicy(policy)); err != nil {
				t.Fatal(err)
			}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); !apierrors.IsNotFound(err) {
				t.Errorf("%s: %T is held by %v, %v", policy, obj, obj.GetFinalizers(), err)
			}
		}
	}
}

// assertField checks that an error is Invalid and speaks of exactly these fields.
func assertField(t *testing.T, err error, want ...string) {
	t.Helper()
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsInvalid(err) {
		t.Errorf("want a refusal of %v, got %v", want, err)
		return
	}
	var got []string
	for _, cause := range status.ErrStatus.Details.Causes {
		got = append(got, cause.Field)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("refused fields (-want +got):\n%s", diff)
	}
}

// A watch that begins with the existing objects, as a manager's caches do, gets its first bookmark at once.
func TestWatchListIsFast(t *testing.T) {
	k, err := kubernetes.NewForConfig(sharedServer(t).Config())
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	w, err := k.CoreV1().Secrets("").Watch(t.Context(), metav1.ListOptions{
		SendInitialEvents: new(true), ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan, AllowWatchBookmarks: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	for event := range w.ResultChan() {
		if m, ok := event.Object.(metav1.Object); ok && m.GetAnnotations()[metav1.InitialEventsAnnotationKey] == "true" {
			t.Logf("after %v", time.Since(begin))
			return
		}
	}
	t.Error("the watch ended without a bookmark")
}
