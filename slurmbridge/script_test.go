package slurmbridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
)

var update = flag.Bool("update", false, "write the golden files anew")

const key = slurmbridge.Key("assay-0123abcd-0123456789abcdef-1")

func plain() slurmbridge.Script {
	return slurmbridge.Script{
		Comment:   "assay default/quickstart g1",
		Directory: "/work/0123abcd/default/quickstart/g1/main/1",
		Parts:     []slurmbridge.Part{{Nodes: 1}},
		Node:      "/work/bin/abc/assay-node",
	}
}

func TestRenderGolden(t *testing.T) {
	full := plain()
	full.Directory = "/project/it's here/g1/main/3"
	full.Parts = []slurmbridge.Part{
		{Account: "p200000", Partition: "gpu", QOS: "default", Nodes: 2, TasksPerNode: 4, CPUsPerTask: 16, GPUsPerNode: 4, MemoryMiB: 65536, Gres: "nvme:1",
			Constraint: "a100&ib", Reservation: "bench_1", Licenses: "fs:2", Exclusive: true,
			Exclude: []string{"mel2001", "mel2003"}},
		{Account: "p200000", Partition: "cpu", Nodes: 1, TasksPerNode: 2, CPUsPerTask: 4},
	}
	full.TimeLimit, full.Notice = 90*time.Minute+500*time.Millisecond, 2*time.Minute
	full.Dependency = "afterok:4711:4712?singleton"
	full.Modules = []string{"env/release/2024.1", "Apptainer/1.3.6-GCCcore-13.3.0"}
	for name, s := range map[string]slurmbridge.Script{"plain": plain(), "heterogeneous": full} {
		t.Run(name, func(t *testing.T) {
			got, err := s.Render(key)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", name+".sh")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got (run with -update after a look):\n%s", diff)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	cases := map[string]struct {
		reason, wantWords string
		change            func(*slurmbridge.Script)
	}{
		"newline":        {"a line break ends a comment and begins a command", "comment", func(s *slurmbridge.Script) { s.Comment = "a\nrm -rf /" }},
		"carriage":       {"some tools break lines there", "partition", func(s *slurmbridge.Script) { s.Parts[0].Partition = "cpu\rx" }},
		"directive":      {"a batch system would obey it", "parts[0].account", func(s *slurmbridge.Script) { s.Parts[0].Account = "x #SBATCH --wrap=y" }},
		"directive case": {"its case does not matter", "parts[0].qos", func(s *slurmbridge.Script) { s.Parts[0].QOS = "#sbatch" }},
		"separator":      {"sbatch finds the word anywhere in a line", "comment", func(s *slurmbridge.Script) { s.Comment = "my hetjob" }},
		"backslash":      {"sbatch takes it as an escape inside quotes", "directory", func(s *slurmbridge.Script) { s.Directory = `/a\b/1` }},
		"module":         {"modules are text of people too", "modules[1]", func(s *slurmbridge.Script) { s.Modules = []string{"a", "b\x00"} }},
		"empty module":   {"module load without a name lists all", "modules[0]", func(s *slurmbridge.Script) { s.Modules = []string{""} }},
		"bad bytes":      {"not text", "comment", func(s *slurmbridge.Script) { s.Comment = "\xff" }},
		"relative":       {"the job starts elsewhere", "directory", func(s *slurmbridge.Script) { s.Directory = "a/1" }},
		"dash":           {"it would be an option of module", "modules[0]", func(s *slurmbridge.Script) { s.Modules = []string{"--force"} }},
		"padded":         {"current would not be a number", "directory", func(s *slurmbridge.Script) { s.Directory = "/a/main/02" }},
		"no attempt":     {"current would point nowhere", "directory", func(s *slurmbridge.Script) { s.Directory = "/a/main" }},
		"unclean":        {"two spellings of one folder", "directory", func(s *slurmbridge.Script) { s.Directory = "/a/../b/1" }},
		"node":           {"PATH of a node is not ours", "node program", func(s *slurmbridge.Script) { s.Node = "assay-node" }},
		"no parts":       {"nothing to run on", "at least one part", func(s *slurmbridge.Script) { s.Parts = nil }},
		"negative":       {"a count", "parts[0].gpusPerNode", func(s *slurmbridge.Script) { s.Parts[0].GPUsPerNode = -1 }},
		"excluded text":  {"names of nodes come from an answer", "parts[0].exclude[1]", func(s *slurmbridge.Script) { s.Parts[0].Exclude = []string{"mel1", "mel2,mel3"} }},
		"excluded file":  {"sbatch reads the names from a file", "parts[0].exclude[0]", func(s *slurmbridge.Script) { s.Parts[0].Exclude = []string{"/etc/passwd"} }},
		"excluded many":  {"a small partition would be empty", "at most 8", func(s *slurmbridge.Script) { s.Parts[0].Exclude = make([]string, 9) }},
		"notice":         {"USR1 would come at the start", "time limit", func(s *slurmbridge.Script) { s.TimeLimit, s.Notice = time.Minute, time.Hour }},
		"kill wait":      {"KILL would come before TERM", "kill wait", func(s *slurmbridge.Script) { s.KillWait = -time.Second }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := plain()
			c.change(&s)
			_, err := s.Render(key)
			if err == nil || !strings.Contains(err.Error(), c.wantWords) {
				t.Errorf("error %v, want one that names %q: %s", err, c.wantWords, c.reason)
			}
		})
	}
	if _, err := plain().Render("mine"); err == nil {
		t.Error("a job name that is not a key of ours was accepted")
	}
}

// stage is a folder in which a rendered script can run with nothing but the tools that it may use.
type stage struct {
	root, tools, dir string
	script           slurmbridge.Script
	// edit changes what was rendered, where a test needs an instant that it cannot hit otherwise.
	edit func(string) string
}

// tools are all the programs that the script may call.
var tools = []string{"ln", "mv", "rm", "date", "readlink"}

func newStage(t testing.TB, node, folder string) stage {
	t.Helper()
	root := t.TempDir()
	s := stage{root: root, tools: filepath.Join(root, "tools"), dir: filepath.Join(root, "job"+folder, "2")}
	if err := errors.Join(os.MkdirAll(s.tools, 0o700), os.MkdirAll(s.dir, 0o700)); err != nil {
		t.Fatalf("the file system refuses the folder: %v", err)
	}
	for _, tool := range tools {
		p, err := exec.LookPath(tool)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(p, filepath.Join(s.tools, tool)); err != nil {
			t.Fatal(err)
		}
	}
	record := "#!/bin/bash\nprintf '%s\\0' \"$@\" >>\"" + root + "/modules\"\n"
	if err := os.WriteFile(filepath.Join(s.tools, "module"), []byte(record), 0o700); err != nil {
		t.Fatal(err)
	}
	s.script = plain()
	s.script.Directory = s.dir
	s.script.Node = filepath.Join(root, "node"+folder)
	if err := os.WriteFile(s.script.Node, []byte("#!/bin/bash\n"+node), 0o700); err != nil {
		t.Fatalf("the file system refuses the program's name: %v", err)
	}
	return s
}

// start runs the script as the batch system would.
func (s stage) start(t testing.TB, id string) *exec.Cmd {
	text, err := s.script.Render(key)
	if err != nil {
		t.Fatal(err)
	}
	if s.edit != nil {
		text = []byte(s.edit(string(text)))
	}
	file := filepath.Join(s.root, "job.sh")
	if err := os.WriteFile(file, text, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, "/bin/bash", file)
	cmd.Dir = s.root
	cmd.Env = []string{"PATH=" + s.tools, "SLURM_JOB_ID=" + id}
	cmd.Stderr = new(strings.Builder)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func (s stage) run(t testing.TB, id string) (code int, stderr string) {
	cmd := s.start(t, id)
	if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), cmd.Stderr.(*strings.Builder).String()
}

type ending struct {
	Version int    `json:"version"`
	Reason  string `json:"reason"`
	Code    int    `json:"code"`
	Message string `json:"message"`
	Time    string `json:"time"`
}

func (s stage) exit(t testing.TB) (e ending, found bool) {
	b, err := os.ReadFile(filepath.Join(s.dir, "exit.json"))
	if errors.Is(err, os.ErrNotExist) {
		return e, false
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatalf("exit.json: %v in %s", err, b)
	}
	if _, err := time.Parse(time.RFC3339, e.Time); err != nil {
		t.Errorf("exit.json: time: %v", err)
	}
	e.Time = ""
	return e, true
}

func TestScriptRuns(t *testing.T) {
	cases := map[string]struct {
		reason   string
		node     string
		before   func(t *testing.T, s stage)
		wantCode int
		want     ending
		wantNone bool
		wantLink string
	}{
		"ended":   {reason: "exit code 0", node: "exit 0", want: ending{1, "Ended", 0, "", ""}, wantLink: "2"},
		"failed":  {reason: "the child's code is the job's", node: "exit 9", wantCode: 9, want: ending{1, "Error", 9, "assay-node ended with exit code 9; job.log says why", ""}, wantLink: "2"},
		"full":    {reason: "74 is known", node: "exit 74", wantCode: 74, want: ending{1, "WorkDirUnusable", 74, "the folder of the job could not be written to the end: free some space or raise the quota; job.log says more", ""}, wantLink: "2"},
		"plan":    {reason: "78 is known", node: "exit 78", wantCode: 78, want: ending{1, "UnknownPlan", 78, "assay-node does not know this version of plan.json: use the assay-node that belongs to assay", ""}, wantLink: "2"},
		"killed":  {reason: "a signal is named", node: "kill -9 $$", wantCode: 137, want: ending{1, "Error", 137, "assay-node was ended by signal 9", ""}, wantLink: "2"},
		"present": {reason: "the child knows better", node: `printf '{"version":1,"reason":"Idle","code":1,"time":"2026-01-02T03:04:05Z"}' >exit.json; exit 1`, wantCode: 1, want: ending{1, "Idle", 1, "", ""}, wantLink: "2"},
		"claimed": {
			reason: "another job works here: nothing is touched", node: "touch worked", wantCode: 75, wantNone: true,
			before: func(t *testing.T, s stage) { link(t, "41", filepath.Join(s.dir, "claim")) },
		},
		"requeued": {
			reason: "a measurement is never resumed", node: "touch worked", wantCode: 76,
			before: func(t *testing.T, s stage) { link(t, "42", filepath.Join(s.dir, "claim")) },
			want:   ending{1, "Requeued", 76, "the batch system started this job again; a measurement is never resumed", ""},
		},
		"unusable": {
			reason: "the claim is no link: the system's words are kept", node: "touch worked", wantCode: 74,
			before: func(t *testing.T, s stage) {
				if err := os.WriteFile(filepath.Join(s.dir, "claim"), nil, 0o600); err != nil {
					t.Fatal(err)
				}
			},
			want: ending{1, "WorkDirUnusable", 74, "ln: failed to create symbolic link 'claim': File exists", ""},
		},
		"gone": {
			reason: "no folder, no exit.json", node: "touch worked", wantCode: 74, wantNone: true,
			before: func(t *testing.T, s stage) {
				if err := os.Remove(s.dir); err != nil {
					t.Fatal(err)
				}
			},
		},
		"older attempt": {
			reason: "current only ever moves to a higher attempt", node: "exit 0",
			before: func(t *testing.T, s stage) { link(t, "10", filepath.Join(s.dir, "../current")) },
			want:   ending{1, "Ended", 0, "", ""}, wantLink: "10",
		},
		"newer attempt": {
			reason: "numbers, not words", node: "exit 0",
			before: func(t *testing.T, s stage) { link(t, "1", filepath.Join(s.dir, "../current")) },
			want:   ending{1, "Ended", 0, "", ""}, wantLink: "2",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, c.node, "")
			if c.before != nil {
				c.before(t, s)
			}
			code, stderr := s.run(t, "42")
			if code != c.wantCode {
				t.Errorf("exit code %d, want %d: %s\n%s", code, c.wantCode, c.reason, stderr)
			}
			got, found := s.exit(t)
			if found == c.wantNone {
				t.Errorf("exit.json is there: %v: %s", found, c.reason)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("exit.json: %s: -want +got\n%s", c.reason, diff)
			}
			if target, _ := os.Readlink(filepath.Join(s.dir, "../current")); target != c.wantLink {
				t.Errorf("current -> %q, want %q: %s", target, c.wantLink, c.reason)
			}
			if _, err := os.Stat(filepath.Join(s.dir, "worked")); err == nil {
				t.Errorf("the node ran: %s", c.reason)
			}
		})
	}
}

// A module that is not there ends the job before anything runs, in the words of the module system.
func TestModuleMissing(t *testing.T) {
	const advice = "see what a compute node has (module avail) and name that in the Site's modules; it says: "
	cases := map[string]struct{ reason, module, said string }{
		"Lmod": {
			"its words go over several lines", `echo 'Lmod has detected the following error:  The following module(s) are unknown:' >&2; printf '"Apptainer/9"\n\nPlease check the spelling or version number.\n' >&2; exit 1`,
			`Lmod has detected the following error: The following module(s) are unknown: "Apptainer/9" Please check the spelling or version number.`,
		},
		"Environment Modules": {"version 3 ends well whatever happens", `echo "ModuleCmd_Load.c(213):ERROR:105: Unable to locate a modulefile for 'Apptainer/9'" >&2`, "ModuleCmd_Load.c(213):ERROR:105: Unable to locate a modulefile for 'Apptainer/9'"},
		"nothing said":        {"the exit code is enough", "exit 3", ""},
		"a warning":           {"no failure", "echo 'this module is old' >&2", "none"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, ": >worked", "")
			s.script.Modules = []string{"Apptainer/9"}
			if err := os.WriteFile(filepath.Join(s.tools, "module"), []byte("#!/bin/bash\n"+c.module+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			code, stderr := s.run(t, "42")
			want, wantCode := ending{1, "ModuleMissing", 1, "module load Apptainer/9 failed: " + advice + c.said, ""}, 1
			if c.said == "none" {
				want, wantCode = ending{1, "Ended", 0, "", ""}, 0
			}
			if got, _ := s.exit(t); code != wantCode || cmp.Diff(want, got) != "" {
				t.Errorf("exit code %d: %s: -want +got\n%s", code, c.reason, cmp.Diff(want, got))
			}
			if _, err := os.Stat(filepath.Join(s.dir, "worked")); (err == nil) != (wantCode == 0) {
				t.Errorf("whether the node ran: %v", err)
			}
			if !strings.Contains(stderr, strings.Split(strings.TrimSuffix(c.said, "none"), ":")[0]) {
				t.Errorf("the job's log does not have the words of the module system: %q", stderr)
			}
			if left, _ := filepath.Glob(filepath.Join(s.dir, ".module*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

func link(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}
