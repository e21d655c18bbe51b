package wire

import (
	"bytes"
	"strings"
)

// Refusal is what Slurm's programs said when they failed: the words that matter, and whether they are final.
type Refusal struct {
	// Words are Slurm's own, without the name of the program.
	Words string
	// Final says that slurmctld answered, and would answer the same again: the job does not exist.
	Final bool
}

// ReadRefusal reads the standard error of sbatch. The last line that begins with the name of the program and "error" or
// "allocation failure" counts, for sites print more.
func ReadRefusal(stderr []byte) Refusal {
	words, last := "", ""
	for line := range bytes.Lines(stderr) {
		text := strings.TrimSpace(string(line))
		if text == "" {
			continue
		}
		last = text
		for _, mark := range []string{"error: ", "allocation failure: ", "fatal: "} {
			if _, after, ok := strings.Cut(text, mark); ok && (strings.HasPrefix(text, "sbatch: ") || strings.HasPrefix(text, mark)) {
				words = after
			}
		}
	}
	if words == "" {
		return Refusal{Words: last}
	}
	words = strings.TrimPrefix(words, "Batch job submission failed: ")
	return Refusal{Words: words, Final: isFinal(words)}
}

// isFinal knows the answers that stay the same: the texts of slurm_errno.c for what a request asks, in every version from
// 22.05 on. What is not known may be a matter of time, and is not final.
func isFinal(words string) bool {
	lower := strings.ToLower(words)
	for _, known := range []string{
		"invalid account", "no partition specified", "invalid qos", "invalid partition", "invalid reservation", "requested reservation is invalid", "invalid generic resource", "invalid gres",
		"invalid feature", "invalid node count", "invalid node name", "invalid license", "invalid job", "invalid dependency", "invalid directive",
		"invalid time limit", "requested time limit is invalid", "invalid wckey", "invalid trap", "invalid signal", "invalid --",
		"invalid numeric", "invalid argument", "invalid mem", "invalid cluster", "invalid cpu", "invalid exclusive",
		"requested node configuration is not available", "node count specification invalid",
		"more processors requested than permitted", "memory required by task is not available", "memory specification can not be satisfied",
		"job violates accounting/qos policy", "job violates", "access/permission denied", "user not in group", "account or partition",
		"requested partition configuration not available", "job size", "time limit exceeds", "unable to satisfy", "pathname of a file",
		"dependency problem", "requires --", "unrecognized option", "invalid option", "task count specification invalid", "user's group not permitted",
		"requested gres", "batch script is empty", "this does not look like a batch script", "unable to open file",
	} {
		if strings.Contains(lower, known) {
			return true
		}
	}
	return false
}
