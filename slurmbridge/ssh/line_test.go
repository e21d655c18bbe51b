package ssh

import (
	"bytes"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
)

// shells are the login shells of this machine: sh and bash, and others where they are installed.
func shells(t testing.TB) []string {
	t.Helper()
	var found []string
	for _, name := range []string{"sh", "bash", "zsh", "ksh", "tcsh", "csh", "fish", "busybox"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	if len(found) < 2 {
		t.Fatalf("of sh and bash there is only %v", found)
	}
	return found
}

// words, variables and all else reach a real program byte for byte, whatever the login shell is, and nothing of them is
// executed on the way: a file that they would make never appears.
func FuzzArgv(f *testing.F) {
	f.Add("a b", "c'd", "e")
	f.Add(`\`, `\\'`, `"$(id)`)
	f.Add("line\nbreak\n", "!!", "`id`")
	f.Add("", "-n", "\xff\xfe")
	f.Add("$HOME", "~", "*;|&<>(){}[]#^?%s%%\t\r")
	f.Add("\x01\x7f\u2028", "öäü", "=ls")
	f.Add("$(: >pwned)", "`: >pwned`", "a|b")
	f.Add("; : >pwned", "' ; : >pwned; '", "\n: >pwned\n")
	f.Add("a path/with spaces", "\"; : >pwned #", "%s' >pwned '")
	all := shells(f)
	f.Fuzz(func(t *testing.T, first, second, value string) {
		c := slurmbridge.Command{Argv: []string{"/usr/bin/printf", `%s\0`, first, second, "last"}, Env: []string{"ASSAY_VALUE=" + value}}
		if checkCommand(c) != nil {
			return
		}
		m := newMark()
		for _, shell := range all {
			args := []string{"-c", line(m.wrap(words(c.Env, c.Argv) + "; " + words(c.Env, []string{"printenv", "ASSAY_VALUE"})))}
			if strings.HasSuffix(shell, "busybox") {
				args = append([]string{"sh"}, args...)
			}
			cmd := exec.CommandContext(t.Context(), shell, args...)
			var stderr bytes.Buffer
			cmd.Stderr, cmd.Dir = &stderr, t.TempDir()
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v: %s", shell, err, stderr.Bytes())
			}
			a, err := m.read(bytes.NewReader(out), 1<<20, func(int) {})
			want := first + "\x00" + second + "\x00last\x00" + value + "\n"
			if diff := cmp.Diff(want, string(a.body)); err != nil || !a.whole || diff != "" {
				t.Errorf("%s: %v, whole %v, -want +got\n%s\nstderr: %s", shell, err, a.whole, diff, stderr.Bytes())
			}
			if made, err := os.ReadDir(cmd.Dir); err != nil || len(made) > 0 {
				t.Errorf("%s: something was executed: %v, %v", shell, made, err)
			}
		}
	})
}

// Whatever stands before the begin mark is noise, and whatever stands between the marks is the command's.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte("Welcome\n"), []byte("1|2|3\n"), []byte("bye\n"), 0)
	f.Add([]byte(""), []byte(""), []byte(""), 127)
	f.Add([]byte("assay"), []byte(":end 0\n"), []byte(":begin\n"), 255)
	m := mark("assayTESTMARK")
	f.Fuzz(func(t *testing.T, noise, body, after []byte, code int) {
		if bytes.Contains(noise, []byte(m)) || bytes.Contains(body, []byte(m)) {
			return
		}
		code &= 0xff
		whole := bytes.Join([][]byte{noise, m.begin(), []byte("4711\n"), body, m.end(), []byte(strings.Repeat("0", code%2)), []byte("7\n"), after}, nil)
		for _, r := range []answer{read(t, m, whole, false), read(t, m, whole, true)} {
			if !r.whole || r.code != 7 || r.pid != 4711 || !bytes.Equal(r.body, body) {
				t.Errorf("%+v from %q", r, whole)
			}
		}
		for _, cut := range []int{len(noise), len(noise) + len(m.begin()), len(noise) + len(m.begin()) + len(body) + 5 + len(m.end())} {
			if r := read(t, m, whole[:cut], false); r.whole {
				t.Errorf("%+v from a part: %q", r, whole[:cut])
			}
		}
	})
}

func read(t *testing.T, m mark, b []byte, byBytes bool) answer {
	var r interface{ Read([]byte) (int, error) } = bytes.NewReader(b)
	if byBytes {
		r = iotest.OneByteReader(r)
	}
	a, err := m.read(r, 1<<20, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestAnswersThatAreTooLong(t *testing.T) {
	m := newMark()
	endless := bytes.Repeat([]byte("y\n"), maxNoise)
	if a, err := m.read(bytes.NewReader(endless), 1000, func(int) {}); err == nil || !strings.Contains(err.Error(), `the profile on the site prints more than 1 MiB, beginning with "y\n`) || a.begun {
		t.Errorf("a profile that never ends: %v", err)
	}
	if a, err := m.read(bytes.NewReader(slices.Concat(m.begin(), []byte("1\n"), endless)), 1<<20, func(int) {}); err == nil || !strings.Contains(err.Error(), "more than 1 MiB") || a.whole {
		t.Errorf("a command that never ends: %v", err)
	}
}

// A list of processes shows scripts. None holds a mark that would end the answer.
func TestScriptHoldsNoMark(t *testing.T) {
	m := newMark()
	for _, text := range []string{m.wrap("ps -ef"), line(m.wrap("ps -ef"))} {
		if bytes.Contains([]byte(text), m.begin()) || bytes.Contains([]byte(text), m.end()) {
			t.Errorf("it does: %s", text)
		}
	}
}

func TestCommandsThatCannotBe(t *testing.T) {
	for reason, c := range map[string]slurmbridge.Command{
		"no program":            {},
		"an empty one":          {Argv: []string{""}},
		"a zero byte":           {Argv: []string{"a", "b\x00c"}},
		"a variable without =":  {Argv: []string{"a"}, Env: []string{"A"}},
		"one without a name":    {Argv: []string{"a"}, Env: []string{"=b"}},
		"one that is an option": {Argv: []string{"a"}, Env: []string{"-u=b"}},
	} {
		if checkCommand(c) == nil {
			t.Errorf("accepted: %s", reason)
		}
	}
}
