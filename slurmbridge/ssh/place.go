package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"assay.bench/slurmbridge"
)

// facts are what a look at the host gave: words under names.
type facts map[string]string

// sayFacts begins a script that says facts: a name, a space and words, with a zero byte after each.
const sayFacts = `PATH=$PATH:/usr/bin:/bin; umask 077; say() { printf '%s %s\000' "$1" "$2"; }; say user "$(id -u)"; `

// sayPlace says whose a place is and its mode, of the link itself where it is one.
func sayPlace(name, place string) string {
	return fmt.Sprintf("say %s \"$(stat -c '%%u %%f' -- %s 2>&1)\"; ", name, slurmbridge.Quote(place))
}

func (h *Host) look(ctx context.Context, name, script string) (facts, error) {
	out, err := h.run(ctx, name, "( "+sayFacts+script+"\n)", bytes.NewReader(nil))
	if err != nil {
		return nil, err
	}
	f, err := parseFacts(out.Stdout)
	if err != nil {
		return nil, h.unreachable(fmt.Errorf("%s: %w; it said %q", name, err, tail(out.Stderr)))
	}
	return f, nil
}

// parseFacts reads what a script said. The user is always among it.
func parseFacts(b []byte) (facts, error) {
	out := facts{}
	for len(b) > 0 {
		fact, rest, whole := bytes.Cut(b, []byte{0})
		name, words, named := strings.Cut(string(fact), " ")
		if !whole || !named {
			return nil, fmt.Errorf("a fact is cut off: %.80q", fact)
		}
		out[name], b = words, rest
	}
	if _, err := out.user(); err != nil {
		return nil, err
	}
	return out, nil
}

func (f facts) user() (int, error) {
	n, err := strconv.Atoi(f["user"])
	if err != nil {
		return 0, fmt.Errorf("id -u says %q", f["user"])
	}
	return n, nil
}

// place reads a fact of sayPlace. What is not a number is what stat said about why it could not look.
func (f facts) place(name, at string) (slurmbridge.Place, error) {
	owner, raw, _ := strings.Cut(f[name], " ")
	user, err := strconv.Atoi(owner)
	mode, modeErr := strconv.ParseUint(raw, 16, 32)
	if err != nil || modeErr != nil {
		return slurmbridge.Place{}, problem("stat", at, f[name])
	}
	return slurmbridge.Place{Path: at, Owner: user, Mode: modeOf(uint32(mode))}, nil
}

// modeOf reads the mode of stat(2) on Linux.
func modeOf(raw uint32) fs.FileMode {
	mode := fs.FileMode(raw & 0o777)
	if raw&0o1000 != 0 {
		mode |= fs.ModeSticky
	}
	switch raw & 0o170000 {
	case 0o100000:
		return mode
	case 0o040000:
		return mode | fs.ModeDir
	case 0o120000:
		return mode | fs.ModeSymlink
	}
	return mode | fs.ModeIrregular
}

// problem is an error of a tool there, in Go's words.
func problem(op, at, words string) error { return &fs.PathError{Op: op, Path: at, Err: reason(words)} }

// reason is what stands last in a tool's words, "mkdir: cannot create directory '/x': Permission denied".
func reason(words string) error {
	words = strings.TrimSpace(words)
	if i := strings.LastIndex(words, ": "); i >= 0 {
		words = words[i+2:]
	}
	if words == "" {
		words = "it failed without a word"
	}
	first, size := utf8.DecodeRuneInString(words)
	return errors.New(string(unicode.ToLower(first)) + words[size:])
}

// Probe checks that commands run there and that the work folder is ours: it exists or is made, we can write to it, and
// others cannot; or it is sticky, and then it may be root's. It implements slurmbridge.Prober: what is wrong with the
// folder wraps ErrWorkDir.
func (h *Host) Probe(ctx context.Context, workDir string) error {
	if !path.IsAbs(workDir) {
		return fmt.Errorf("%w: %q is not an absolute path", slurmbridge.ErrWorkDir, workDir)
	}
	f, err := h.look(ctx, "the work folder", "d="+slurmbridge.Quote(workDir)+`; say mkdir "$(mkdir -p -- "$d" 2>&1)"; `+
		sayPlace("link", workDir)+`say folder "$(stat -L -c '%u %f' -- "$d" 2>&1)"; `+
		`say write "$(t=$(mktemp "$d/.probe-XXXXXX" 2>&1) && rm -f -- "$t" || printf %s "$t")"`)
	if err != nil {
		return err
	}
	if err := f.checkWorkDir(workDir); err != nil {
		return fmt.Errorf("%w: %w", slurmbridge.ErrWorkDir, err)
	}
	return nil
}

func (f facts) checkWorkDir(dir string) error {
	folder, err := f.place("folder", dir)
	if err == nil && !folder.Mode.IsDir() {
		f["mkdir"] = "not a directory"
	}
	if words := f["mkdir"]; words != "" {
		return fmt.Errorf("%w: name a folder in workDir that you may write to", problem("mkdir", dir, words))
	}
	if err != nil {
		return err
	}
	link, err := f.place("link", dir)
	if err != nil {
		return err
	}
	me, err := f.user()
	if err != nil {
		return err
	}
	if err := slurmbridge.CheckWorkDir(link, folder, me); err != nil {
		return err
	}
	if words := f["write"]; words != "" {
		return problem("write", dir, words)
	}
	return nil
}

// OwnFolders makes folders with mode 0700, or checks that those that are there are ours alone: what slurmbridge/local's
// OwnFolder does. It is one round trip. What is wrong with a folder wraps ErrWorkDir.
func (h *Host) OwnFolders(ctx context.Context, folders ...string) error {
	f, err := h.look(ctx, "the folders", sayFolders(folders))
	if err != nil {
		return err
	}
	if err := f.checkFolders(folders); err != nil {
		return fmt.Errorf("%w: %w", slurmbridge.ErrWorkDir, err)
	}
	return nil
}

func sayFolders(folders []string) string {
	var script strings.Builder
	for i, folder := range folders {
		fmt.Fprintf(&script, "say mkdir%d \"$(mkdir -m 700 -- %s 2>&1)\"; %s", i, slurmbridge.Quote(folder), sayPlace(fmt.Sprintf("folder%d", i), folder))
	}
	return script.String()
}

func (f facts) checkFolders(folders []string) error {
	me, err := f.user()
	if err != nil {
		return err
	}
	for i, folder := range folders {
		p, err := f.place(fmt.Sprintf("folder%d", i), folder)
		if err != nil && f[fmt.Sprintf("mkdir%d", i)] != "" {
			return problem("mkdir", folder, f[fmt.Sprintf("mkdir%d", i)])
		}
		if err != nil {
			return err
		}
		if err := p.CheckFolder(me); err != nil {
			return err
		}
	}
	return nil
}
