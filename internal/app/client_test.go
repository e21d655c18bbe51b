package app

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/app/operator"
	"assay.bench/internal/app/state"
)

// kubeconfigs are one file with a cluster and one with the rest, as people have them.
func kubeconfigs(t *testing.T) (cluster, rest string) {
	t.Helper()
	dir := t.TempDir()
	cluster, rest = filepath.Join(dir, "cluster"), filepath.Join(dir, "rest")
	for path, text := range map[string]string{
		cluster: "apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: 'https://named:1'}}]\n",
		rest:    "apiVersion: v1\nkind: Config\ncontexts: [{name: x, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {token: t}}]\ncurrent-context: x\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cluster, rest
}

// standingPlaneAt is the state of a control plane that is up, as far as a look can tell.
func standingPlaneAt(t *testing.T, home string) {
	t.Helper()
	f := created(t, home, state.Info{Kind: state.KindUp, Context: defaultContext})
	lock, err := f.Hold(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Close() }) // it ends with the process anyway
	writeConfig(t, f.Kubeconfig(), "https://standing:1")
}

func writeConfig(t *testing.T, path, server string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("apiVersion: v1\nkind: Config\nclusters: [{name: c, cluster: {server: %q}}]\ncontexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x\n", server)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestUserConfig(t *testing.T) {
	cluster, rest := kubeconfigs(t)
	missing := filepath.Join(t.TempDir(), "none")
	for reason, tt := range map[string]struct {
		kubeconfig          string
		pod, standing, home bool
		homeless            bool
		want, wantErr       string
	}{
		"KUBECONFIG goes first":                          {kubeconfig: cluster + ":" + rest, pod: true, standing: true, home: true, want: "https://named:1"},
		"of several files some may be missing":           {kubeconfig: missing + ":" + rest + ":" + cluster, want: "https://named:1"},
		"one that says nothing is not passed over":       {kubeconfig: missing, standing: true, wantErr: "KUBECONFIG=" + missing},
		"else the control plane that is up":              {pod: true, standing: true, home: true, want: "https://standing:1"},
		"else a pod's own cluster":                       {pod: true, home: true, wantErr: "its service account cannot be used"},
		"a pod may have no home":                         {pod: true, homeless: true, wantErr: "its service account cannot be used"},
		"else kubectl's own file":                        {home: true, want: "https://home:1"},
		"where there is nothing, one is told what to do": {wantErr: "start one with assay up"},
	} {
		t.Run(reason, func(t *testing.T) {
			home := t.TempDir()
			o, _ := at(home, "")
			env := map[string]string{"KUBECONFIG": tt.kubeconfig}
			if tt.pod {
				env["KUBERNETES_SERVICE_HOST"] = "10.0.0.1"
			}
			o.Env = func(name string) string { return env[name] }
			if tt.standing {
				standingPlaneAt(t, home)
			}
			if tt.home {
				writeConfig(t, filepath.Join(home, ".kube", "config"), "https://home:1")
			}
			if tt.homeless {
				o.Home = ""
			}
			config, err := userConfig(o)
			switch {
			case tt.wantErr != "":
				if codeOf(err) != exitUsage || !strings.Contains(err.Error(), tt.wantErr) {
					t.Errorf("exit code %d, %v", codeOf(err), err)
				}
			case err != nil || config.Host != tt.want:
				t.Errorf("%+v, %v, want %s", config, err, tt.want)
			}
		})
	}
}

// The records of local jobs are run as this user, also by assay manager.
func TestHostSitesNeedAFolderOfTheirOwn(t *testing.T) {
	home := t.TempDir()
	o, _ := at(home, "")
	root, err := hostRoot(o, true)
	if err != nil || root != filepath.Join(home, ".local", "state", "assay") {
		t.Fatalf("%s, %v", root, err)
	}
	if err := os.Chmod(root, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := hostRoot(o, true); err == nil || !strings.Contains(err.Error(), "others may use it") {
		t.Errorf("error %v", err)
	}
	o.Home = ""
	if _, err := hostRoot(o, false); err != nil {
		t.Errorf("without such sites no folder is needed: %v", err)
	}
}

func TestLeaseNamespace(t *testing.T) {
	pod := filepath.Join(t.TempDir(), "namespace")
	if err := os.WriteFile(pod, []byte("bench\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for reason, tt := range map[string]struct{ asked, file, want string }{
		"what was asked for":             {"ops", pod, "ops"},
		"a pod's own":                    {"", pod, "bench"},
		"outside of a cluster any works": {"", filepath.Join(t.TempDir(), "none"), "default"},
	} {
		if got := leaseNamespace(tt.asked, tt.file); got != tt.want {
			t.Errorf("%s: %q, want %q", reason, got, tt.want)
		}
	}
}

// The tenth repeat is newer than the ninth, whatever their names say.
func TestLogsAreThoseOfTheNewestJob(t *testing.T) {
	scheme, err := operator.NewScheme()
	if err != nil {
		t.Fatal(err)
	}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithStatusSubresource(&v1alpha1.SlurmJob{})
	job := func(name string, repeat int32, second int) {
		j := &v1alpha1.SlurmJob{ObjectMeta: metav1.ObjectMeta{
			Namespace: "default", Name: name, Labels: map[string]string{v1alpha1.LabelBenchmark: "bm"},
			CreationTimestamp: metav1.NewTime(time.Date(2026, 11, 23, 12, 0, second, 0, time.UTC)),
		}}
		j.Spec.Run.FirstRepeat = repeat
		j.Spec.Components = []v1alpha1.ComponentReference{{Kind: "Service", Name: "bm-sim"}}
		j.Status.Directory = "/w/" + name + "/1"
		builder.WithObjects(j)
	}
	for k := range int32(12) {
		job(fmt.Sprintf("bm-g1-r%d", k+1), k+1, int(k))
	}
	job("bm-g1-a", 12, 50)
	job("bm-g1-z", 12, 40)
	builder.WithObjects(&v1alpha1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "bm-sim", Labels: map[string]string{v1alpha1.LabelComponent: "sim"}}})
	c := builder.Build()
	for component, want := range map[string]string{"": "/w/bm-g1-a/1/job.log", "sim": "/w/bm-g1-a/1/sim/0/log"} {
		got, err := logPath(t.Context(), c, logsOptions{benchmark: "bm", namespace: "default", component: component})
		if err != nil || got != want {
			t.Errorf("component %q: %s, %v, want %s", component, got, err, want)
		}
	}
}
