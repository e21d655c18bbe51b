package node

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/llmsim"
	"assay.bench/internal/rundir"
)

func TestExpand(t *testing.T) {
	value := func(name string) (string, bool) {
		v, ok := map[string]string{"PORT": "8000", "EMPTY": "", "A": "$(PORT)"}[name]
		return v, ok
	}
	// The table is that of Kubernetes' own documentation of a container's command.
	cases := map[string]struct{ in, want, reason string }{
		"name":      {"--port=$(PORT)", "--port=8000", ""},
		"twice":     {"$(PORT)$(PORT)", "80008000", ""},
		"empty":     {"[$(EMPTY)]", "[]", "a name that is known and empty is replaced"},
		"unknown":   {"$(NOPE)", "$(NOPE)", "it may be meant for the program"},
		"escaped":   {"$$(PORT)", "$(PORT)", ""},
		"double":    {"$$$(PORT)", "$8000", ""},
		"dollars":   {"$$$$(PORT)", "$$(PORT)", ""},
		"shell":     {"$PORT ${PORT}", "$PORT ${PORT}", "only $(NAME) is ours"},
		"not again": {"$(A)", "$(PORT)", "what was put in is not looked at again"},
		"open":      {"$(PORT", "$(PORT", ""},
		"end":       {"cost $", "cost $", ""},
	}
	for name, c := range cases {
		if got := expand(c.in, value); got != c.want {
			t.Errorf("%s: %q became %q, want %q: %s", name, c.in, got, c.want, c.reason)
		}
	}
}

func FuzzExpand(f *testing.F) {
	f.Add("$(PORT) $$(PORT) $(")
	f.Fuzz(func(t *testing.T, s string) {
		if !strings.Contains(s, "$") && expand(s, func(string) (string, bool) { return "", true }) != s {
			t.Errorf("%q has no $ and was changed", s)
		}
		escaped := strings.ReplaceAll(s, "$", "$$")
		if got := expand(escaped, func(string) (string, bool) { return "x", true }); got != s {
			t.Errorf("%q escaped became %q", s, got)
		}
	})
}

func TestCommandLine(t *testing.T) {
	env := []rundir.EnvVar{{Name: "URL", Value: "http://$(HOST):$(PORT)"}, {Name: "BOTH", Value: "$(URL)/x"}}
	args, environ := commandLine([]string{"s", "$(EACH)$(HOST):$(PORT_ADMIN)", "$(BOTH)", "$(PORT_ADMIN)", "$$(EACH)", "x$(EACH)"}, env,
		map[string]string{"HOST": "h", "PORT": "1", "PORT_ADMIN": "2"},
		[]map[string]string{{"HOST": "a"}, {"HOST": "b", "PORT_ADMIN": "3"}})
	if diff := cmp.Diff([]string{"s", "a:2", "b:3", "http://h:1/x", "2", "$(EACH)", "x$(EACH)"}, args); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"URL=http://h:1", "BOTH=http://h:1/x"}, environ); diff != "" {
		t.Error(diff)
	}
}

func TestImageSource(t *testing.T) {
	sif := filepath.Join(t.TempDir(), "a.sif")
	empty := filepath.Join(t.TempDir(), "b.sif")
	for path, content := range map[string]string{sif: "x", empty: ""} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stored := filepath.Join(t.TempDir(), strings.Repeat("a", 64)+".sif")
	storeImage(t, stored, "content")
	cases := map[string]struct {
		img     rundir.Image
		want    string
		failure string
	}{
		"path":     {rundir.Image{URI: sif}, sif, ""},
		"file URL": {rundir.Image{URI: "file://" + sif, Digest: "sha256:1"}, sif, ""},
		"stored":   {rundir.Image{URI: "docker://a/b:v1", SIF: stored}, stored, ""},
		"removed":  {rundir.Image{URI: "docker://a/b:v1", SIF: "/no/such.sif"}, "", "is not in the site's store"},
		"missing":  {rundir.Image{URI: "/no/such.sif"}, "", "does not exist on this node"},
		"empty":    {rundir.Image{URI: empty}, "", "is an empty file"},
	}
	for name, c := range cases {
		got, err := imageSource(&c.img)
		if got != c.want || (err == nil) != (c.failure == "") || (err != nil && !strings.Contains(err.Error(), c.failure)) {
			t.Errorf("%s: got %q, %v; want %q, %q", name, got, err, c.want, c.failure)
		}
	}
}

func TestAllBinds(t *testing.T) {
	const run = "/scratch/p/run"
	ro := func(path string) rundir.Bind { return rundir.Bind{Path: path} }
	rw := func(path string) rundir.Bind { return rundir.Bind{Path: path, Writable: true} }
	cases := map[string]struct {
		reason   string
		binds    []rundir.Bind
		writable []string
		want     []rundir.Bind
	}{
		"nothing":          {"the rank's own folder is always there", nil, nil, []rundir.Bind{rw(run)}},
		"own folders":      {"they lie in a folder that is there", nil, []string{run + "/drive1"}, []rundir.Bind{rw(run)}},
		"elsewhere":        {"another disk", nil, []string{"/mnt/nvme0/x"}, []rundir.Bind{rw("/mnt/nvme0/x"), rw(run)}},
		"above":            {"mounted after the rank's folder it would hide it, and nothing could be written", []rundir.Bind{ro("/scratch")}, nil, []rundir.Bind{ro("/scratch"), rw(run)}},
		"model in cache":   {"the model stays what it is", []rundir.Bind{ro("/c/hf/m"), rw("/c")}, nil, []rundir.Bind{rw("/c"), ro("/c/hf/m"), rw(run)}},
		"cache in model":   {"the cache can be written", []rundir.Bind{ro("/c"), rw("/c/cache")}, nil, []rundir.Bind{ro("/c"), rw("/c/cache"), rw(run)}},
		"three levels":     {"the nearest one above counts", []rundir.Bind{rw("/c"), ro("/c/d"), rw("/c/d/e")}, nil, []rundir.Bind{rw("/c"), ro("/c/d"), rw("/c/d/e"), rw(run)}},
		"twice":            {"the image names the cache, and so does the engine", []rundir.Bind{ro("/c/"), rw("/c")}, nil, []rundir.Bind{rw("/c"), rw(run)}},
		"twice, otherwise": {"in the other order", []rundir.Bind{rw("/c"), ro("/c")}, nil, []rundir.Bind{rw("/c"), rw(run)}},
		"like a folder":    {"its name begins alike, and no more", []rundir.Bind{rw("/scratch/p/ru")}, nil, []rundir.Bind{rw("/scratch/p/ru"), rw(run)}},
	}
	for name, c := range cases {
		if diff := cmp.Diff(c.want, allBinds(c.binds, append(c.writable, run)...)); diff != "" {
			t.Errorf("%s: %s: -want +got:\n%s", name, c.reason, diff)
		}
	}
}

func TestHoldPorts(t *testing.T) {
	ports := make([]rundir.Port, 20)
	for i := range ports {
		ports[i].Name = "p" + strconv.Itoa(i)
	}
	held, err := holdPorts(t.Context(), ports, "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range held.numbers {
		if l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(n)); err == nil {
			t.Errorf("port %d is not held", n)
			_ = l.Close()
		}
	}
	held.release()
	seen := map[int]bool{}
	for _, n := range held.numbers {
		seen[n] = true
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(n))
		if err != nil {
			t.Errorf("port %d is not free: %v", n, err)
			continue
		}
		defer l.Close()
	}
	if len(seen) != len(ports) {
		t.Errorf("%d different ports of %d", len(seen), len(ports))
	}
}

func TestBindHost(t *testing.T) {
	for bind, want := range map[string]string{"": "127.0.0.1", "0.0.0.0": "0.0.0.0", "::1": "::1", "lo": "127.0.0.1", "localhost": "localhost"} {
		if got, err := bindHost(bind, "localhost"); err != nil || got != want {
			t.Errorf("%q: got %q, %v; want %q", bind, got, err, want)
		}
	}
	if got := reachHost("0.0.0.0", rundir.LaunchSrun, "mel2001"); got != "mel2001" {
		t.Errorf("a server on all addresses is reached by %q, want the host's name", got)
	}
	if got := reachHost("::", rundir.LaunchProcess, "laptop"); got != "127.0.0.1" {
		t.Errorf("got %q", got)
	}
}

func TestLogTail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	var b bytes.Buffer
	for i := range 1000 {
		b.WriteString("line " + strconv.Itoa(i) + "\n")
	}
	b.WriteString("\x1b[31mred \xff end\x00\n")
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	got := logTail(path, 0)
	if lines := strings.Split(got, "\n"); len(lines) != tailLines || lines[0] != "line 989" || lines[11] != "[31mred  end" {
		t.Errorf("got %q", lines)
	}
	if got := logTail(path, int64(b.Len()-15)); got != "[31mred  end" {
		t.Errorf("behind the offset: %q", got)
	}
	if got := logTail(path+"x", 0); got != "" {
		t.Errorf("a missing log is %q", got)
	}
}

func FuzzLogTail(f *testing.F) {
	f.Add([]byte("a\nb\x00\xff"), int64(1))
	path := filepath.Join(f.TempDir(), "log")
	f.Fuzz(func(t *testing.T, b []byte, from int64) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		got := logTail(path, max(0, from))
		if !utf8.ValidString(got) || strings.ContainsRune(got, 0) || strings.Count(got, "\n") >= tailLines {
			t.Errorf("got %q", got)
		}
	})
}

func TestParseFaults(t *testing.T) {
	got, err := parseFaults([]string{"Reset=0.5", "Empty=0"})
	if err != nil || len(got) != 2 || got[0] != (llmsim.Fault{Type: llmsim.Reset, Ratio: 0.5}) {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"Reset", "Reset=", "Reset=x"} {
		if _, err := parseFaults([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestPeerIsLostByOurClock(t *testing.T) {
	dir := t.TempDir()
	beat := func(n int64, phase string) {
		if err := writeJSON(filepath.Join(dir, rundir.StatusFile), rundir.Status{Version: 1, Heartbeat: n, Phase: phase,
			Time: time.Unix(n*1e6, 0)}); err != nil { // its own clock is years off
			t.Fatal(err)
		}
	}
	start := time.Unix(1000, 0)
	p := peer{dir: dir}
	p.look(start)
	if p.lost(start.Add(time.Hour), time.Minute) {
		t.Error("a rank that never lived is not lost")
	}
	beat(1, rundir.PhaseMeasuring)
	p.look(start)
	p.look(start.Add(50 * time.Second))
	if p.lost(start.Add(50*time.Second), time.Minute) || !p.lost(start.Add(61*time.Second), time.Minute) {
		t.Error("lost is not a minute after the last change")
	}
	beat(2, rundir.PhaseMeasuring)
	p.look(start.Add(70 * time.Second))
	if p.lost(start.Add(100*time.Second), time.Minute) {
		t.Error("it beats again and is lost")
	}
	beat(2, rundir.PhaseFailed)
	p.look(start.Add(71 * time.Second))
	if p.lost(start.Add(time.Hour), time.Minute) || !p.over() {
		t.Error("a rank that has ended is over, not lost")
	}
}

func TestRestFindsWhatLeft(t *testing.T) {
	key := "assay-0123abcd-00000000000000aa-" + strconv.Itoa(os.Getpid())
	start := func(component string) *exec.Cmd {
		cmd := exec.Command("setsid", "-w", "sleep", "300")
		cmd.Env = append(os.Environ(), markJob+"="+key, markComponent+"="+component)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
		return cmd
	}
	a, b := start("sim/0"), start("sim/01")
	one := restOfRank(os.Getpid(), false, key, "sim", 0)
	for deadline := time.Now().Add(10 * time.Second); len(one.list()) == 0 && time.Now().Before(deadline); {
	}
	if left := one.kill(); left != 0 {
		t.Errorf("%d are left", left)
	}
	if err := a.Wait(); err == nil {
		t.Error("the marked process ended by itself")
	}
	if _, live := parentOf(b.Process.Pid); !live {
		t.Error("the process of another rank was killed")
	}
}

func TestCommandLineErrors(t *testing.T) {
	unknown := t.TempDir()
	if err := os.WriteFile(filepath.Join(unknown, rundir.PlanFile), []byte(`{"version":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(unknown, rundir.SecretsDir), 0o700); err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		args []string
		code int
		want string
	}{
		"no command":   {nil, 0, "assay-node is the part"},
		"version":      {[]string{"version"}, 0, "plan version 1"},
		"bad flag":     {[]string{"job", "--nope"}, exitUsage, "unknown flag"},
		"no dir":       {[]string{"job"}, exitUsage, `"dir" not set`},
		"bad command":  {[]string{"fly"}, exitUsage, "unknown command"},
		"no plan":      {[]string{"job", "--dir", t.TempDir()}, rundir.ExitFailed, "--dir must name the folder of an attempt"},
		"newer plan":   {[]string{"job", "--dir", unknown}, rundir.ExitUnknownPlan, "the assay and the assay-node of one release"},
		"newer, serve": {[]string{"serve", "--dir", unknown, "--component", "a"}, rundir.ExitUnknownPlan, "version 2"},
		"bad fault":    {[]string{"llmsim", "--fault", "x"}, rundir.ExitFailed, "TYPE=RATIO"},
		"bad latency":  {[]string{"llmsim", "--ttft-deviation", "1s"}, rundir.ExitFailed, "exceeds 30 %"},
	}
	for name, c := range cases {
		var out bytes.Buffer
		w := &World{Args: c.args, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out, Now: time.Now, Mono: monotonic}
		if code := Run(w); code != c.code || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: code %d, want %d; output %q, want %q in it", name, code, c.code, out.String(), c.want)
		}
	}
	if _, err := os.Stat(filepath.Join(unknown, rundir.SecretsDir)); !os.IsNotExist(err) {
		t.Errorf("the secrets of a plan that is not known are still there: %v", err)
	}
}

func TestSlurmEnvHoldsNoToken(t *testing.T) {
	got := slurmEnv([]string{"SLURM_JOB_ID=4711", "SLURM_JWT=secret", "HOME=/root", "SLURM_JOB_NODELIST=mel[1-2]"})
	want := map[string]string{"SLURM_JOB_ID": "4711", "SLURM_JOB_NODELIST": "mel[1-2]"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// The binary is what is copied to every site: static, small and without Kubernetes.
func TestBinary(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assay-node")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", path, "assay.bench/cmd/assay-node")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if st.Size() > 25<<20 {
		t.Errorf("%d bytes, more than 25 MiB", st.Size())
	}
	deps, err := exec.Command("go", "list", "-deps", "assay.bench/cmd/assay-node").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(deps)) {
		if strings.HasPrefix(line, "k8s.io/") || strings.HasPrefix(line, "sigs.k8s.io/") {
			t.Errorf("it links %s", line)
		}
	}
	out, err := exec.Command(path, "version").CombinedOutput()
	if err != nil || !strings.Contains(string(out), "assay-node") {
		t.Errorf("version: %q, %v", out, err)
	}
}
