package slurmbridge

import (
	"fmt"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// check says, naming the field, why a script cannot be submitted.
func (s Script) check(key Key) error {
	if !key.Valid() {
		return fmt.Errorf("job key %q is not of the form assay-<origin8>-<uid16>-<attempt>", string(key))
	}
	values := []field{{"comment", s.Comment}, {"directory", s.Directory}, {"node program", s.Node}, {"dependency", s.Dependency}}
	for i, m := range s.Modules {
		values = append(values, field{fmt.Sprintf("modules[%d]", i), m})
		if m == "" || m[0] == '-' {
			return fmt.Errorf("modules[%d] is %q: give the module's name, which begins with no dash", i, m)
		}
	}
	for i, p := range s.Parts {
		at := fmt.Sprintf("parts[%d].", i)
		values = append(values, field{at + "account", p.Account}, field{at + "partition", p.Partition},
			field{at + "qos", p.QOS}, field{at + "gres", p.Gres}, field{at + "constraint", p.Constraint},
			field{at + "reservation", p.Reservation}, field{at + "licenses", p.Licenses})
		if err := p.check(at); err != nil {
			return err
		}
	}
	for _, f := range values {
		if err := f.check(); err != nil {
			return err
		}
	}
	return s.checkPlaces()
}

func (s Script) checkPlaces() error {
	if !path.IsAbs(s.Directory) || path.Clean(s.Directory) != s.Directory {
		return fmt.Errorf("directory %q is not a clean absolute path", s.Directory)
	}
	if n, err := strconv.Atoi(path.Base(s.Directory)); err != nil || n < 1 || strconv.Itoa(n) != path.Base(s.Directory) {
		return fmt.Errorf("directory %q does not end in the number of an attempt", s.Directory)
	}
	if !path.IsAbs(s.Node) {
		return fmt.Errorf("node program %q is not an absolute path", s.Node)
	}
	if len(s.Parts) == 0 {
		return fmt.Errorf("the script asks for no resources: give at least one part")
	}
	if s.TimeLimit < 0 || s.Notice < 0 || s.Notice > maxNotice {
		return fmt.Errorf("time limit %s and notice %s: neither may be negative, notice at most %s", s.TimeLimit, s.Notice, maxNotice)
	}
	if s.KillWait < 0 {
		return fmt.Errorf("kill wait %s: it may not be negative", s.KillWait)
	}
	if s.TimeLimit > 0 && s.Notice >= s.TimeLimit {
		return fmt.Errorf("notice %s leaves nothing of the time limit %s: raise the time limit", s.Notice, s.TimeLimit)
	}
	return nil
}

// maxNotice is what sbatch's --signal takes.
const maxNotice = 65535 * time.Second

func (p Part) check(at string) error {
	counts := []struct {
		name  string
		value int64
	}{
		{"nodes", int64(p.Nodes)}, {"tasksPerNode", int64(p.TasksPerNode)}, {"cpusPerTask", int64(p.CPUsPerTask)},
		{"gpusPerNode", int64(p.GPUsPerNode)}, {"memory", p.MemoryMiB},
	}
	for _, c := range counts {
		if c.value < 0 {
			return fmt.Errorf("%s%s is %d: a count is not negative", at, c.name, c.value)
		}
	}
	if len(p.Exclude) > MaxExclude {
		return fmt.Errorf("%sexclude names %d nodes: at most %d", at, len(p.Exclude), MaxExclude)
	}
	for i, n := range p.Exclude {
		if !isNodeName(n) {
			return fmt.Errorf("%sexclude[%d] %q is not the name of a node", at, i, n)
		}
	}
	return nil
}

// field is one value that people can influence.
type field struct{ name, value string }

// check refuses what sbatch reads differently from bash: its parser takes a backslash as an escape inside quotes too,
// and finds the words hetjob and packjob anywhere in a line.
func (f field) check() error {
	if !utf8.ValidString(f.value) {
		return fmt.Errorf("%s %q is not valid UTF-8", f.name, f.value)
	}
	for _, r := range f.value {
		if unicode.IsControl(r) || r == '\u2028' || r == '\u2029' {
			return fmt.Errorf("%s %q holds a line break or another control character: write it on one line", f.name, f.value)
		}
	}
	if strings.Contains(f.value, `\`) {
		return fmt.Errorf("%s %q holds a backslash, which a batch system misreads: use another name", f.name, f.value)
	}
	lower := strings.ToLower(f.value)
	for _, word := range []string{"#sbatch", "hetjob", "packjob"} {
		if strings.Contains(lower, word) {
			return fmt.Errorf("%s %q holds %q, which a batch system would obey: use another name", f.name, f.value, word)
		}
	}
	return nil
}
