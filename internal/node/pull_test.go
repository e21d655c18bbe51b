package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/rundir"
)

// storeImage puts a file into a store as a pull does, but for its content.
func storeImage(t *testing.T, sif, content string) *rundir.ImageRecord {
	t.Helper()
	part := sif + ".part"
	if err := os.WriteFile(part, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	sum, err := fileSHA256(part)
	if err != nil {
		t.Fatal(err)
	}
	record := &rundir.ImageRecord{Version: rundir.Version, URI: "docker://a/b", Digest: "sha256:" + strings.TrimSuffix(filepath.Base(sif), ".sif"),
		SHA256: sum, Size: int64(len(content)), Runtime: "apptainer version 1.4.5"}
	if err := commit(part, sif, record); err != nil {
		t.Fatal(err)
	}
	return record
}

// imageStore is a store of images, and a program called apptainer that is a few lines of shell: the real one is met on the
// test site.
type imageStore struct {
	t    *testing.T
	dir  string
	bin  string
	log  *bytes.Buffer
	mu   sync.Mutex
	pull rundir.ImagePull
}

// fakeSIF writes what begins like a SIF to the file that pull names, which stands before the source.
const fakeSIF = `file=$(eval echo "\${$(($# - 1))}"); printf '%-32s%s content of %s' '#!/usr/bin/env run-singularity' SIF_MAGIC "$*" >"$file"`

func newStore(t *testing.T, lines string) *imageStore {
	t.Helper()
	s := &imageStore{t: t, dir: filepath.Join(t.TempDir(), rundir.ImagesDir), bin: t.TempDir(), log: &bytes.Buffer{}}
	digest := "sha256:" + strings.Repeat("0a", 32)
	s.pull = rundir.ImagePull{URI: "docker://reg:5000/a/b:v1", Digest: digest, SIF: rundir.StoredImage(filepath.Dir(s.dir), digest)}
	script := "#!/bin/sh\n[ \"$1\" != --version ] || { echo apptainer version 1.4.5; exit; }\necho \"$*\" >>" + s.calls() + "\n" + lines + "\n"
	if err := os.WriteFile(filepath.Join(s.bin, "apptainer"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *imageStore) calls() string { return filepath.Join(s.bin, "calls") }

// pulls is how often apptainer was started, and with what.
func (s *imageStore) pulls() []string {
	b, err := os.ReadFile(s.calls())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		s.t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
}

func (s *imageStore) puller() *puller {
	w := &World{Environ: []string{"PATH=" + s.bin + ":" + os.Getenv("PATH")}, Stderr: s, Hostname: "mel2001", PID: os.Getpid(), TempDir: s.t.TempDir(), Now: time.Now}
	return &puller{world: w, job: &job{dir: s.t.TempDir(), plan: &rundir.Plan{Key: "assay-" + filepath.Base(s.bin)}}, owner: newLockOwner(w),
		beat: 50 * time.Millisecond, poll: 10 * time.Millisecond, stale: 2 * time.Second,
		sayf: func(format string, args ...any) { fmt.Fprintf(s, format+"\n", args...) }, log: func(string, ...any) {}}
}

func (s *imageStore) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.log.Write(b)
}

func (s *imageStore) files() []string {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		s.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return out
}

// whole checks that the store holds the image and nothing else.
func (s *imageStore) whole() {
	s.t.Helper()
	hex := strings.Repeat("0a", 32)
	if diff := cmp.Diff([]string{hex + ".json", hex + ".sif"}, s.files()); diff != "" {
		s.t.Errorf("the store (-want +got):\n%s", diff)
	}
	r, err := storedImage(s.pull.SIF)
	if err != nil {
		s.t.Fatal(err)
	}
	sum, err := fileSHA256(s.pull.SIF)
	if err != nil {
		s.t.Fatal(err)
	}
	if r.SHA256 != sum || r.Digest != s.pull.Digest || r.URI != s.pull.URI || r.Runtime != "apptainer version 1.4.5" || r.Time.IsZero() {
		s.t.Errorf("%+v, want the record of the file with %s", r, sum)
	}
}

func TestPull(t *testing.T) {
	t.Parallel()
	s := newStore(t, fakeSIF)
	s.pull.Insecure = true
	for range 2 { // the second time it is there
		if err := s.puller().one(t.Context(), s.pull); err != nil {
			t.Fatal(err)
		}
	}
	s.whole()
	pulls := s.pulls()
	if len(pulls) != 1 || !strings.HasPrefix(pulls[0], "pull --disable-cache --no-https "+s.dir+"/.") ||
		!strings.HasSuffix(pulls[0], " docker://reg:5000/a/b@"+s.pull.Digest) {
		t.Errorf("apptainer was started with %q", pulls)
	}
}

func TestTwoPullOnce(t *testing.T) {
	t.Parallel()
	s := newStore(t, "sleep 0.5\n"+fakeSIF)
	var both sync.WaitGroup
	for range 2 {
		both.Go(func() {
			if err := s.puller().one(t.Context(), s.pull); err != nil {
				t.Error(err)
			}
		})
	}
	both.Wait()
	s.whole()
	if pulls := s.pulls(); len(pulls) != 1 {
		t.Errorf("pulled %d times: %q", len(pulls), pulls)
	}
}

// What a killed pull, a cut copy or a person left behind is in nobody's way.
func TestPullAfterAKill(t *testing.T) {
	t.Parallel()
	hex := strings.Repeat("0a", 32)
	cases := map[string]map[string]string{
		"no record":      {hex + ".sif": "half", "." + hex + ".sif.OLD.part": "half"},
		"record cut":     {hex + ".sif": "half", hex + ".json": `{"version":1,"uri":`, "." + hex + ".json.1234": "x"},
		"file cut":       {hex + ".sif": "half", hex + ".json": `{"version":1,"uri":"docker://a","digest":"sha256:` + hex + `","sha256":"` + hex + `","size":9000,"time":"2026-11-30T11:00:00Z","runtime":"x"}`},
		"lock and parts": {"." + hex + ".lock.OLD": "", "." + hex + ".sif.OLD.part": "half"},
	}
	for name, left := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, fakeSIF)
			if err := os.MkdirAll(s.dir, 0o700); err != nil {
				t.Fatal(err)
			}
			for file, content := range left {
				if err := os.WriteFile(filepath.Join(s.dir, file), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.Symlink(lockOwner{host: "mel2002", pid: 1, nonce: "OLD"}.text(3), filepath.Join(s.dir, hex+".lock")); err != nil {
				t.Fatal(err)
			}
			p := s.puller()
			if err := os.MkdirAll(filepath.Join(p.scratchName(s.pull.SIF, "OLD"), "rootfs"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := p.one(t.Context(), s.pull); err != nil {
				t.Fatal(err)
			}
			s.whole()
			if scratch, err := os.ReadDir(p.world.TempDir); err != nil || len(scratch) > 0 {
				t.Errorf("left on the node: %v, %v", scratch, err)
			}
		})
	}
}

// A pull that is told to end leaves nothing, not even a process.
func TestPullIsEnded(t *testing.T) {
	t.Parallel()
	s := newStore(t, "setsid sleep 987 &\necho begun\nsleep 987")
	ctx, cancel := context.WithCancelCause(t.Context())
	p := s.puller()
	done := make(chan error, 1)
	go func() { done <- p.one(ctx, s.pull) }()
	begun := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return strings.Contains(s.log.String(), "begun")
	}
	for tick := time.NewTicker(5 * time.Millisecond); !begun(); {
		<-tick.C
	}
	cancel(endf(rundir.ExitReasonTimeLimit, "the limit came"))
	err := <-done
	if end := asEnding(err); end.reason != rundir.ExitReasonTimeLimit {
		t.Errorf("%v, want the cause", err)
	}
	if left := s.files(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if scratch, err := os.ReadDir(p.world.TempDir); err != nil || len(scratch) > 0 {
		t.Errorf("left behind: %v, %v", scratch, err)
	}
	marks := rest{self: os.Getpid(), marks: []string{markJob + "=" + p.job.plan.Key + "\x00"}}
	if left := marks.list(); len(left) > 0 {
		t.Errorf("processes left behind: %v", left)
	}
}

// What Apptainer 1.4.5 says, in the words that people need.
func TestPullFails(t *testing.T) {
	t.Parallel()
	const head = "FATAL:   While making image from oci registry: error fetching image to cache: failed to get checksum for docker://reg:5000/a/b@sha256:0a0a: "
	cases := map[string]struct {
		said, reason, want string
	}{
		"unknown digest":   {head + "reading manifest sha256:0a0a in reg:5000/a/b: manifest unknown: Unknown manifest", rundir.ExitReasonImageUnknown, "has no docker://reg:5000/a/b:v1 (sha256:0a0a"},
		"refused":          {head + `pinging container registry reg:5000: Get "http://reg:5000/v2/": dial tcp 127.1.24.1:1: connect: connection refused`, rundir.ExitReasonRegistrySilent, "does not answer the node that pulls"},
		"no such host":     {head + `pinging container registry reg:5000: Get "http://reg:5000/v2/": dial tcp: lookup reg on 10.0.0.1:53: no such host`, rundir.ExitReasonRegistrySilent, "no such host"},
		"plain HTTP":       {head + `pinging container registry reg:5000: Get "https://reg:5000/v2/": http: server gave HTTP response to HTTPS client`, rundir.ExitReasonPullFailed, "images.insecureRegistries"},
		"login":            {head + "reading manifest sha256:0a0a in reg:5000/a/b: unauthorized: authentication required", rundir.ExitReasonPullUnauthorized, "apptainer registry login"},
		"Docker Hub":       {head + "reading manifest sha256:0a0a in docker.io/a/b: requested access to the resource is denied", rundir.ExitReasonPullUnauthorized, "or check the name"},
		"too many":         {head + "toomanyrequests: You have reached your pull rate limit.", rundir.ExitReasonRegistrySilent, "try again later"},
		"no space":         {"INFO:    Starting build...\nFATAL:   While making image from oci registry: error fetching image to cache: while building SIF from layers: packer failed to pack: while unpacking tmpfs: unpack: write /tmp/x: no space left on device", rundir.ExitReasonDiskFull, "three times its size"},
		"no library":       {"FATAL:   Unable to get library client configuration: remote has no library client (see https://apptainer.org)", rundir.ExitReasonPullFailed, "apptainer remote"},
		"not in a library": {"FATAL:   While pulling library image: error fetching image: image does not exist in the library: a/b/c:sha256.0a0a (amd64)", rundir.ExitReasonImageUnknown, "has no docker://reg:5000/a/b:v1 (sha256:0a0a"},
		"something else":   {"INFO:    hello\nFATAL:   While performing build: something new", rundir.ExitReasonPullFailed, "cannot be pulled. Apptainer says: While performing build: something new"},
		"nothing":          {"", rundir.ExitReasonPullFailed, "exit status 255"},
		"FATAL, then more": {head + "manifest unknown\nINFO: cleaning up", rundir.ExitReasonImageUnknown, "says: While making"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStore(t, "cat >&2 <<'SAID'\n"+c.said+"\nSAID\nexit 255")
			err := s.puller().one(t.Context(), s.pull)
			if end := asEnding(err); end.reason != c.reason || !strings.Contains(end.message, c.want) {
				t.Errorf("%s: %v\nwant %s with %q", end.reason, err, c.reason, c.want)
			}
			if left := s.files(); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// The name of an image may hold any of the words.
func TestPullWordsOfTheNameTellNothing(t *testing.T) {
	pull := rundir.ImagePull{URI: "docker://x/unauthorized:v1", Digest: "sha256:00"}
	end := pullEnding(pull, "FATAL:   docker://x/unauthorized@sha256:00: something new", errors.New("exit status 255"), "/tmp/x")
	if end.reason != rundir.ExitReasonPullFailed {
		t.Errorf("%s: %s", end.reason, end.message)
	}
}

func TestPullWithoutApptainer(t *testing.T) {
	t.Parallel()
	s := newStore(t, "")
	p := s.puller()
	p.world.Environ = []string{"PATH=/nowhere"}
	if end := asEnding(p.one(t.Context(), s.pull)); end.reason != rundir.ExitReasonProgramMissing || !strings.Contains(end.message, "the Site's modules") {
		t.Errorf("%s: %s", end.reason, end.message)
	}
}

func TestPullOfWhatIsNoSIF(t *testing.T) {
	t.Parallel()
	s := newStore(t, `file=$(eval echo "\${$(($# - 1))}"); echo hello >"$file"`)
	if end := asEnding(s.puller().one(t.Context(), s.pull)); end.reason != rundir.ExitReasonPullFailed || !strings.Contains(end.message, "no SIF") {
		t.Errorf("%s: %s", end.reason, end.message)
	}
	if left := s.files(); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestPullSource(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0a", 32)
	layout := t.TempDir()
	index := `{"schemaVersion":2,"manifests":[{"digest":"sha256:1","size":1},{"digest":"` + digest + `","size":7,"annotations":{"a":"b"}}]}`
	if err := os.WriteFile(filepath.Join(layout, "index.json"), []byte(index), 0o600); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct{ uri, want, failure string }{
		"digest":          {"docker://a/b", "docker://a/b@" + digest, ""},
		"tag and digest":  {"docker://a/b:v1", "docker://a/b@" + digest, ""},
		"port and digest": {"docker://host:5000/b", "docker://host:5000/b@" + digest, ""},
		"library":         {"library://a/b/c:v1", "library://a/b/c:sha256." + strings.Repeat("0a", 32), ""},
		"layout":          {"oci://" + layout, "oci:SCRATCH/layout", ""},
		"no layout":       {"oci:///no/such", "", "no OCI layout"},
		"other scheme":    {"shub://a/b", "", "nothing is pulled from shub"},
	}
	for name, c := range cases {
		scratch := t.TempDir()
		got, err := pullSource(rundir.ImagePull{URI: c.uri, Digest: digest}, scratch)
		if c.failure != "" {
			if err == nil || !strings.Contains(err.Error(), c.failure) {
				t.Errorf("%s: %v, want %q", name, err, c.failure)
			}
			continue
		}
		if want := strings.Replace(c.want, "SCRATCH", scratch, 1); got != want || err != nil {
			t.Errorf("%s: %q, %v; want %q", name, got, err, want)
		}
		if name == "layout" {
			b, err := os.ReadFile(filepath.Join(scratch, "layout", "index.json"))
			want := `{"schemaVersion":2,"manifests":[{"digest":"` + digest + `","size":7,"annotations":{"a":"b"}}]}`
			if string(b) != want || err != nil {
				t.Errorf("the layout says %s, %v; want %s", b, err, want)
			}
		}
	}
	if _, err := narrowLayout(layout, "sha256:2", t.TempDir()); err == nil || !strings.Contains(err.Error(), "no image with the digest") {
		t.Errorf("%v", err)
	}
}

// An image of the site is compared with the digest that the recipe names.
func TestCheckImage(t *testing.T) {
	sif := filepath.Join(t.TempDir(), "a.sif")
	if err := os.WriteFile(sif, []byte("hello\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const sum = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"
	other := "sha256:" + strings.Repeat("0", 64)
	cases := map[string]struct {
		img    *rundir.Image
		reason string
		want   []string
	}{
		"no image":  {nil, "", nil},
		"no digest": {&rundir.Image{URI: sif}, "", nil},
		"the same":  {&rundir.Image{URI: sif, Digest: sum}, "", nil},
		"another":   {&rundir.Image{URI: sif, Digest: other}, rundir.ExitReasonImageMismatch, []string{sum, other}},
		"missing":   {&rundir.Image{URI: "/no/such.sif", Digest: sum}, rundir.ExitReasonImageMissing, []string{"does not exist"}},
	}
	for name, c := range cases {
		err := checkImage(c.img)
		if (err == nil) != (c.reason == "") || err != nil && asEnding(err).reason != c.reason {
			t.Errorf("%s: %v, want %q", name, err, c.reason)
		}
		for _, w := range c.want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v lacks %s", name, err, w)
			}
		}
	}
}

// Provenance names the digest and the file's own hash: they are two things.
func TestUsedImage(t *testing.T) {
	sif := filepath.Join(t.TempDir(), strings.Repeat("0a", 32)+".sif")
	record := storeImage(t, sif, "content")
	digest := "sha256:" + strings.Repeat("0a", 32)
	want := rundir.UsedImage{URI: "docker://a/b", Digest: digest, SIF: sif, SHA256: record.SHA256, Size: 7}
	if diff := cmp.Diff(want, usedImage(&rundir.Image{URI: "docker://a/b", Digest: digest, SIF: sif})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	want = rundir.UsedImage{URI: sif, SIF: sif, Size: 7}
	if diff := cmp.Diff(want, usedImage(&rundir.Image{URI: sif})); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func FuzzPullEnding(f *testing.F) {
	f.Add("docker://a/b", "FATAL:   x\nINFO: y")
	f.Add("docker://", "\x00\xff")
	f.Fuzz(func(t *testing.T, uri, said string) {
		end := pullEnding(rundir.ImagePull{URI: uri, Digest: "sha256:0"}, said, errors.New("exit status 255"), "/tmp/x")
		if end.reason == "" || end.code == 0 || !strings.Contains(end.message, uri) || strings.Contains(pullLine(said), "\n") {
			t.Errorf("%+v", end)
		}
	})
}

func FuzzManifestOf(f *testing.F) {
	f.Add([]byte(`{"manifests":[{"digest":"sha256:1"}]}`), "sha256:1")
	f.Fuzz(func(t *testing.T, index []byte, digest string) {
		if m, err := manifestOf(index, digest); err == nil && len(m) == 0 {
			t.Error("no manifest, and no error")
		}
	})
}
