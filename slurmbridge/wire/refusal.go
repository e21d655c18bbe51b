package wire

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"assay.bench/slurmbridge"
)

// Refusal is what Slurm's programs said when they failed: the words that matter, and what they mean for the same request.
type Refusal struct {
	// Words are Slurm's own, without the name of the program.
	Words string
	// Answer is what follows from them.
	Answer Answer
}

// Answer is what slurmctld's words say about a job that it did not make.
type Answer int

const (
	// Open: not even whether there is a job is known, for the answer was lost, or slurmctld was not well.
	Open Answer = iota
	// Unclear: slurmctld said no in words that nobody here knows, such as those of a site's own job_submit plugin.
	Unclear
	// Final: slurmctld would answer the same again.
	Final
	// NotNow: slurmctld made no job, and may make one later.
	NotNow
	// Nodes: the nodes could not run the job. A submit that is told so is refused for good; to one who only asks, the same
	// is said of nodes that are down or drained, for which a job would wait.
	Nodes
)

// Err is the refusal of a submit, by a program of this name.
func (r Refusal) Err(program string) error {
	switch r.Answer {
	case Final, Nodes:
		return fmt.Errorf("%w: %s", slurmbridge.ErrRefused, r.Words)
	case NotNow:
		return fmt.Errorf("%w: %s", slurmbridge.ErrNotNow, r.Words)
	case Unclear:
		return fmt.Errorf("%w: %s: %s", slurmbridge.ErrUnclear, program, r.Words)
	case Open:
	}
	return errors.New(program + ": " + r.Words)
}

// ReadRefusal reads the standard error of sbatch. The last line that begins with the name of the program and "error" or
// "allocation failure" counts, for sites print more. The error before it stands before it: there Slurm names the limit, or
// the partition, that the last line only speaks of.
func ReadRefusal(stderr []byte) Refusal {
	var errs []string
	last := ""
	for line := range bytes.Lines(stderr) {
		text := strings.TrimSpace(string(line))
		if text == "" {
			continue
		}
		last = text
		for _, mark := range []string{"error: ", "allocation failure: ", "fatal: "} {
			if _, after, ok := strings.Cut(text, mark); ok && (strings.HasPrefix(text, "sbatch: ") || strings.HasPrefix(text, mark)) {
				errs = append(errs, strings.TrimPrefix(after, "Batch job submission failed: "))
				break
			}
		}
	}
	switch n := len(errs); n {
	case 0:
		return Refusal{Words: last}
	case 1:
		return Refusal{Words: errs[0], Answer: answer("", errs[0])}
	default:
		return Refusal{Words: errs[n-2] + ": " + errs[n-1], Answer: answer(errs[n-2], errs[n-1])}
	}
}

// answer is what the words of a refusal mean, which stood after others. What is not known may be a matter of time.
func answer(before, words string) Answer {
	lower := strings.ToLower(words)
	holds := func(known string) bool { return strings.Contains(lower, known) }
	switch {
	case holds("job violates accounting/qos policy"):
		// One sentence for many limits. Those of the number of jobs pass by themselves; slurmrestd names none.
		if isLimit(before) && !strings.Contains(before, "Submit") {
			return Final
		}
		return NotNow
	case slices.ContainsFunc(notNow(), holds):
		return NotNow
	case holds("requested node configuration is not available"):
		return Nodes
	case slices.ContainsFunc(final(), holds):
		return Final
	case words == "" || slices.ContainsFunc(passing(), holds):
		return Open
	}
	return Unclear
}

// isLimit says that words are Slurm's name of a limit, such as QOSMaxWallDurationPerJobLimit.
func isLimit(words string) bool {
	return !strings.Contains(words, " ") && (strings.HasPrefix(words, "QOS") || strings.HasPrefix(words, "Assoc"))
}

// notNow are the answers that are about the site as it is now.
func notNow() []string {
	return []string{"requested partition configuration not available", "required partition not available", "system submissions disabled"}
}

// passing are in the answers of a slurmctld, or of something on the way to it, that is not well or has too much to do.
func passing() []string {
	return []string{
		"timed out", "timeout", "connect", "contact", "communicat", "zero bytes", "backing off", "standby", "busy", "count limit exceeded", "temporarily",
		"authentication", "munge", "database", "not responding", "unexpected message", "send/recv", "i/o error", "broken pipe", "killed", "interrupted",
	}
}

// final are the answers that stay the same: the texts of slurm_errno.c for what a request asks, in every version from
// 22.05 on.
func final() []string {
	return []string{
		"invalid account", "no partition specified", "invalid qos", "invalid partition", "invalid reservation", "requested reservation is invalid", "invalid generic resource", "invalid gres",
		"invalid feature", "invalid node count", "invalid node name", "invalid license", "invalid job", "invalid dependency", "invalid directive",
		"invalid time limit", "requested time limit is invalid", "invalid wckey", "invalid trap", "invalid signal", "invalid --",
		"invalid numeric", "invalid argument", "invalid mem", "invalid cluster", "invalid cpu", "invalid exclusive",
		"node count specification invalid",
		"more processors requested than permitted", "memory required by task is not available", "memory specification can not be satisfied",
		"access/permission denied", "user not in group", "account or partition",
		"job size", "time limit exceeds", "unable to satisfy", "pathname of a file",
		"dependency problem", "requires --", "unrecognized option", "invalid option", "task count specification invalid", "user's group not permitted",
		"requested gres", "batch script is empty", "this does not look like a batch script", "unable to open file",
	}
}

// NodesUp says whether every node that sinfo lists by its state (%T) could get jobs. Where it lists none, or a node that is
// down, drained or silent, or a word that we do not know, they are not all up. A node that is powered off counts as up, for
// a job wakes it.
func NodesUp(states []byte) bool {
	words := strings.Fields(string(states))
	return len(words) > 0 && !slices.ContainsFunc(words, func(w string) bool {
		return !slices.Contains([]string{"idle", "mixed", "allocated", "completing", "planned", "reserved", "blocked"}, strings.TrimRight(w, "~#-+"))
	})
}
