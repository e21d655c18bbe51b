//go:build e2e

package testsite

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"assay.bench/internal/rundir"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// spy looks at every process of the site and of the control plane again and again, and at the end for secrets in all that
// it saw and in all that was written.
type spy struct {
	plane  *plane
	proc   string // of the site's name space, whose processes are all that it shows
	cancel context.CancelFunc
	done   sync.WaitGroup

	argv    map[string]bool
	environ map[string]string // the argv of who has it
	secrets map[string]string // what they are, by their text
	looks   int
}

// spy begins. It ends with report.
func (p *plane) spy() *spy {
	p.t.Helper()
	proc := "/proc/" + p.site.Get("PID") + "/root/proc"
	s := &spy{plane: p, proc: proc, argv: map[string]bool{}, environ: map[string]string{}, secrets: map[string]string{}}
	ctx, cancel := context.WithCancel(p.t.Context())
	s.cancel = cancel
	s.done.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for ; ; s.looks++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				s.look()
			}
			if s.looks%5 == 0 {
				s.learn(ctx)
			}
		}
	})
	p.t.Cleanup(s.end)
	return s
}

func (s *spy) end() {
	s.cancel()
	s.done.Wait()
}

// look reads what everybody on a node could, and what only the user could.
func (s *spy) look() {
	for _, pid := range user.PIDs(s.plane.t, s.proc) {
		dir := filepath.Join(s.proc, strconv.Itoa(pid))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ")) // it may have ended
		s.note(dir, environ)
	}
	if s.looks%10 != 0 {
		return // the control plane's processes are few, and live long
	}
	for _, p := range s.plane.u.Processes() {
		dir := filepath.Join("/proc", strconv.Itoa(p.PID))
		environ, _ := os.ReadFile(filepath.Join(dir, "environ"))
		s.note(dir, environ)
	}
}

func (s *spy) note(dir string, environ []byte) {
	argv, _ := os.ReadFile(filepath.Join(dir, "cmdline"))
	s.argv[string(argv)], s.environ[string(environ)] = true, string(argv)
}

// serverItself says that a process is a server, or the container round it: it takes its credential in its environment.
func serverItself(argv string) bool {
	program, rest, _ := strings.Cut(argv, "\x00")
	switch filepath.Base(program) {
	case "apptainer", "starter", "starter-suid", "squashfuse_ll", "minio":
		return true
	case "assay-node":
		return strings.HasPrefix(rest, "llmsim\x00")
	}
	return strings.HasPrefix(program, "Apptainer runtime parent")
}

// learn notes what is secret on this control plane now: what is made for a run goes with it.
func (s *spy) learn(ctx context.Context) {
	var list corev1.SecretList
	if _, err := s.plane.fetch(ctx, "/api/v1/secrets", &list); err != nil {
		return // the next time then
	}
	for _, secret := range list.Items {
		for key, value := range secret.Data {
			s.learnText(fmt.Sprintf("%s of the Secret %s", key, secret.Name), value)
		}
	}
}

// learnKeys notes the private key, and what every token of Slurm's begins with.
func (s *spy) learnKeys() {
	key, err := os.ReadFile(s.plane.site.Get("SSH_KEY"))
	if err != nil {
		s.plane.t.Fatal(err)
	}
	s.secrets[strings.Split(string(key), "\n")[2]] = "the private key"
	s.secrets["eyJhbGciOi"] = "a token of Slurm's" // {"alg": in base64
}

// learnText notes a value, or the values of a document in JSON. What is short is a name.
func (s *spy) learnText(what string, value []byte) {
	var fields map[string]any
	if json.Unmarshal(value, &fields) == nil {
		for name, v := range fields {
			s.learnText(what+", "+name, fmt.Append(nil, v))
		}
		return
	}
	if len(value) >= 16 {
		s.secrets[string(value)] = what
	}
}

// find looks for secrets in a text.
func (s *spy) find(where string, text []byte) {
	for secret, what := range s.secrets {
		if bytes.Contains(text, []byte(secret)) {
			s.plane.t.Errorf("%s: %s stands there", where, what)
		}
	}
}

// report ends the look, and looks for secrets.
func (s *spy) report() {
	p := s.plane
	p.t.Helper()
	s.end()
	s.learnKeys()
	p.t.Logf("%d secrets, %d looks, %d command lines and %d environments", len(s.secrets), s.looks, len(s.argv), len(s.environ))
	if len(s.secrets) < 4 || s.looks < 20 || !sawNode(s.argv, "job") {
		p.t.Errorf("the spy saw too little to say anything: %v", slices.Collect(maps.Values(s.secrets)))
	}
	for argv := range s.argv {
		s.find("the command line "+strings.ReplaceAll(argv, "\x00", " "), []byte(argv))
	}
	for environ, argv := range s.environ {
		if !serverItself(argv) {
			s.find("the environment of "+strings.ReplaceAll(argv, "\x00", " "), []byte(environ))
		}
	}
	s.files(p.site.Get("WORK"))
	s.files(filepath.Join(p.site.Get("STATE"), "log"))
	logs, err := filepath.Glob(p.u.Path("state", "assay", "*", "*log*"))
	if err != nil || len(logs) == 0 {
		p.t.Errorf("the control plane has no log: %v, %v", logs, err)
	}
	for _, log := range logs {
		s.files(log)
	}
	s.find("events", []byte(p.events()))
	s.find("the objects", []byte(p.u.Must("assay", "kubectl", "get", "bm,bsvc,lc,sj,site", "-A", "-o", "yaml").Stdout))
	s.find("scontrol show job", []byte(p.site.Root("scontrol", "-d", "show", "job")))
	if p.site.Get("ACCOUNTING") != "" {
		s.find("sacct", []byte(p.site.Root("sacct", "-a", "-D", "-P", "-o", "ALL", "-S", "now-1hour")))
	}
}

// sawNode says that one of the command lines is that of an assay-node of a kind.
func sawNode(argv map[string]bool, verb string) bool {
	return slices.ContainsFunc(slices.Collect(maps.Keys(argv)), func(a string) bool {
		return strings.Contains(a, "assay-node\x00"+verb)
	})
}

// files looks at all files of a folder.
func (s *spy) files(folder string) {
	err := filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if os.IsNotExist(err) {
			return nil // it was there a moment ago
		}
		if err != nil || !e.Type().IsRegular() || e.Name() == "assay-node" || isWaiting(path) {
			return err
		}
		b, err := os.ReadFile(path)
		if err == nil {
			s.find(path, b)
		}
		return nil
	})
	if err != nil {
		s.plane.t.Error(err)
	}
}

// isWaiting says that a file is a credential in the folder of a job that never began: the job would have removed it.
func isWaiting(path string) bool {
	folder := filepath.Dir(path)
	_, err := os.Readlink(filepath.Join(filepath.Dir(folder), rundir.ClaimLink))
	return filepath.Base(folder) == rundir.SecretsDir && os.IsNotExist(err)
}

// minioSIF makes the image of minioBench.
func minioSIF(t *testing.T, s *site.Site) {
	t.Helper()
	tree := t.TempDir()
	if err := os.Mkdir(filepath.Join(tree, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	copyFile(t, strings.TrimSpace(s.Must([]string{filepath.Join("hack", "servers.sh"), "minio"}).Stdout), filepath.Join(tree, "bin", "minio"), 0o755)
	s.SIF(tree, "minio.sif")
}

// minioBench is an object store in a container, whose user and password are made for the run.
func minioBench(name string, s *site.Site) string {
	return strings.NewReplacer("NAME", name, "SHARE", s.Get("SHARE")).Replace(`apiVersion: assay.bench/v1alpha1
kind: Benchmark
metadata: {name: NAME}
spec:
  site: slurm
  services:
  - name: minio
    minio: {drives: 1}
    image: {uri: SHARE/minio.sif}
    resources: {cpusPerTask: 4, memory: 2Gi}
  clients:
  - name: load
    target: {service: minio}
    s3: {mix: {put: 1, get: 1}, objects: 8, size: {fixed: 10k}}
    closedLoop: {concurrency: 2, thinkTime: 500ms}
    resources: {cpusPerTask: 1}
    duration: 5s
`)
}
