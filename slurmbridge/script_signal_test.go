package slurmbridge_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
)

func TestScriptHandsSignalsOn(t *testing.T) {
	// The child notes each signal and goes on until its third note or a TERM.
	const node = `
trap 'echo USR1 >>signals' USR1
trap 'echo TERM >>signals; exit 3' TERM
: >ready
while :; do read -t 0.05 <> <(:); done
`
	s := newStage(t, node, "")
	cmd := s.start(t, "42")
	eventually(t, func() bool { _, err := os.Stat(filepath.Join(s.dir, "ready")); return err == nil })
	signal := func(sig syscall.Signal, lines int) {
		if err := cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool {
			b, _ := os.ReadFile(filepath.Join(s.dir, "signals"))
			return strings.Count(string(b), "\n") == lines
		})
	}
	signal(syscall.SIGUSR1, 1)
	signal(syscall.SIGUSR1, 2)
	signal(syscall.SIGTERM, 3)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != 3 {
		t.Errorf("ended with %v, want exit code 3: the child's own code after three signals", err)
	}
	got, _ := s.exit(t)
	want := ending{1, "TimeLimit", 3, "the time limit of the job came; assay-node ended with exit code 3; job.log says why", ""}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("exit.json: -want +got\n%s", diff)
	}
}

// A signal that comes before the child is there is not lost in a copy of the script: it ends the child, which has no
// handler of its own yet.
func TestSignalBeforeTheChild(t *testing.T) {
	for name, c := range map[string]struct {
		number int
		reason string
	}{"USR1": {10, "TimeLimit"}, "TERM": {15, "Stopped"}} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, "read -t 20 <> <(:)\nexit 0\n", "")
			s.edit = func(script string) string {
				const last = "trap 'hand_on TERM' TERM\n"
				if !strings.Contains(script, last) {
					t.Fatalf("the script has no %q", last)
				}
				return strings.Replace(script, last, last+"kill -s "+name+" $$\n", 1)
			}
			if code, stderr := s.run(t, "42"); code != 128+c.number {
				t.Errorf("exit code %d, want that of a child that the signal ended: %s", code, stderr)
			}
			if got, _ := s.exit(t); got.Reason != c.reason || got.Code != 128+c.number {
				t.Errorf("exit.json: %+v, want %s", got, c.reason)
			}
		})
	}
}

func eventually(t testing.TB, done func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not happen within 20 s")
		}
	}
}

// FuzzQuote runs each accepted script in a real bash that finds only the tools that the script needs, and sees that no
// text of people was ever executed: the programs get exactly that text, nothing else appears and bash says nothing.
func FuzzQuote(f *testing.F) {
	for _, seed := range []string{
		"plain", "two words", "it's", `a"b`, "$(touch pwned)", "`touch pwned`", "; touch pwned", "&& touch pwned", "*", "~", "$HOME",
		"-rf", "--", "#x", "!!", "{a,b}", "'; touch pwned; '", "é", "a\tb", "'\\''", "%j", "\u2028", "<(touch pwned)", "{{.Node}}", "'", "''", "\"'$(x)'\"",
		"a|b", "| : >pwned", "$(: >pwned)", "`: >pwned`", "; : >pwned", "'; : >pwned; '", "a\n: >pwned", "x #SBATCH --wrap=id", "a path/with spaces",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if text == "" || len(text) > 200 || strings.HasPrefix(text, "-") {
			return
		}
		folder := strings.NewReplacer("/", "_", "\x00", "_").Replace(text)
		s := newStage(t, `printf '%s\0' "$0" "$@" >../../ran`+"\n", folder)
		s.script.Comment, s.script.Dependency, s.script.Modules = text, text, []string{text}
		s.script.Parts = []slurmbridge.Part{{
			Account: text, Partition: text, QOS: text, Gres: text, Constraint: text, Reservation: text, Licenses: text,
		}}
		rendered, err := s.script.Render(key)
		if err != nil {
			return
		}
		check := exec.Command("/bin/bash", "-n")
		check.Stdin = strings.NewReader(string(rendered))
		if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("bash -n: %v %s\n%s", err, out, rendered)
		}
		if code, stderr := s.run(t, "42"); code != 0 || stderr != "" {
			t.Fatalf("exit code %d: %s\n%s", code, stderr, rendered)
		}
		wantRan := s.script.Node + "\x00job\x00--dir\x00" + s.dir + "\x00"
		for file, want := range map[string]string{"ran": wantRan, "modules": "load\x00" + text + "\x00"} {
			if got, err := os.ReadFile(filepath.Join(s.root, file)); err != nil || string(got) != want {
				t.Errorf("%s is %q (%v), want %q", file, got, err, want)
			}
		}
		var found []string
		err = filepath.WalkDir(s.root, func(path string, e os.DirEntry, err error) error {
			if rel, _ := filepath.Rel(s.root, path); err == nil && !strings.HasPrefix(rel, "tools") {
				found = append(found, rel)
			}
			return err
		})
		job := "job" + folder
		want := []string{".", job, job + "/2", job + "/2/claim", job + "/2/exit.json", job + "/current", "job.sh", "modules", "node" + folder, "ran"}
		slices.Sort(want)
		slices.Sort(found)
		if diff := cmp.Diff(want, found); err != nil || diff != "" {
			t.Errorf("files: %v -want +got\n%s", err, diff)
		}
		checkDirectives(t, string(rendered), text, s.dir)
	})
}

// checkDirectives reads the #SBATCH lines as sbatch does and finds each value whole, in one option.
func checkDirectives(t *testing.T, script, text, dir string) {
	got := map[string]string{}
	for line := range strings.Lines(script) {
		rest, ok := strings.CutPrefix(line, "#SBATCH ")
		if !ok {
			continue
		}
		words := sbatchWords(rest)
		if len(words) != 1 {
			t.Errorf("%q is %d words for sbatch: %q", rest, len(words), words)
			continue
		}
		name, value, _ := strings.Cut(words[0], "=")
		got[name] = value
	}
	for name, want := range map[string]string{"--comment": text, "--account": text, "--partition": text, "--qos": text, "--chdir": dir} {
		if got[name] != want {
			t.Errorf("sbatch reads %s as %q, want %q", name, got[name], want)
		}
	}
}

// sbatchWords splits like sbatch: quotes group, a backslash escapes even inside quotes, a bare # ends the line.
func sbatchWords(line string) []string {
	var words []string
	var word []byte
	var quote byte
	in, escaped := false, false
	for i := range len(line) {
		c := line[i]
		switch {
		case escaped:
			word, escaped = append(word, c), false
		case c == '\\':
			escaped, in = true, true
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word = append(word, c)
		case c == '"' || c == '\'':
			quote, in = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if in {
				words, word, in = append(words, string(word)), nil, false
			}
		case c == '#':
			return words
		default:
			word, in = append(word, c), true
		}
	}
	if in {
		words = append(words, string(word))
	}
	return words
}
