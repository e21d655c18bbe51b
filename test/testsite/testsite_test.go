//go:build e2e

package testsite

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/test/site"
	"assay.bench/test/user"
)

const job = "-A p200000 -p gpu -q default -N1 -t 5 --mem=100 "

func TestSite(t *testing.T) {
	t.Parallel()
	for _, name := range []string{site.Slurm2411, site.Slurm2411Plain, site.Slurm2205} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := site.Up(t, name)
			t.Run("job", func(t *testing.T) { aJob(t, s.For(t)) })
			t.Run("nodes", func(t *testing.T) { twoNodes(t, s.For(t)) })
			t.Run("container", func(t *testing.T) { container(t, s.For(t)) })
			t.Run("ssh", func(t *testing.T) { overSSH(t, s.For(t)) })
			t.Run("rest", func(t *testing.T) { overREST(t, s.For(t)) })
			t.Run("prolog", func(t *testing.T) { failingProlog(t, s.For(t)) })
			t.Run("commands", func(t *testing.T) { commands(t, s.For(t)) })
			t.Run("down", func(t *testing.T) { nothingStays(t, s.For(t)) })
		})
	}
}

// aJob is submitted held, released, runs with GPUs, and is told by squeue and, where there is accounting, by sacct.
func aJob(t *testing.T, s *site.Site) {
	id := s.Sh("sbatch --parsable --hold --gres=gpu:2 " + job + "--wrap 'hostname; echo $CUDA_VISIBLE_DEVICES'")
	if got := s.Sh("squeue -h -o '%T %r' -j " + id); got != "PENDING JobHeldUser" {
		t.Errorf("a held job is %q", got)
	}
	s.Sh("scontrol release " + id)
	user.Until(t, "the job ends", func() bool { return s.Sh("squeue -h -t all -o %T -j "+id) == "COMPLETED" })
	// The file is hpc's, in a folder that is closed to others, and read here from outside.
	out, err := os.ReadFile(filepath.Join(s.Get("WORK"), "slurm-"+id+".out"))
	if err != nil || string(out) != "mel2001\n0,1\n" {
		t.Errorf("the job wrote %q, %v", out, err)
	}
	if s.Get("ACCOUNTING") == "" {
		if a := s.Exec("sacct", "-X", "-n"); !strings.Contains(a.Stdout+a.Stderr, "accounting storage is disabled") {
			t.Errorf("sacct without accounting: %+v", a)
		}
		return
	}
	user.Until(t, "sacct tells the end", func() bool {
		return s.Sh("sacct -X -P -n -o state,account,qos,ncpus -j "+id) == "COMPLETED|p200000|default|2"
	})
}

func twoNodes(t *testing.T, s *site.Site) {
	got := s.Sh("srun -A p200000 -p gpu -q default -N2 -t 5 --mem=100 --gres=gpu:4 bash -c 'echo $(hostname) $CUDA_VISIBLE_DEVICES' | sort")
	if want := "mel2001 0,1,2,3\nmel2002 0,1,2,3"; got != want {
		t.Error(cmp.Diff(want, got))
	}
	var cpus, memory string
	if fields := strings.Fields(s.Sh("sinfo -h -N -n mel2003 -p gpu -o '%c %m'")); len(fields) == 2 {
		cpus, memory = fields[0], fields[1]
	}
	if cpus != "128" || memory != "491520" {
		t.Errorf("mel2003 has %s CPUs and %s MB", cpus, memory)
	}
	for node := range strings.SplitSeq(s.Get("NODES"), ",") {
		name, address, _ := strings.Cut(node, "=")
		if got := strings.Fields(s.Sh("getent hosts " + name)); len(got) == 0 || got[0] != address {
			t.Errorf("%s is %v inside, want %s", name, got, address)
		}
	}
}

// container runs an image of a folder, once as a file and once out of the registry by digest.
func container(t *testing.T, s *site.Site) {
	tree := t.TempDir()
	if err := os.MkdirAll(filepath.Join(tree, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(tree, "etc", "word"), []byte("inside"), 0o600); err != nil {
		t.Fatal(err)
	}
	sif := s.SIF(tree, "word.sif")
	if got := s.Sh("srun " + job + "apptainer --quiet exec --nv " + sif + " cat /etc/word"); got != "inside" {
		t.Errorf("the image of the folder holds %q", got)
	}
	reference := s.Image(tree, "word:1")
	if again := s.Image(tree, "word:2"); again != reference {
		t.Errorf("one tree is two images: %s", cmp.Diff(reference, again))
	}
	if got := s.Sh("apptainer --quiet exec --no-https docker://" + reference + " cat /etc/word"); got != "inside" {
		t.Errorf("the image of the registry holds %q", got)
	}
}

func overSSH(t *testing.T, s *site.Site) {
	a := s.Do(s.SSH("cat; hostname; id -un; sbatch --version >/dev/null || exit 9; exit 7"))
	if want := (user.Answer{Stdout: "login1\nhpc\n", Code: 7}); cmp.Diff(want, a) != "" {
		t.Error(cmp.Diff(want, a))
	}
}

func overREST(t *testing.T, s *site.Site) {
	if s.Get("REST_URL") == "" {
		return // Slurm 22.05's speaks no version that we use, so that site has none
	}
	get := func(path, token string) (int, int) {
		req, err := http.NewRequest(http.MethodGet, s.Get("REST_URL")+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Slurm-User-Token", token)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		var body struct{ Jobs []json.RawMessage }
		_ = json.NewDecoder(res.Body).Decode(&body) // not every answer is JSON
		return res.StatusCode, len(body.Jobs)
	}
	s.Sh("sbatch --hold " + job + "--wrap true")
	if code, jobs := get("/slurm/v0.0.42/jobs", s.Token("60")); code != http.StatusOK || jobs == 0 {
		t.Errorf("jobs with a token: %d, %d jobs", code, jobs)
	}
	if code, _ := get("/slurm/v0.0.42/jobs", "no-token"); code != 511 {
		t.Errorf("jobs without a token: %d", code)
	}
}

// failingProlog is a job whose node cannot start it: Slurm requeues and holds it, and drains the node.
func failingProlog(t *testing.T, s *site.Site) {
	if err := os.WriteFile(filepath.Join(s.Get("STATE"), "fail-prolog"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	id := s.Sh("sbatch --parsable " + job + "-w mel2004 --wrap true")
	user.Until(t, "Slurm holds the job", func() bool {
		return strings.Contains(s.Sh("squeue -h -o '%r' -j "+id), "launch failed requeued held")
	})
	s.Root("scontrol", "update", "node=mel2004", "state=resume")
	s.Sh("scontrol release " + id)
	user.Until(t, "the job runs after all", func() bool { return s.Sh("squeue -h -t all -o %T -j "+id) == "COMPLETED" })
}

// commands: up once more leaves the site as it is, status tells of it, and a shell is one on its login node.
func commands(t *testing.T, s *site.Site) {
	name := s.Get("SITE")
	if a := s.Do(s.Script("up", name)); a.Code != 0 || !strings.Contains(a.Stderr, name+" is up") {
		t.Errorf("up once more: %+v", a)
	}
	status := s.Must(s.Script("status")).Stdout
	if want := "process " + s.Get("PID") + ", "; !slices.ContainsFunc(strings.Split(status, "\n"), func(line string) bool {
		words := strings.Fields(line)
		return len(words) > 1 && words[0] == name && words[1] == "up" && strings.Contains(line, want)
	}) {
		t.Errorf("status does not have %s up, %s as before:\n%s", name, want, status)
	}
	shell := append([]string{"bash", "-c", `echo 'echo "it is $(hostname) $(id -un)"; exit' | "$@"`, "bash"}, s.Script("shell", name)...)
	if a := s.Do(shell); a.Code != 0 || !strings.Contains(a.Stdout, "it is login1 hpc") {
		t.Errorf("a shell: %+v", a)
	}
}

// nothingStays of a site that is down, though a job runs that has hidden itself from its parent.
func nothingStays(t *testing.T, s *site.Site) {
	id := s.Sh("sbatch --parsable " + job + "--wrap 'setsid -f sleep 600; sleep 600'")
	user.Until(t, "the job runs", func() bool { return s.Sh("squeue -h -o %T -j "+id) == "RUNNING" })
	space, err := os.Readlink("/proc/" + s.Get("PID") + "/ns/pid")
	if err != nil {
		t.Fatal(err)
	}
	if n := len(inside(t, space)); n < 10 {
		t.Errorf("%d processes in the site, want those of its daemons and of the job", n)
	}
	s.Down()
	if left := inside(t, space); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	mounts, err := os.ReadFile("/proc/mounts")
	if err != nil || strings.Contains(string(mounts), "testsite") {
		t.Errorf("mounts are left, %v:\n%s", err, mounts)
	}
	if _, err := os.Stat(s.Get("STATE")); !os.IsNotExist(err) {
		t.Errorf("%s is left: %v", s.Get("STATE"), err)
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/assay-testsite-" + s.Slot() + "-" + s.Get("SITE"))
	if err != nil || len(groups) > 0 {
		t.Errorf("control groups are left: %v, %v", groups, err)
	}
	if c, err := net.Dial("tcp", net.JoinHostPort(s.Get("SSH_HOST"), s.Get("SSH_PORT"))); err == nil {
		c.Close()
		t.Error("sshd still answers")
	}
}

// inside lists the processes in a name space of processes.
func inside(t *testing.T, space string) []string {
	t.Helper()
	var out []string
	for _, pid := range user.PIDs(t, "/proc") {
		l := fmt.Sprintf("/proc/%d/ns/pid", pid)
		if to, err := os.Readlink(l); err == nil && to == space {
			out = append(out, l)
		}
	}
	return out
}
