package node

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"

	"assay.bench/internal/rundir"
)

// How much of a log is searched for what is known, and how much of a line is quoted.
const (
	wordsBytes = 64 << 10
	quoteBytes = 400
)

// diagnosis is a failure that was found in a log, and the line that tells of it.
type diagnosis struct {
	failure

	quote string
}

// diagnose finds the first of the failures whose sign is in the log, and quotes the first line that has one.
func diagnose(known []failure, log string) (diagnosis, bool) {
	lines := strings.Split(log, "\n")
	small := make([]string, len(lines))
	for i, line := range lines {
		small[i] = strings.ToLower(line)
	}
	for _, f := range known {
		for i, line := range small {
			if !f.isIn(line) {
				continue
			}
			quote := lines[i]
			if f.reason == engineFailed {
				quote = rootCause(lines[:i+1])
			}
			return diagnosis{f, clipLine(quote)}, true
		}
	}
	return diagnosis{}, false
}

// isIn says whether a line, in small letters, has one of the signs.
func (f failure) isIn(line string) bool {
	for _, sign := range f.signs {
		if hasSign(line, sign) {
			return true
		}
	}
	return false
}

// hasSign says whether the texts of a sign stand in a line, one after another.
func hasSign(line, sign string) bool {
	for text := range strings.SplitSeq(sign, signAnd) {
		at := strings.Index(line, text)
		if at < 0 {
			return false
		}
		line = line[at+len(text):]
	}
	return true
}

// rootCause is the first line that names an error, among those up to the one that only says that there was one.
func rootCause(lines []string) string {
	named := regexp.MustCompile(`\b[A-Z]\w*(Error|Exception)\b: \S`)
	for _, line := range lines {
		if named.MatchString(line) && !strings.Contains(line, "See root cause above") {
			return line
		}
	}
	return lines[len(lines)-1]
}

// clipLine is a line for a message.
func clipLine(line string) string {
	line = strings.Join(strings.Fields(line), " ")
	if len(line) > quoteBytes {
		line = strings.ToValidUTF8(line[:quoteBytes], "") + "…"
	}
	return line
}

// sentence says it all: what went wrong, how that showed, what to try, and the line of the log that matters.
func (d diagnosis) sentence(how string) string {
	return fmt.Sprintf("%s (%s): %s; its log says: %s", d.what, how, d.try, d.quote)
}

// explain makes an ending of a server that ended by itself: what is known of its last words, else the words.
func explain(how, log, tail string) *ending {
	if d, ok := diagnose(serverFailures(), log); ok {
		return endf(d.reason, "%s", d.sentence(how))
	}
	return endf(rundir.ExitReasonServiceDied, "%s", withLog(how, tail))
}

// whySlow says of a server that did not become ready in time what it does, or what hinders it, as far as its log tells.
func whySlow(log, tail string) (string, bool) {
	d, ok := diagnose(slowStarts(), tail)
	if !ok {
		d, ok = diagnose(serverFailures(), log)
	}
	if !ok {
		return "", false
	}
	return fmt.Sprintf("%s: %s; its log says: %s", d.what, d.try, d.quote), true
}

// stepEnding makes an ending of a rank that ended without a word, of what Slurm says of it in the log of the job.
func stepEnding(dir, reason, how string, r rundir.Resources) *ending {
	var slurm strings.Builder
	for line := range strings.Lines(logWords(filepath.Join(dir, rundir.JobLogFile), 0, wordsBytes)) {
		// Where one host has several nodes, slurmstepd says for which it speaks: slurmstepd-mel2001.
		if who, _, _ := strings.Cut(line, ": "); who == "srun" || who == "slurmstepd" || strings.HasPrefix(who, "slurmstepd-") {
			slurm.WriteString(line)
		}
	}
	if d, ok := diagnose(stepFailures(), slurm.String()); ok {
		if d.reason == rundir.ExitReasonOutOfMemory {
			how += "; " + memoryAsked(r)
		}
		return endf(d.reason, "%s", d.sentence(how))
	}
	return endf(reason, "%s", how)
}
