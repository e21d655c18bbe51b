package wire

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"assay.bench/slurmbridge"
)

// The environment under which Slurm's programs print what this package reads.
const (
	EnvLocale = "LC_ALL=C"
	EnvZone   = "TZ=UTC"
	EnvTimes  = "SLURM_TIME_FORMAT=%s"
)

// column is one field of squeue, in the words of its option --Format, and how wide it is at most.
type column struct {
	name  string
	width int
}

// columns of squeue. It cuts off what is wider: the node list is the one field that may be.
func columns() []column {
	return []column{
		{"JobArrayID", 32}, {"Name", 64}, {"State", 24}, {"PriorityLong", 12}, {"RestartCnt", 8}, {"SubmitTime", 16}, {"StartTime", 16},
		{"EndTime", 16}, {"exit_code", 12}, {"NodeList", 512}, {"Reason", 128},
	}
}

// SqueueFormat is the option of squeue that makes it print what ParseSqueue reads.
func SqueueFormat() string {
	var b strings.Builder
	b.WriteString("--Format=")
	for i, c := range columns() {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "%s:%d", c.name, c.width)
	}
	return b.String()
}

// ParseSqueue reads the jobs that squeue --noheader printed with SqueueFormat. Jobs of other people's names are left out,
// and of a heterogeneous job all but its leader. An answer that was cut or that we cannot read says nothing: it is an
// error, and no job.
func ParseSqueue(out []byte) ([]slurmbridge.Job, error) {
	return parse("squeue", out, cut, squeueJob)
}

// parse reads jobs, a line each.
func parse(program string, out []byte, split func(line string) ([]string, error), read func([]string) (slurmbridge.Job, bool, error)) ([]slurmbridge.Job, error) {
	lines, err := wholeLines(out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", program, err)
	}
	var g gathering
	for i := 0; i < len(lines); i++ {
		first, line := i+1, lines[i]
		f, err := split(line)
		for fault := err; errors.Is(fault, errShort) && i+1 < len(lines); {
			i++ // the name of somebody else's job may hold the end of a line
			line += "\n" + lines[i]
			if f, fault = split(line); fault == nil {
				err = nil
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", program, first, err)
		}
		j, leader, err := read(f)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", program, first, err)
		}
		g.add(j, leader, strings.Contains(f[0], "+"))
	}
	return g.merged(), nil
}

// wholeLines splits an answer, whose last line has to be whole.
func wholeLines(out []byte) ([]string, error) {
	if len(out) == 0 {
		return nil, nil
	}
	text, whole := strings.CutSuffix(string(out), "\n")
	if !whole {
		return nil, errors.New("the answer was cut")
	}
	return strings.Split(text, "\n"), nil
}

// errShort is of a line that ends too early.
var errShort = errors.New("is not what was asked for")

// cut takes a line of squeue apart by the widths of its columns.
func cut(line string) ([]string, error) {
	var out []string
	for _, c := range columns() {
		if len(line) < c.width {
			return nil, fmt.Errorf("%q %w", line, errShort)
		}
		out, line = append(out, strings.TrimSpace(line[:c.width])), line[c.width:]
	}
	if strings.TrimSpace(line) != "" {
		return nil, fmt.Errorf("%q is more than was asked for", line)
	}
	return out, nil
}

// squeueJob reads one job from its columns.
func squeueJob(f []string) (j slurmbridge.Job, leader bool, err error) {
	id, leader, err := jobID(f[0])
	if err != nil {
		return j, false, err
	}
	j = slurmbridge.Job{ID: id, Key: slurmbridge.Key(f[1]), State: f[2], Nodes: nodes(f[9]), Message: said(f[10])}
	if !leader || !j.Key.Valid() {
		return j, false, nil
	}
	if j.Restarts, err = strconv.Atoi(f[4]); err != nil {
		return j, false, fmt.Errorf("restarts %q of job %s", f[4], id)
	}
	settle(&j, f[3] == "0", j.State)
	if err := setTimes(&j, f[5], f[6], f[7]); err != nil {
		return j, false, fmt.Errorf("job %s: %w", id, err)
	}
	if err := setExit(&j, f[8]); err != nil {
		return j, false, err
	}
	return j, true, nil
}

// jobID reads the id of a job, of a component of a heterogeneous one as 12+1: only the leader counts. Arrays are never
// ours.
func jobID(text string) (id string, leader bool, err error) {
	id, offset, het := strings.Cut(text, "+")
	id, _, array := strings.Cut(id, "_")
	if _, err := strconv.ParseUint(id, 10, 32); err != nil {
		return "", false, fmt.Errorf("%q is not the id of a job", text)
	}
	return id, !array && (!het || offset == "0"), nil
}

// said is a reason; Slurm prints None for none.
func said(reason string) string {
	if reason == "None" {
		return ""
	}
	return reason
}

// nodes is a node list; squeue prints "(null)" or nothing for none, sacct "None assigned".
func nodes(text string) string {
	if text == "(null)" || text == "None assigned" {
		return ""
	}
	return text
}

// setTimes reads seconds since 1970. For a job that waits the start is the one that Slurm expects, as squeue --start shows it;
// of the end of a job that has not ended nothing is told.
func setTimes(j *slurmbridge.Job, submitted, started, ended string) error {
	var err error
	if j.Submitted, err = instant(submitted); err != nil {
		return fmt.Errorf("submit time: %w", err)
	}
	if j.Phase == slurmbridge.Unknown {
		return nil
	}
	start, err := instant(started)
	if err != nil {
		return fmt.Errorf("start time: %w", err)
	}
	if j.Phase == slurmbridge.Pending {
		j.Expected = start
		return nil
	}
	j.Started = start
	if !j.Over() {
		return nil
	}
	if j.Ended, err = instant(ended); err != nil {
		return fmt.Errorf("end time: %w", err)
	}
	return nil
}

// instant reads a time; the zero time for none.
func instant(text string) (time.Time, error) {
	switch text {
	case "", "N/A", "Unknown", "None", "0":
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return time.Time{}, fmt.Errorf("%q is not a number of seconds", text)
	}
	return time.Unix(n, 0).UTC(), nil
}

// setExit reads code:signal of a job that has ended; squeue of some versions prints the wait status as one number.
func setExit(j *slurmbridge.Job, text string) error {
	if !j.Over() || text == "" {
		return nil
	}
	code, signal, pair := strings.Cut(text, ":")
	c, err := strconv.ParseUint(code, 10, 32)
	if err != nil {
		return fmt.Errorf("exit code %q of job %s", text, j.ID)
	}
	if !pair {
		j.ExitCode, j.Signal = int(c>>8&0xff), int(c&0x7f)
		return nil
	}
	s, err := strconv.ParseUint(signal, 10, 16)
	if err != nil {
		return fmt.Errorf("exit code %q of job %s", text, j.ID)
	}
	j.ExitCode, j.Signal = int(c), int(s)
	return nil
}

// sacctFields are the columns of sacct.
const sacctFields = "JobID,JobName,State,Submit,Start,End,ExitCode,NodeList"

// SacctArgs are the options of sacct that make it print what ParseSacct reads, of every job that has ended since an instant
// or has not ended yet. Without --state sacct leaves out what never became eligible to run, such as a job that was held to
// its end; with it, it looks at the one instant of --starttime unless --endtime is named. That is in the future, for the
// clocks of two hosts differ.
func SacctArgs(since time.Time) []string {
	return []string{
		"--allocations", "--parsable2", "--noheader", "--format=" + sacctFields, "--state=" + sacctStates,
		"--starttime=" + since.UTC().Format("2006-01-02T15:04:05"), "--endtime=now+1days",
	}
}

// sacctStates are all states that accounting has, by names that every version knows.
const sacctStates = "BF,CA,CD,DL,F,NF,OOM,PD,PR,R,S,TO"

// ParseSacct reads the jobs that sacct printed with SacctArgs, as ParseSqueue does.
func ParseSacct(out []byte) ([]slurmbridge.Job, error) {
	return parse("sacct", out, fields, sacctJob)
}

// fields takes a line of sacct apart.
func fields(line string) ([]string, error) {
	f := strings.Split(line, "|")
	if len(f) != strings.Count(sacctFields, ",")+1 {
		return nil, fmt.Errorf("%q is not what was asked for", line)
	}
	return f, nil
}

func sacctJob(f []string) (j slurmbridge.Job, leader bool, err error) {
	id, leader, err := jobID(f[0])
	if err != nil {
		return j, false, err
	}
	j = slurmbridge.Job{ID: id, Key: slurmbridge.Key(f[1]), State: f[2], Nodes: nodes(f[7])}
	if !leader || !j.Key.Valid() {
		return j, false, nil
	}
	settle(&j, false, j.State)
	if err := setTimes(&j, f[3], f[4], f[5]); err != nil {
		return j, false, fmt.Errorf("job %s: %w", id, err)
	}
	if err := setExit(&j, f[6]); err != nil {
		return j, false, err
	}
	return j, true, nil
}
