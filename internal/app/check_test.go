package app

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// recipeFile writes a recipe and returns its path.
func recipeFile(t *testing.T, documents ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "r.yaml")
	if err := os.WriteFile(path, []byte(strings.Join(documents, "---\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// What stands for itself is checked as what a Benchmark makes.
func TestChecksOfWhatStandsForItself(t *testing.T) {
	change := func(document, from, to string) string {
		if strings.Count(document, from) != 1 {
			t.Fatalf("%q is not once in\n%s", from, document)
		}
		return strings.Replace(document, from, to, 1)
	}
	for reason, tt := range map[string]struct {
		documents []string
		want      []string
	}{
		"a good recipe":                     {documents: []string{aBenchmark, aService, aClient}},
		"a load whose target is elsewhere":  {documents: []string{aClient}},
		"a Service of somebody else's kind": {documents: []string{aBenchmark, "apiVersion: v1\nkind: Service\nmetadata: {name: one}\nspec: {site: nowhere}\n"}},
		"an engine's parameters": {
			[]string{change(aService, "ttft: {mean: 10ms}", "ttft: {mean: 10ms, deviation: 9ms}")},
			[]string{"r.yaml:4:49: spec.llmsim.ttft.deviation: "},
		},
		"a time limit of a server": {
			[]string{change(aService, "site: local,", "site: local, resources: {timeLimit: 1m},")},
			[]string{"r.yaml:4:33: spec.resources.timeLimit: the job may take 5m10s (readiness 5m0s + stop 10s), which is more than its time limit 1m0s"},
		},
		"a time limit of a load": {
			[]string{change(aClient, "site: local,", "site: local, resources: {timeLimit: 1m},")},
			[]string{"r.yaml:4:33: spec.resources.timeLimit: the job may take 1m2s (measurement 2s + drain 1m0s), which is more"},
		},
		"a load waits for its server": {
			[]string{aService, change(aClient, "site: local,", "site: local, resources: {timeLimit: 2m},")},
			[]string{"r.yaml:9:33: spec.resources.timeLimit: the job may take 6m12s (readiness 5m0s + measurement 2s + drain 1m0s + stop 10s)"},
		},
		"a pace that is none": {
			[]string{aService, change(aClient, "closedLoop: {concurrency: 1}", `openLoop: {rate: "0"}`)},
			[]string{"spec.openLoop.rate: "},
		},
		"a model that nobody knows": {
			[]string{change(aService, "llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}", "command: {argv: [x], ports: [{name: http}]}"), aClient},
			[]string{"r.yaml:9:45: spec.inference: service web does not say which model it serves"},
		},
		"no site": {
			[]string{change(aService, "site: local, ", ""), change(aClient, "site: local, ", "")},
			[]string{
				`r.yaml:4:1: spec.site: a Service that no Benchmark makes needs a Site: name one, or "local" for this machine`,
				`r.yaml:9:1: spec.site: a LoadClient that no Benchmark makes needs a Site: name one, or "local" for this machine`,
			},
		},
		"a name twice": {
			[]string{aService, aClient, aService},
			[]string{`r.yaml:13:12: metadata.name: there are two of kind Service with the name "web": give one of them another name`},
		},
	} {
		t.Run(reason, func(t *testing.T) {
			list := objects(t, tt.documents...)
			var got []string
			for _, problem := range append(checkTwice(list), checkPlans(list)...) {
				got = append(got, problem.Error())
			}
			if len(got) != len(tt.want) {
				t.Fatalf("got %q, want %q", got, tt.want)
			}
			for i, want := range tt.want {
				if !strings.Contains(got[i], want) {
					t.Errorf("got %q, want %q in it", got[i], want)
				}
			}
		})
	}
}

// What is wrong with a command line is the user's, and says what to do.
func TestCommandLineIsTheUsers(t *testing.T) {
	for _, c := range []struct {
		args  []string
		words string
	}{
		{[]string{"rnu", "recipe.yaml"}, "unknown command \"rnu\" for \"assay\""},
		{[]string{"rnu", "recipe.yaml"}, "see assay --help"},
		{[]string{"down", "--drain", "--leave"}, "--drain and --leave exclude each other"},
		{[]string{"down", "--drian"}, "unknown flag: --drian; see assay down --help"},
	} {
		code, _, stderr := command(t, c.args...)
		if code != exitUsage || !strings.Contains(stderr, c.words) {
			t.Errorf("%v: exit code %d, %q, want %q", c.args, code, stderr, c.words)
		}
	}
}

func TestValidateLooksAtEveryKind(t *testing.T) {
	code, stdout, stderr := command(t, "validate", recipeFile(t, aBenchmark, aService, aClient))
	for _, want := range []string{"Benchmark one is valid", "Service web is valid", "LoadClient users is valid"} {
		if code != 0 || !strings.Contains(stdout, want) {
			t.Errorf("exit code %d, want %q in\n%s%s", code, want, stdout, stderr)
		}
	}
	code, _, stderr = command(t, "validate", recipeFile(t, strings.Replace(aService, "site: local, ", "", 1)))
	if code != exitUsage || !strings.Contains(stderr, "needs a Site") {
		t.Errorf("exit code %d\n%s", code, stderr)
	}
}

// What a recipe names has to be there before anything is made.
func TestReferencesAreThere(t *testing.T) {
	withPlane(t, func(p *plane) {
		for reason, tt := range map[string]struct{ document, want string }{
			"the Site of a Service":      {strings.Replace(aService, "local", "far", 1), `spec.site: there is no Site "far" in namespace default`},
			"the Service of a load":      {aClient, `spec.target.service: there is no services.assay.bench "web" in namespace default: add it to the recipe, or use target.url`},
			"the Site of a Benchmark":    {strings.Replace(aBenchmark, "spec:\n", "spec:\n  site: far\n", 1), `spec.site: there is no Site "far"`},
			"a URL is not looked for":    {strings.Replace(strings.Replace(aClient, "{service: web}", "{url: 'http://h:1'}", 1), "{inputTokens", "{model: m, inputTokens", 1), ""},
			"the Site that assay makes":  {aService, ""},
			"a Benchmark without a site": {aBenchmark, ""},
		} {
			err := checkReferences(t.Context(), p.client, objects(t, tt.document))
			if tt.want == "" && err != nil || tt.want != "" && (codeOf(err) != exitUsage || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: %v, want %q", reason, err, tt.want)
			}
		}
	})
}

// A Secret that nobody has made would be waited for, for ever.
func TestSecretsAreThere(t *testing.T) {
	const secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\n"
	at := func(document, name string) string {
		return strings.Replace(document, "{service: web}", "{url: 'http://h:1', credentials: {name: "+name+"}}", 1)
	}
	benchmark := strings.Replace(aBenchmark, "{service: sim}", "{service: web}", 1)
	lab := strings.Replace(secret, "{name: keys}", "{name: keys, namespace: lab}", 1)
	withPlane(t, func(p *plane) {
		if err := p.client.Create(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "there", Namespace: "default"}}); err != nil {
			t.Fatal(err)
		}
		for reason, tt := range map[string]struct{ document, want string }{
			"of a Benchmark":       {at(benchmark, "keys"), `spec.clients[0].target.credentials.name: there is no Secret "keys" in namespace default: add it to the recipe`},
			"of a LoadClient":      {at(aClient, "keys"), `spec.target.credentials.name: there is no Secret "keys"`},
			"in the recipe":        {at(benchmark, "keys") + "---\n" + secret, ""},
			"in another namespace": {at(benchmark, "keys") + "---\n" + lab, `there is no Secret "keys" in namespace default`},
			"on the plane":         {at(aClient, "there"), ""},
			"of a service's own":   {benchmark, ""},
			"of a Secret, itself":  {secret, ""},
		} {
			err := checkSecrets(t.Context(), p.client, objects(t, tt.document))
			if tt.want == "" && err != nil || tt.want != "" && (codeOf(err) != exitUsage || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%s: %v, want %q", reason, err, tt.want)
			}
		}
	})
}

func TestRenderWhatStandsForItself(t *testing.T) {
	suspended := strings.Replace(aService, "site: local,", "site: local, suspend: true,", 1)
	code, stdout, stderr := command(t, "render", recipeFile(t, suspended, aClient), "--plan")
	if code != 0 {
		t.Fatalf("exit code %d\n%s", code, stderr)
	}
	var heads []string
	for line := range strings.Lines(stdout) {
		if _, path, found := strings.Cut(strings.TrimSpace(line), "/work/00000000000000000000000000000000/"); found && strings.HasPrefix(line, "# ") {
			heads = append(heads, path)
		}
	}
	want := []string{
		"default/service.web/g1/bsvc-web-g1/1/job.sh", "default/service.web/g1/bsvc-web-g1/1/plan.json",
		"default/loadclient.users/g1/lc-users-g1/1/job.sh", "default/loadclient.users/g1/lc-users-g1/1/plan.json",
	}
	if diff := cmp.Diff(want, heads); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, stdout)
	}
	for _, words := range []string{"#!/bin/bash", `"engine": "llmsim"`, "service.web/g1/bsvc-web-g1"} {
		if !strings.Contains(stdout, words) {
			t.Errorf("%q is not in\n%s", words, stdout)
		}
	}
}

func TestRenderSaysWhatItCannot(t *testing.T) {
	const site = "apiVersion: assay.bench/v1alpha1\nkind: Site\nmetadata: {name: s}\nspec: {jobs: {local: {}}, workDir: /tmp/x}\n"
	const job = "apiVersion: assay.bench/v1alpha1\nkind: SlurmJob\nmetadata: {name: j}\nspec: {site: s}\n"
	for reason, tt := range map[string]struct{ document, want string }{
		"nothing that runs":       {site, "r.yaml:1:1: there is nothing to render: it takes a Benchmark, a Service or a LoadClient"},
		"a job alone":             {job, "r.yaml:2:1: kind: a SlurmJob is made by what runs in it: render a Benchmark, a Service or a LoadClient"},
		"a load without its goal": {aClient, `there is no services.assay.bench "web" in namespace default: add it to the recipe`},
	} {
		code, stdout, stderr := command(t, "render", recipeFile(t, tt.document))
		if code != exitUsage || stdout != "" || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: exit code %d, want %q in\n%s%s", reason, code, tt.want, stdout, stderr)
		}
	}
}
