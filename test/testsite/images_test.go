//go:build e2e

package testsite

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// An image of a registry is pulled once for a site, by a job, and runs from there for ever: whether two want it at once,
// or a pull was killed, or the registry is gone.
func TestImages(t *testing.T) {
	t.Parallel()
	programs := built(t)
	s := site.Up(t, site.Slurm2411)
	for _, name := range []string{"assay", "assay-node"} {
		copyFile(t, filepath.Join(programs, name), filepath.Join(s.Get("SHARE"), name), 0o755)
	}
	server := imageOf(t, s, "server", treeOf(t, programs, nil))
	random := make([]byte, 24<<20) // takes some seconds to pack
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	big := imageOf(t, s, "big", treeOf(t, programs, random))

	var others sync.WaitGroup
	others.Go(func() { killedPull(t, s.For(t), big) })
	others.Go(func() { unknownDigest(t, s.For(t), server) })
	others.Go(func() { t.Run("services of their own", func(t *testing.T) { ownServices(t, s.For(t), programs) }) })
	var both sync.WaitGroup
	for i := range 2 { // two control planes, through two doors, at once
		both.Go(func() { runFrom(t, s.For(t), server, "first"+fmt.Sprint(i), i == 0) })
	}
	both.Wait()
	if n := strings.Count(jobLogs(t, s), "pulled docker://"+server.name+" in"); n != 1 {
		t.Errorf("pulled %d times, want once\n%s", n, jobLogs(t, s))
	}
	others.Wait()

	s.Daemon("stop", "registry")
	r := runFrom(t, s, server, "later", true)
	if len(r.Jobs) != 2 || r.Jobs[0].Reason != "ImagesPresent" || r.Jobs[0].ID != "" || r.Jobs[1].ID == "" {
		t.Errorf("jobs %+v; want none that pulls", r.Jobs)
	}
	record, err := os.ReadFile(rundir.ImageRecordOf(rundir.StoredImage(s.Get("WORK"), server.digest)))
	if err != nil {
		t.Fatal(err)
	}
	kept, err := rundir.ParseImageRecord(record)
	if err != nil || kept.Digest != server.digest || !strings.HasPrefix(kept.Runtime, "apptainer version") {
		t.Errorf("record %+v, %v", kept, err)
	}
	if img := r.Services[0].Image; img == nil || img.Digest != server.digest || img.SHA256 != kept.SHA256 || img.SHA256 == "" {
		t.Errorf("the result names %+v, want the digest and the hash of %+v", img, kept)
	}
	for _, e := range storeOf(t, s) {
		if ext := filepath.Ext(e); ext != ".sif" && ext != ".json" || strings.HasPrefix(e, ".") {
			t.Errorf("left in the store: %s", e)
		}
	}
}

// registryImage is an image of the site's registry.
type registryImage struct{ name, digest string }

// treeOf is the folder of an image that holds this assay-node, whose simulator is a server, and some more.
func treeOf(t *testing.T, programs string, more []byte) string {
	t.Helper()
	tree := t.TempDir()
	if err := os.Chmod(tree, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(tree, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(programs, "assay-node"), filepath.Join(tree, "bin", "server"), 0o755)
	if err := os.WriteFile(filepath.Join(tree, "more"), more, 0o644); err != nil {
		t.Fatal(err)
	}
	return tree
}

// imageOf puts an image of a folder into the registry.
func imageOf(t *testing.T, s *site.Site, name, tree string) registryImage {
	t.Helper()
	ref, digest, ok := strings.Cut(s.Image(tree, name), "@")
	if !ok {
		t.Fatalf("no digest: %s", ref)
	}
	return registryImage{ref, digest}
}

// imageRecipe is a benchmark of a server out of an image.
func imageRecipe(t *testing.T, s *site.Site, img registryImage, name string, overSSH bool) string {
	t.Helper()
	door := "{cli: {}}"
	if overSSH {
		door = "{ssh: " + loginDoor(t, s) + "}"
	}
	recipe := fmt.Sprintf(`apiVersion: assay.bench/v1alpha1
kind: Site
metadata: {name: testsite}
spec:
  jobs: %s
  workDir: %s
  images: {insecureRegistries: [%q]}
  defaults:
    service: {account: p200000, partition: cpu, qos: default, timeLimit: 10m, memory: 1Gi}
    client: {account: p200000, partition: cpu, qos: default, timeLimit: 10m, memory: 1Gi}
---
apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: %s}
spec:
  site: testsite
  services:
  - name: server
    image: {uri: "docker://%s", digest: %q}
    command:
      argv: [/bin/server, llmsim, --model, m, --host, $(HOST), --port, $(PORT)]
      ports: [{name: http}]
      probes: [{model: {name: m}}]
      protocol: OpenAI
      model: m
  clients:
  - name: load
    target: {service: server}
    inference: {inputTokens: {fixed: 4}, outputTokens: {fixed: 4}}
    closedLoop: {concurrency: 1, thinkTime: 50ms}
    duration: 2s
`, door, s.Get("WORK"), s.Get("REGISTRY"), name, img.name, img.digest)
	path := filepath.Join(s.Get("SHARE"), "images-"+name+".yaml")
	if err := os.WriteFile(path, []byte(recipe), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// assayRun runs a recipe from the login node, or from here over SSH.
func assayRun(t *testing.T, s *site.Site, img registryImage, name string, overSSH bool) (a user.Answer, r results.Result) {
	t.Helper()
	recipe, out := imageRecipe(t, s, img, name, overSSH), filepath.Join(s.Get("HOME"), "out-"+name)
	if overSSH {
		a = s.Do([]string{filepath.Join(s.Get("SHARE"), "assay"), "run", recipe, "--output", out})
	} else {
		a = s.Exec(filepath.Join(s.Get("SHARE"), "assay"), "run", recipe, "--output", "/home/users/hpc/out-"+name)
	}
	b, err := os.ReadFile(filepath.Join(out, rundir.ResultFile))
	if err == nil {
		r, err = results.Parse(b)
	}
	if err != nil {
		t.Errorf("%s: %v\nexit code %d\n%s%s", name, err, a.Code, a.Stderr, a.Stdout)
	}
	return a, r
}

// runFrom runs a benchmark of an image, which ends well, or says that this busy machine limited its client.
func runFrom(t *testing.T, s *site.Site, img registryImage, name string, overSSH bool) results.Result {
	t.Helper()
	a, r := assayRun(t, s, img, name, overSSH)
	if !good(a, r) {
		t.Errorf("%s: exit code %d\n%s%s\n%s", name, a.Code, a.Stderr, a.Stdout, jobLogs(t, s))
	}
	return r
}

// unknownDigest: the run ends in the words of the registry.
func unknownDigest(t *testing.T, s *site.Site, img registryImage) {
	img.digest = "sha256:" + strings.Repeat("0", 64)
	a, r := assayRun(t, s, img, "unknown", true)
	if a.Code != 5 || r.Outcome != results.Failed || !strings.Contains(r.Message, "ImageUnknown: the registry has no docker://"+img.name) ||
		!strings.Contains(r.Message, "manifest unknown") {
		t.Errorf("exit code %d, %s: %s", a.Code, r.Outcome, r.Message)
	}
}

// killedPull kills the job of a pull in its midst. One of the two next ones takes over its lock, and removes what it left;
// the other waits for that.
func killedPull(t *testing.T, s *site.Site, img registryImage) {
	sif := rundir.StoredImage(s.Get("WORK"), img.digest)
	lock := strings.TrimSuffix(sif, ".sif") + ".lock"
	command := fmt.Sprintf("%s/assay-node pull --no-https --store %s --digest %s docker://%s", s.Get("SHARE"), filepath.Dir(sif), img.digest, img.name)
	batch := "sbatch --parsable --account=p200000 --partition=cpu --qos=default --nodes=1 --cpus-per-task=2 --mem=1G --time=5 --output=pull-%j.log "
	id := s.Sh(batch + "--wrap '" + command + "'")
	user.Until(t, "the image is being packed", func() bool {
		return exists(lock) && strings.Contains(s.Sh("cat pull-"+id+".log"), "Creating SIF file")
	})
	s.Sh("scancel --full --signal=KILL " + id)
	user.Until(t, "the job is gone", func() bool { return s.Sh("squeue --noheader --states=running,completing --jobs="+id) == "" })
	if exists(sif) || !exists(lock) {
		t.Errorf("the pull was not killed in its midst: %v", storeOf(t, s))
		return
	}
	again := batch + "--wait --wrap '" + command + "'"
	said := s.Sh("{ " + again + " & " + again + " || exit 1; wait $! || exit 1; } >/dev/null && cat pull-*.log")
	if strings.Count(said, "pulled docker://") != 1 || strings.Count(said, "is in the store") != 1 {
		t.Errorf("two that want it at once; one has to pull it, and the other to find it:\n%s", said)
	}
	b, err := os.ReadFile(rundir.ImageRecordOf(sif))
	if err != nil {
		t.Error(err)
		return
	}
	if r, err := rundir.ParseImageRecord(b); err != nil || r.Size < 24<<20 {
		t.Errorf("%+v, %v", r, err)
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func storeOf(t *testing.T, s *site.Site) []string {
	entries, err := os.ReadDir(filepath.Join(s.Get("WORK"), rundir.ImagesDir))
	if err != nil {
		t.Error(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// jobLogs are the logs of all jobs that pulled, of all runs that ended, as their output has them.
func jobLogs(t *testing.T, s *site.Site) string {
	t.Helper()
	logs, err := filepath.Glob(filepath.Join(s.Get("HOME"), "out-*", "run", "*.images", "[0-9]*", rundir.JobLogFile))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, path := range logs {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(&out, "%s\n%s", path, b)
	}
	return out.String()
}
