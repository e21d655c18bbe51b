package slurmbridge

import (
	"bytes"
	_ "embed"
	"fmt"
	"path"
	"strconv"
	"strings"
	"text/template"
	"time"
)

//go:embed script.sh.tmpl
var scriptText string

// Render writes the script as a bash batch script for the job's key: the same bytes for the same input, under every
// transport. It refuses, naming the field, what a batch system would misread.
//
// The script claims its folder (rundir's claim and current), runs "assay-node job --dir DIR" as a child, hands USR1 and
// TERM on to it, and writes exit.json unless the child did. It needs SLURM_JOB_ID in its environment. Its exit codes
// are the child's, and 74, 75 and 76 of package rundir.
func (s Script) Render(key Key) ([]byte, error) {
	if err := s.check(key); err != nil {
		return nil, err
	}
	tmpl, err := template.New("job.sh").Funcs(template.FuncMap{"quote": Quote}).Parse(scriptText)
	if err != nil {
		return nil, fmt.Errorf("the template of the batch script: %w", err)
	}
	var out bytes.Buffer
	err = tmpl.Execute(&out, struct {
		Script
		Directives []string
		Attempt    string
	}{s, s.directives(key), path.Base(s.Directory)})
	if err != nil {
		return nil, fmt.Errorf("batch script of %s: %w", key, err)
	}
	return out.Bytes(), nil
}

// directives are the options for the batch system, a line each without the word #SBATCH.
func (s Script) directives(key Key) []string {
	lines := []string{
		"--job-name=" + string(key),
		"--chdir=" + Quote(s.Directory),
		"--output=job.log",
		"--open-mode=append",
		"--no-requeue",
	}
	if s.Notice > 0 {
		lines = append(lines, "--signal=B:USR1@"+strconv.FormatInt(seconds(s.Notice), 10))
	}
	if s.Dependency != "" { // of the first part of a heterogeneous job, and so of the whole
		lines = append(lines, "--dependency="+Quote(s.Dependency))
	}
	for i, p := range s.Parts {
		if i > 0 {
			lines = append(lines, "hetjob", "--job-name="+string(key))
		}
		if s.Comment != "" {
			lines = append(lines, "--comment="+Quote(s.Comment))
		}
		if s.TimeLimit > 0 {
			lines = append(lines, "--time="+clock(s.TimeLimit))
		}
		lines = append(lines, p.directives()...)
	}
	return lines
}

func (p Part) directives() []string {
	var lines []string
	text := func(option, value string) {
		if value != "" {
			lines = append(lines, "--"+option+"="+Quote(value))
		}
	}
	count := func(option string, n int64, unit string) {
		if n > 0 {
			lines = append(lines, "--"+option+"="+strconv.FormatInt(n, 10)+unit)
		}
	}
	text("account", p.Account)
	text("partition", p.Partition)
	text("qos", p.QOS)
	count("nodes", int64(p.Nodes), "")
	count("ntasks-per-node", int64(p.TasksPerNode), "")
	count("cpus-per-task", int64(p.CPUsPerTask), "")
	count("gpus-per-node", int64(p.GPUsPerNode), "")
	text("gres", p.Gres)
	count("mem", p.MemoryMiB, "M")
	text("constraint", p.Constraint)
	text("reservation", p.Reservation)
	text("licenses", p.Licenses)
	if p.Exclusive {
		lines = append(lines, "--exclusive")
	}
	text("exclude", strings.Join(p.Exclude, ","))
	return lines
}

// Quote makes one word of any text, for bash and for a line of #SBATCH alike. Text of people reaches a shell through
// it and in no other way.
func Quote(text string) string {
	if text != "" && strings.Trim(text, plain) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// plain are the characters that need no quotes anywhere in a word.
const plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-"

// seconds rounds up: a limit of half a second is one second, never none.
func seconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// clock writes hours:minutes:seconds.
func clock(d time.Duration) string {
	n := seconds(d)
	return fmt.Sprintf("%02d:%02d:%02d", n/3600, n/60%60, n%60)
}
