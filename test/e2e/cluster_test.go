//go:build e2e

package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"assay.bench/test/user"
)

// site is what assay run and assay up make by themselves, and what a person makes on a cluster.
const site = `apiVersion: assay.bench/v1alpha1
kind: Site
metadata: {name: local}
spec: {jobs: {local: {}}, workDir: %q}
`

// binding gives the user that the manager is the role that config/rbac defines, and no more.
const binding = `apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: assay-manager}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: assay-manager}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: assay}]
`

// The same on a real kube-apiserver, where assay manager runs as a user that has its role and nothing else.
func TestKubectlDrivesABenchmarkOnACluster(t *testing.T) {
	u := user.New(t)
	manager := cluster(t, u)

	// Without leave for it, nobody who may write a Site runs commands on the manager's host.
	first := u.Start("assay", "manager", "--kubeconfig", manager, "--metrics-bind-address", "0")
	u.Must("assay", "kubectl", "apply", "-f", u.Write("site.yaml", fmt.Sprintf(site, u.Path("work"))))
	u.Must("assay", "kubectl", "wait", "--for=condition=Stalled", "site/local", "--timeout=60s")
	contains(t, "the Site", u.Must("assay", "kubectl", "describe", "site", "local").Stdout, "HostAccessRefused", "--allow-host-sites")
	first.Signal(syscall.SIGTERM)
	if a := first.Wait(); a.Code != 0 {
		t.Fatalf("assay manager: exit code %d\n%s", a.Code, a.Stderr)
	}

	metrics := freeAddress(t)
	second := u.Start("assay", "manager", "--kubeconfig", manager, "--allow-host-sites", "--leader-elect", "--metrics-bind-address", metrics)
	for name, kubectl := range kubectls(t) {
		t.Run(name, func(t *testing.T) { transcript(t, u, kubectl) })
	}
	t.Run("drain", func(t *testing.T) {
		running(t, u)
		user.Until(t, "the metrics tell of a job that runs", func() bool {
			return strings.Contains(scrape(t, metrics), `slurmbridge_jobs{namespace="default",site="local",state="Running"} 1`)
		})
		contains(t, "the metrics", scrape(t, metrics),
			`slurmbridge_rpc_duration_seconds_count{namespace="default",site="local",verb="submit"}`,
			`slurmbridge_queue_wait_seconds_count{namespace="default",site="local"}`)
		drained(t, u)
	})
	second.Signal(syscall.SIGTERM)
	a := second.Wait()
	if a.Code != 0 {
		t.Errorf("assay manager: exit code %d", a.Code)
	}
	if t.Failed() || strings.Contains(a.Stderr, "forbidden") {
		t.Errorf("the log of assay manager:\n%s", a.Stderr)
	}
}

// freeAddress is one that nobody listened on a moment ago.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// scrape reads the metrics that a manager serves.
func scrape(t *testing.T, address string) string {
	t.Helper()
	res, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// cluster starts a kube-apiserver with etcd, of the folder KUBEBUILDER_ASSETS, and applies our definitions. The user's
// kubectl is its administrator. The path returned is the kubeconfig of the user assay, who has the manager's role.
func cluster(t *testing.T, u *user.User) (manager string) {
	t.Helper()
	env := &envtest.Environment{}
	if _, err := env.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Error(err)
		}
	})
	kubeconfig := func(name string, groups ...string) string {
		t.Helper()
		one, err := env.AddUser(envtest.User{Name: name, Groups: groups}, nil)
		if err != nil {
			t.Fatal(err)
		}
		text, err := one.KubeConfig()
		if err != nil {
			t.Fatal(err)
		}
		return u.Write(name+".kubeconfig", string(text))
	}
	u.Setenv("KUBECONFIG", kubeconfig("admin", "system:masters"))
	for _, folder := range []string{"crd", "rbac"} {
		path, err := filepath.Abs(filepath.Join("..", "..", "config", folder))
		if err != nil {
			t.Fatal(err)
		}
		u.Must("assay", "kubectl", "apply", "--server-side", "-f", path)
	}
	u.Must("assay", "kubectl", "wait", "--for=condition=Established", "crd", "--all", "--timeout=60s")
	u.Must("assay", "kubectl", "apply", "-f", u.Write("binding.yaml", binding))
	return kubeconfig("assay")
}
