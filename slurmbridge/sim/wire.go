package sim

import (
	"bytes"
	"encoding/json"
	"fmt"

	"assay.bench/slurmbridge"
)

// reply is what a command of the batch system printed. What stands in stderr is never an answer.
type reply struct{ stdout, stderr []byte }

// print writes a list of jobs, a line each, and how many they are.
func (c *Cluster) print(jobs []slurmbridge.Job) reply {
	var r reply
	for _, j := range jobs {
		r.stdout = append(r.stdout, c.encode(j)...)
	}
	r.stdout = fmt.Appendf(r.stdout, "%d jobs\n", len(jobs))
	if c.faults.noise {
		r.stderr = []byte("slurm_load_jobs: site plugin: 1 jobs\nlua: {\"ID\": \"1\"}\n")
	}
	if c.faults.truncate > 0 {
		c.faults.truncate--
		r.stdout = r.stdout[:draw(c.o.Seed, "cut", c.counts.List, c.counts.Find)%uint64(len(r.stdout))]
	}
	return r
}

// parse reads a list of jobs. An answer without its last line was cut, and says nothing.
func (r reply) parse() ([]slurmbridge.Job, error) {
	lines := bytes.SplitAfter(r.stdout, []byte("\n"))
	last := len(lines) - 2
	if last < 0 || string(lines[last]) != fmt.Sprintf("%d jobs\n", last) || len(lines[last+1]) > 0 {
		return nil, fmt.Errorf("%w: the answer was cut after %d bytes", slurmbridge.ErrUnreachable, len(r.stdout))
	}
	jobs := make([]slurmbridge.Job, last)
	for i, line := range lines[:last] {
		if err := json.Unmarshal(line, &jobs[i]); err != nil {
			return nil, fmt.Errorf("%w: line %d of the answer: %w", slurmbridge.ErrUnreachable, i+1, err)
		}
	}
	return jobs, nil
}
