package controlplane_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/controlplane/kubectl"
)

const transcript = `apiVersion: assay.bench/v1alpha1
kind: Site
metadata: {name: here}
spec: {workDir: /tmp/x, jobs: {local: {}}}
---
apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: demo}
spec:
  site: here
  clients:
  - name: c
    target: {url: "http://x"}
    inference: {inputTokens: {fixed: 1}, outputTokens: {fixed: 1}}
    closedLoop: {concurrency: 1}
    duration: 1s
---
apiVersion: v1
kind: Secret
metadata: {name: token}
stringData: {token: abc}
`

// TestKubectl drives the server with the embedded kubectl, in this order.
func TestKubectl(t *testing.T) {
	s := sharedServer(t)
	c := clientOf(t, s)
	ns := newNamespace(t, c)
	folder := t.TempDir()
	recipe, typo := filepath.Join(folder, "recipe.yaml"), filepath.Join(folder, "typo.yaml")
	for path, text := range map[string]string{recipe: transcript, typo: strings.ReplaceAll(transcript, "duration:", "durration:")} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (int, string) {
		var out bytes.Buffer
		code := kubectl.Run(kubectl.Options{
			Args: append(args, "--cache-dir", folder), Kubeconfig: s.Kubeconfig(), In: strings.NewReader(""), Out: &out, Err: &out,
		})
		return code, out.String()
	}
	for _, step := range []struct {
		args string
		code int
		want []string
	}{
		{"apply --dry-run=server -f " + typo, 1, []string{`unknown field "spec.clients[0].durration"`}},
		{"apply -f " + recipe, 0, []string{"site.assay.bench/here created", "benchmark.assay.bench/demo created", "secret/token created"}},
		{"apply -f " + recipe, 0, []string{"site.assay.bench/here unchanged"}},
		{"apply --server-side --force-conflicts -f " + recipe, 0, []string{"benchmark.assay.bench/demo serverside-applied", "secret/token serverside-applied"}},
		{"get bm,bsvc,lc,sj", 0, []string{"PHASE", "benchmark.assay.bench/demo"}},
		{"get bench", 0, []string{"site.assay.bench/here", "benchmark.assay.bench/demo"}},
		{"get secrets", 0, []string{"NAME", "TYPE", "DATA", "AGE", "token   Opaque   1"}},
		{"get ns", 0, []string{"STATUS", ns, "Active"}},
		{"explain benchmark.spec", 0, []string{"GROUP:      assay.bench", "clients\t<[]Object> -required-", "placement"}},
		{"explain secret.data", 0, []string{"FIELD: data <map[string]string>", "Data contains the secret data"}},
		{"label bm demo a=b", 0, []string{"demo labeled"}},
		{"annotate secret token a=b", 0, []string{"token annotated"}},
		{"patch bm demo --type merge -p {\"spec\":{\"suspend\":true}}", 0, []string{"demo patched"}},
		{"wait bm/demo --for=jsonpath={.spec.suspend}=true", 0, []string{"condition met"}},
		{"create configmap cm --from-literal=a=b", 0, []string{"configmap/cm created"}},
		{"api-resources --api-group=assay.bench", 0, []string{"benchmarks", "slurmjobs", "sj"}},
		{"api-versions", 0, []string{"assay.bench/v1alpha1", "events.k8s.io/v1"}},
		{"auth can-i create bm", 0, []string{"yes"}},
		{"auth can-i --list", 0, []string{"*.*"}},
		{"auth whoami", 0, []string{"assay", "system:masters"}},
		{"describe bm demo", 0, []string{"API Version:  assay.bench/v1alpha1", "Suspend:", "Normal", "Started", "it runs"}},
		{"events --for bm/demo", 0, []string{"Normal", "Started", "it runs"}},
		{"get events", 0, []string{"LAST SEEN", "benchmark/demo", "it runs"}},
		{"get --raw /readyz", 0, []string{"ok"}},
		{"delete -f " + recipe + " --cascade=foreground --timeout=30s", 0, []string{`"demo" deleted`}},
		{"get bench", 0, []string{"No resources found"}},
		{"delete ns " + ns + " --timeout=30s", 0, []string{"deleted"}},
		{"get bm", 0, []string{"No resources found"}},
	} {
		if strings.HasPrefix(step.args, "describe") {
			recordEvent(t, c, ns)
		}
		args := strings.Fields(step.args)
		if !strings.HasPrefix(step.args, "delete ns") {
			args = append(args, "-n", ns)
		}
		code, out := run(args...)
		if code != step.code {
			t.Errorf("kubectl %s: exit code %d, want %d\n%s", step.args, code, step.code, out)
		}
		for _, want := range step.want {
			if !strings.Contains(out, want) {
				t.Errorf("kubectl %s: no %q in\n%s", step.args, want, out)
			}
		}
		if strings.Contains(out, "Warning:") {
			t.Errorf("kubectl %s warns:\n%s", step.args, out)
		}
	}
}

// recordEvent writes an event about the Benchmark demo.
func recordEvent(t *testing.T, c client.Client, ns string) {
	t.Helper()
	b := &v1alpha1.Benchmark{}
	if err := c.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "demo"}, b); err != nil {
		t.Fatal(err)
	}
	err := c.Create(t.Context(), &eventsv1.Event{
		ObjectMeta: meta(ns, "demo.1"), EventTime: metav1.NowMicro(), Type: corev1.EventTypeNormal, Note: "it runs",
		ReportingController: "assay.bench/benchmark", ReportingInstance: "test", Action: "Start", Reason: "Started",
		Regarding: corev1.ObjectReference{
			APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "Benchmark", Namespace: ns, Name: "demo", UID: b.UID,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}
