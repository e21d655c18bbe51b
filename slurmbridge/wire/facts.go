package wire

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"assay.bench/slurmbridge"
)

// Version of Slurm: 24.11.5 is {24, 11, 5}.
type Version struct{ Year, Month, Patch int }

var versionFormat = regexp.MustCompile(`(?m)^slurm(?:-wlm)? (\d{2})\.(\d{2})\.(\d+)`)

// ParseVersion reads what a program of Slurm prints for --version. A site's plugins may print more.
func ParseVersion(out []byte) (Version, error) {
	m := versionFormat.FindSubmatch(out)
	if m == nil {
		return Version{}, fmt.Errorf("%.100q names no version of Slurm", bytes.TrimSpace(out))
	}
	var v Version
	for i, part := range []*int{&v.Year, &v.Month, &v.Patch} {
		n, err := strconv.Atoi(string(m[i+1]))
		if err != nil {
			return Version{}, fmt.Errorf("%.100q names no version of Slurm", bytes.TrimSpace(out))
		}
		*part = n
	}
	return v, nil
}

func (v Version) String() string { return fmt.Sprintf("%02d.%02d.%d", v.Year, v.Month, v.Patch) }

// KnowsNil says whether sbatch has --export=NIL, which gives a job nothing of the caller's environment.
func (v Version) KnowsNil() bool {
	return cmp.Or(cmp.Compare(v.Year, 23), cmp.Compare(v.Month, 2)) >= 0
}

// ParseConfig reads the lines NAME = VALUE of "scontrol show config".
func ParseConfig(out []byte) map[string]string {
	config := map[string]string{}
	for line := range bytes.Lines(out) {
		if name, value, ok := strings.Cut(string(line), "="); ok {
			config[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return config
}

// Seconds reads a length of time of the configuration, such as "300 sec"; 0 for none.
func Seconds(text string) time.Duration {
	number, _, _ := strings.Cut(text, " ")
	n, err := strconv.ParseUint(number, 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

// Oldest orders jobs by their submit, and by their ids where that is the same.
func Oldest(a, b slurmbridge.Job) int {
	return cmp.Or(a.Submitted.Compare(b.Submitted), cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID))
}

var idFormat = regexp.MustCompile(`(?m)^\d+(;[^;\s]+)?$`)

// IsJobID says whether sbatch --parsable printed an id, with or without the name of a cluster.
func IsJobID(out []byte) bool { return idFormat.Match(out) }

// IsOver says that scontrol or scancel failed because the job has ended, or is not known, or does not wait any more:
// there was nothing to do.
func IsOver(stderr []byte) bool {
	lower := strings.ToLower(string(stderr))
	for _, words := range []string{"invalid job id", "already completing or completed", "no longer pending execution", "job/step already completing", "job has already finished"} {
		if strings.Contains(lower, words) {
			return true
		}
	}
	return false
}
