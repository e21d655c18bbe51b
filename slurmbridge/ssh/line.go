package ssh

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"assay.bench/slurmbridge"
)

// maxLine is the longest command line, in bytes: Linux takes no argument that is longer.
const maxLine = 128<<10 - 1

// line is the command line that runs a script under /bin/sh whatever the user's login shell is. The login shell sees
// four plain words and one in single quotes, in which stands nothing that sh, bash, zsh, ksh, tcsh and fish read
// differently: no quote, no backslash that is not followed by a 0, no exclamation mark and no line break.
func line(script string) string {
	return `exec /usr/bin/env LC_ALL=C /bin/sh -c 'eval "$(printf %b "` + octal(script) + `")"'`
}

// octal writes what a shell may read differently as printf's %b takes it.
func octal(text string) string {
	const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _./:,=@+-%;()<>{}[]|&*?#~^"
	var b strings.Builder
	for i := range len(text) {
		if strings.IndexByte(plain, text[i]) >= 0 {
			b.WriteByte(text[i])
		} else {
			fmt.Fprintf(&b, `\0%03o`, text[i])
		}
	}
	return b.String()
}

// mark is a word that nothing on the site prints by chance. A script prints it before and after what it is asked for, so
// that what profiles and shells print besides is told apart, and a part from the whole. With the first comes the number
// of the process, with the last the exit code.
type mark string

func newMark() mark { return mark("assay" + rand.Text()) }

// wrap makes a script of a shell command. What is printed before the first mark and after the last is not the command's.
// The words of a mark stand apart in the script: a list of processes that shows the script holds no mark.
func (m mark) wrap(command string) string {
	return fmt.Sprintf("m=%s; printf '%%s:begin %%d\\n' $m $$; printf '%%s:begin %%d\\n' $m $$ >&2; %s\n"+
		"c=$?; printf '%%s:end %%d\\n' $m $c; printf '%%s:end %%d\\n' $m $c >&2", m, command)
}

func (m mark) begin() []byte { return []byte(string(m) + ":begin ") }
func (m mark) end() []byte   { return []byte(string(m) + ":end ") }

// missing is all that a script prints whose program is not there.
func (m mark) missing() []byte { return []byte(string(m) + ":missing") }

// words is the shell command that runs a program with nothing but these variables. One that is not in their PATH is told
// from one that ends as a shell does when it finds none.
func words(env, argv []string) string {
	quoted := []string{"/usr/bin/env", "-i"}
	for _, e := range env {
		quoted = append(quoted, slurmbridge.Quote(e))
	}
	program := argv[0]
	if strings.Contains(program, "=") { // env would take it for a variable
		argv = append([]string{"/bin/sh", "-c", `exec "$@"`, "sh"}, argv...)
	}
	for _, a := range argv {
		quoted = append(quoted, slurmbridge.Quote(a))
	}
	run := strings.Join(quoted, " ")
	if strings.Contains(program, "/") {
		return run
	}
	return fmt.Sprintf("if ( PATH=%s; command -v %s ) >/dev/null 2>&1; then %s; else printf '%%s:missing' $m; fi",
		slurmbridge.Quote(pathOf(env)), slurmbridge.Quote(program), run)
}

// pathOf is the PATH among variables: the last one counts.
func pathOf(env []string) string {
	for _, e := range slices.Backward(env) {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			return path
		}
	}
	return "/usr/bin:/bin"
}

// checkCommand refuses what no program can be given.
func checkCommand(c slurmbridge.Command) error {
	if len(c.Argv) == 0 || c.Argv[0] == "" {
		return errors.New("a command without a program")
	}
	for _, a := range slices.Concat(c.Argv, c.Env) {
		if strings.Contains(a, "\x00") {
			return fmt.Errorf("%s: an argument holds a zero byte, which no program can be given", c.Argv[0])
		}
	}
	for _, e := range c.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" || strings.HasPrefix(name, "-") {
			return fmt.Errorf("%s: %q is no NAME=value", c.Argv[0], e)
		}
	}
	return nil
}

// answer is what a marked script printed on one of its two streams.
type answer struct {
	// noise was printed before it began, cut to a length for a message.
	noise []byte
	begun bool
	// pid is the process there, and the number of its group.
	pid  int
	body []byte
	// whole says that the end was seen; then code is the exit code, and body is all that was printed.
	whole bool
	code  int
}

// maxNoise is how much a profile may print, and noiseShown how much of it is kept.
const (
	maxNoise   = 1 << 20
	noiseShown = 1 << 10
)

// read reads a stream to the end mark, or as far as it comes.
func (m mark) read(r io.Reader, limit int, begun func(pid int)) (answer, error) {
	a, rest, err := m.readBegin(r)
	if err != nil || !a.begun {
		return a, err
	}
	begun(a.pid)
	a.body = rest
	buffer := make([]byte, 64<<10)
	for from := 0; ; {
		if body, _, code, found := cut(a.body, m.end(), from); found {
			a.body, a.code, a.whole = body, code, true
			return a, nil
		}
		if len(a.body) > limit {
			return a, fmt.Errorf("it printed more than %d MiB", limit>>20)
		}
		from = max(0, len(a.body)-len(m.end())-len("255"))
		n, err := r.Read(buffer)
		a.body = append(a.body, buffer[:n]...)
		if n == 0 && err != nil {
			return a, noEOF(err)
		}
	}
}

// readBegin reads to the begin mark, and returns what was read after it.
func (m mark) readBegin(r io.Reader) (a answer, rest []byte, err error) {
	var b []byte
	buffer := make([]byte, 64<<10)
	for {
		n, err := r.Read(buffer)
		b = append(b, buffer[:n]...)
		noise, after, pid, found := cut(b, m.begin(), 0)
		a.noise = noise[:min(len(noise), noiseShown)]
		switch {
		case found:
			a.begun, a.pid = true, pid
			return a, after, nil
		case len(b) > maxNoise:
			return a, nil, fmt.Errorf("the profile on the site prints more than %d MiB, beginning with %.80q", maxNoise>>20, a.noise)
		case n == 0 && err != nil:
			return a, nil, noEOF(err)
		}
	}
}

// cut looks for a word of a mark, which a number and a line break follow, and returns what stands before and after them.
func cut(b, word []byte, from int) (before, after []byte, number int, found bool) {
	i := bytes.Index(b[from:], word)
	if i < 0 {
		return b, nil, 0, false
	}
	text, after, found := bytes.Cut(b[from+i+len(word):], []byte("\n"))
	number, err := strconv.Atoi(string(text))
	return b[:from+i], after, number, found && err == nil
}

// noEOF is nil at the end of a stream: what is missing then is for the reader of the answer to say.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) || errors.Is(err, fs.ErrClosed) {
		return nil
	}
	return err
}
