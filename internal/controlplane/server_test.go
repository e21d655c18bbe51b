package controlplane_test

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/controlplane"
)

func TestStartToFirstBenchmark(t *testing.T) {
	begin := time.Now()
	s := start(t, filepath.Join(t.TempDir(), "state"))
	started := time.Since(begin)
	b := object("Benchmark", map[string]any{"spec": parse(t, baseBenchmark)})
	if err := clientOf(t, s).Apply(t.Context(), client.ApplyConfigurationFromUnstructured(b), client.FieldOwner("test")); err != nil {
		t.Fatal(err)
	}
	t.Logf("started after %v, first Benchmark applied after %v", started, time.Since(begin))
	got := &v1alpha1.Benchmark{}
	if err := clientOf(t, s).Get(t.Context(), client.ObjectKey{Namespace: "default", Name: "x"}, got); err != nil {
		t.Fatal(err)
	}
	if got.Spec.Placement != v1alpha1.SharedJob || got.Spec.Repeats.Count != 1 {
		t.Errorf("defaults were not set: placement %q, repeats %d", got.Spec.Placement, got.Spec.Repeats.Count)
	}
}

// A create must not wait for the two seconds that the server gives a new definition.
func TestFirstCreateIsFast(t *testing.T) {
	c := clientOf(t, start(t, filepath.Join(t.TempDir(), "state")))
	begin := time.Now()
	if err := c.Create(t.Context(), object("Site", map[string]any{"spec": parse(t, baseSite)})); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(begin); took > 1900*time.Millisecond {
		t.Errorf("the first create took %v", took)
	}
}

func TestModes(t *testing.T) {
	s := sharedServer(t)
	err := filepath.WalkDir(filepath.Dir(s.Kubeconfig()), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("others may use %s: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCredentials(t *testing.T) {
	s := sharedServer(t)
	good, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		reason string
		change func(*rest.Config)
		path   string
		want   int
	}{
		"kubeconfig":      {"the owner may do all", func(*rest.Config) {}, "/api/v1/namespaces", http.StatusOK},
		"no token":        {"the host is shared", func(c *rest.Config) { c.BearerToken = "" }, "/api/v1/namespaces", http.StatusUnauthorized},
		"wrong token":     {"the host is shared", func(c *rest.Config) { c.BearerToken = "x" }, "/api/v1/namespaces", http.StatusUnauthorized},
		"health":          {"not even the health is public", func(c *rest.Config) { c.BearerToken = "" }, "/healthz", http.StatusUnauthorized},
		"another user":    {"there are no other rights", func(c *rest.Config) { c.Impersonate.UserName = "bob" }, "/api/v1/namespaces", http.StatusForbidden},
		"no metrics":      {"nothing is served that nobody reads", func(*rest.Config) {}, "/metrics", http.StatusNotFound},
		"plain discovery": {"old clients read it", func(*rest.Config) {}, "/apis", http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			config := rest.CopyConfig(good)
			tc.change(config)
			c, err := kubernetes.NewForConfig(config)
			if err != nil {
				t.Fatal(err)
			}
			got := 0
			c.RESTClient().Get().AbsPath(tc.path).Do(t.Context()).StatusCode(&got)
			if got != tc.want {
				t.Errorf("%s: status %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
	bad := rest.CopyConfig(good)
	bad.CAData = nil
	c, err := kubernetes.NewForConfig(bad)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Discovery().ServerVersion(); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("a client without the CA must not trust the server: %v", err)
	}
}

func TestSecondStart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	first := start(t, dir)
	begin := time.Now()
	_, err := controlplane.Start(t.Context(), controlplane.Options{StateDir: dir})
	inUse, ok := errors.AsType[*controlplane.InUseError](err)
	if !ok {
		t.Fatalf("want InUseError, got %v", err)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("the refusal took %v", took)
	}
	host, _ := os.Hostname()
	want := &controlplane.InUseError{StateDir: dir, Host: host, PID: os.Getpid(), Since: inUse.Since}
	if diff := cmp.Diff(want, inUse); diff != "" {
		t.Errorf("holder (-want +got):\n%s", diff)
	}
	if !strings.Contains(err.Error(), host) || !strings.Contains(err.Error(), dir) {
		t.Errorf("the message does not name the holder: %v", err)
	}
	if err := put(t, clientOf(t, first), "still-works"); err != nil {
		t.Errorf("the first server suffered: %v", err)
	}
}

func TestRefusedStateDir(t *testing.T) {
	open := t.TempDir()
	if err := os.Chmod(open, 0o755); err != nil {
		t.Fatal(err)
	}
	private := t.TempDir()
	if err := os.Chmod(private, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(private, "link")
	if err := os.Symlink(private, link); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(private, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct{ reason, dir, want string }{
		"relative": {"it would move with the working directory", "state", "absolute"},
		"open":     {"it holds keys", open, "chmod 700"},
		"link":     {"a link may lead anywhere", link, "real folder"},
		"file":     {"it is no folder", file, "not a directory"},
		"long":     {"sockets have short paths", filepath.Join(private, strings.Repeat("d", 120)), "too long for a socket"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := controlplane.Start(t.Context(), controlplane.Options{StateDir: tc.dir})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: got %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestLongStateDir(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	temp := t.TempDir()
	s, err := controlplane.Start(t.Context(), controlplane.Options{StateDir: dir, TempDir: temp})
	if err != nil {
		t.Fatal(err)
	}
	if err := put(t, clientOf(t, s), "a"); err != nil {
		t.Error(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(temp); len(left) > 0 {
		t.Errorf("left behind in the temporary folder: %v", left)
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	s := start(t, dir)
	if err := put(t, clientOf(t, s), "kept"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	// What the user changed stays.
	before = []byte(strings.Replace(string(before), "namespace: default", "namespace: mine", 1))
	if err := os.WriteFile(s.Kubeconfig(), before, 0o600); err != nil {
		t.Fatal(err)
	}
	stop(t, s)

	s = start(t, dir)
	after, err := os.ReadFile(s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(before), string(after)); diff != "" {
		t.Errorf("kubeconfig (-before +after):\n%s", diff)
	}
	assertThere(t, s.Kubeconfig(), "kept")
	port := serverURL(t, s)
	stop(t, s)

	// Somebody took the port: the next one is another, and the kubeconfig follows.
	taken, err := net.Listen("tcp", strings.TrimPrefix(port, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s = start(t, dir)
	if serverURL(t, s) == port {
		t.Errorf("the kubeconfig still leads to the taken port %s", port)
	}
	assertThere(t, s.Kubeconfig(), "kept")
}

// A namespace that was being deleted when the server stopped goes on, and takes nothing with it that is still held.
func TestDeletionOverRestart(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	s := start(t, dir)
	c := clientOf(t, s)
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: newNamespace(t, c)}}
	site := object("Site", map[string]any{"spec": parse(t, baseSite)})
	site.SetNamespace(ns.Name)
	site.SetFinalizers([]string{"assay.bench/test"})
	if err := c.Create(t.Context(), site); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	stop(t, s)

	c = clientOf(t, start(t, dir))
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(ns), ns); err != nil || ns.Status.Phase != corev1.NamespaceTerminating {
		t.Fatalf("the namespace: %q, %v", ns.Status.Phase, err)
	}
	// A patch, since the server marks the Site as being deleted at some moment of its own.
	if err := c.Patch(t.Context(), site, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() string {
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(ns), ns); !apierrors.IsNotFound(err) {
			return "the namespace is still there"
		}
		return ""
	})
}

// A newer assay brings its own definitions.
func TestDefinitionsFollow(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	s := start(t, dir)
	get := func() (clientset.Interface, *apiextensionsv1.CustomResourceDefinition) {
		c, err := clientset.NewForConfig(s.Config())
		if err != nil {
			t.Fatal(err)
		}
		crd, err := c.ApiextensionsV1().CustomResourceDefinitions().Get(t.Context(), "sites.assay.bench", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return c, crd
	}
	c, crd := get()
	crd.Spec.Versions[0].AdditionalPrinterColumns = nil
	crd.Annotations["assay.bench/definition-sha256"] = "of another version"
	if _, err := c.ApiextensionsV1().CustomResourceDefinitions().Update(t.Context(), crd, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	s = start(t, dir)
	if _, crd = get(); len(crd.Spec.Versions[0].AdditionalPrinterColumns) == 0 {
		t.Error("the definition of the other version is still there")
	}
}

func TestKilled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	process := startChild(t, dir)
	config, err := clientcmd.BuildConfigFromFlags("", process.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "last"} {
		cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name}}
		if _, err := core.CoreV1().ConfigMaps("default").Create(t.Context(), cm, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	if err := process.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = process.Wait()
	s := start(t, dir)
	for _, name := range []string{"a", "b", "last"} {
		assertThere(t, s.Kubeconfig(), name)
	}
	// The kubeconfig of the killed process still leads here.
	if _, err := core.CoreV1().ConfigMaps("default").Get(t.Context(), "last", metav1.GetOptions{}); err != nil {
		t.Errorf("with the old kubeconfig: %v", err)
	}
}

// In normal operation nothing is printed: not at the start, not by a client that comes and goes, not at the end.
func TestQuiet(t *testing.T) {
	t.Parallel()
	process := startChild(t, filepath.Join(t.TempDir(), "state"))
	config, err := clientcmd.BuildConfigFromFlags("", process.kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	w, err := core.CoreV1().Secrets("").Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	process.stop()
	if err := process.Wait(); err != nil {
		t.Error(err)
	}
	if got := process.stderr.String(); got != "" {
		t.Errorf("on stderr:\n%s", got)
	}
}

func TestStopTwice(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "state")
	s := start(t, dir)
	stop(t, s)
	stop(t, s)
	select {
	case <-s.Done():
	default:
		t.Error("Done is open after Stop")
	}
	if s.Err() != nil {
		t.Errorf("Err after Stop: %v", s.Err())
	}
}

func TestStartIsBounded(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("not today"))
	dir := filepath.Join(t.TempDir(), "state")
	if s, err := controlplane.Start(ctx, controlplane.Options{StateDir: dir}); err == nil || !strings.Contains(err.Error(), "not today") {
		t.Fatalf("got %v, %v", s, err)
	}
	start(t, dir) // nothing holds the folder
}

func put(t *testing.T, c client.Client, name string) error {
	t.Helper()
	return c.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}})
}

func stop(t *testing.T, s *controlplane.Server) {
	t.Helper()
	if err := s.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func serverURL(t *testing.T, s *controlplane.Server) string {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", s.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	return config.Host
}

// assertThere looks for a ConfigMap through a kubeconfig.
func assertThere(t *testing.T, kubeconfig, name string) {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	core, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	_, err = core.CoreV1().ConfigMaps("default").Get(t.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		t.Errorf("%s was lost", name)
	} else if err != nil {
		t.Error(err)
	}
}
