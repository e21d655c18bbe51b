package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/wire"
)

// Submit hands in a job, held.
func (c *Slurm) Submit(ctx context.Context, key slurmbridge.Key, s slurmbridge.Script) error {
	text, err := s.Render(key)
	if err != nil {
		return fmt.Errorf("%w: %w", slurmbridge.ErrRefused, err)
	}
	if key.Origin() != c.origin {
		return fmt.Errorf("%w: key %s is not of origin %s", slurmbridge.ErrRefused, key, c.origin)
	}
	r := request{method: http.MethodPost, path: "job/submit", body: describe(key, s, string(text)), limit: mostAnswer}
	err = c.ask(ctx, r, wire.ParseSubmitted)
	f, ok := errors.AsType[*failure](err)
	if !ok {
		return err
	}
	for _, fault := range f.faults {
		if refusal := fault.Refusal(); refusal.Answer != wire.Open && !fault.IsCredentials() {
			return refusal.Err("slurmrestd")
		}
	}
	return err
}

// submission is what a submit sends: one job, or the components of a heterogeneous one.
type submission struct {
	Job  *description  `json:"job,omitempty"`
	Jobs []description `json:"jobs,omitempty"`
}

// description is a job, or a component of one, in the fields that all versions from v0.0.39 to v0.0.45 have alike
// (JOB_DESC_MSG in Slurm's data_parser).
type description struct {
	Script         string   `json:"script,omitempty"`
	Name           string   `json:"name"`
	Hold           bool     `json:"hold"`
	Requeue        bool     `json:"requeue"`
	Directory      string   `json:"current_working_directory"`
	Output         string   `json:"standard_output"`
	OpenMode       []string `json:"open_mode"`
	Environment    []string `json:"environment"`
	Comment        string   `json:"comment,omitempty"`
	Dependency     string   `json:"dependency,omitempty"`
	TimeLimit      *count   `json:"time_limit,omitempty"`
	WarningSignal  string   `json:"kill_warning_signal,omitempty"`
	WarningFlags   []string `json:"kill_warning_flags,omitempty"`
	WarningDelay   *count   `json:"kill_warning_delay,omitempty"`
	Account        string   `json:"account,omitempty"`
	Partition      string   `json:"partition,omitempty"`
	QOS            string   `json:"qos,omitempty"`
	Nodes          string   `json:"nodes,omitempty"`
	TasksPerNode   int      `json:"tasks_per_node,omitempty"`
	CPUsPerTask    int      `json:"cpus_per_task,omitempty"`
	MinimumCPUs    int      `json:"minimum_cpus,omitempty"`
	MemoryPerNode  *count   `json:"memory_per_node,omitempty"`
	TRESPerNode    string   `json:"tres_per_node,omitempty"`
	Constraints    string   `json:"constraints,omitempty"`
	Reservation    string   `json:"reservation,omitempty"`
	Licenses       string   `json:"licenses,omitempty"`
	SharedNodesFor []string `json:"shared,omitempty"`
	ExcludedNodes  []string `json:"excluded_nodes,omitempty"`
}

// count is a number that may be unset.
type count struct {
	Set    bool  `json:"set"`
	Number int64 `json:"number"`
}

func counted(n int64) *count {
	if n <= 0 {
		return nil
	}
	return &count{Set: true, Number: n}
}

// describe writes the directives of the script as fields: the same job that sbatch would make of its text.
func describe(key slurmbridge.Key, s slurmbridge.Script, text string) submission {
	jobs := make([]description, len(s.Parts))
	for i, p := range s.Parts {
		jobs[i] = component(key, s, p)
	}
	first := &jobs[0]
	first.Script = text
	if s.Notice > 0 {
		first.WarningSignal, first.WarningFlags = "USR1", []string{"BATCH_JOB"}
		first.WarningDelay = counted(up(s.Notice, time.Second))
	}
	if len(jobs) == 1 {
		return submission{Job: first}
	}
	return submission{Jobs: jobs}
}

func component(key slurmbridge.Key, s slurmbridge.Script, p slurmbridge.Part) description {
	d := description{
		Name: string(key), Hold: true, Directory: s.Directory, Output: "job.log", OpenMode: []string{"APPEND"},
		// Nothing of ours but a way to the programs of a system, and a closed mask for the log: the script is a login shell.
		Environment: []string{"PATH=/usr/local/bin:/usr/bin:/bin", "SLURM_UMASK=0077"},
		Dependency:  s.Dependency, // sbatch gives it to every component of a heterogeneous job
		Comment:     s.Comment, TimeLimit: counted(up(s.TimeLimit, time.Minute)),
		Account: p.Account, Partition: p.Partition, QOS: p.QOS,
		TasksPerNode: p.TasksPerNode, CPUsPerTask: p.CPUsPerTask, MinimumCPUs: minimum(p),
		MemoryPerNode: counted(p.MemoryMiB), TRESPerNode: tres(p),
		Constraints: p.Constraint, Reservation: p.Reservation, Licenses: p.Licenses, ExcludedNodes: p.Exclude,
	}
	if p.Nodes > 0 {
		d.Nodes = strconv.Itoa(p.Nodes)
	}
	if p.Exclusive {
		d.SharedNodesFor = []string{"none"}
	}
	return d
}

// minimum is the number of CPUs that sbatch would ask for in all: a task on each node where nobody says more.
func minimum(p slurmbridge.Part) int {
	return max(1, p.Nodes) * max(1, p.TasksPerNode) * max(1, p.CPUsPerTask)
}

// tres are the devices of each node in the notation of trackable resources.
func tres(p slurmbridge.Part) string {
	var out []string
	if p.GPUsPerNode > 0 {
		out = append(out, "gres/gpu:"+strconv.Itoa(p.GPUsPerNode))
	}
	if !strings.EqualFold(p.Gres, "none") {
		for g := range strings.SplitSeq(p.Gres, ",") {
			if g = strings.TrimPrefix(strings.TrimSpace(g), "gres/"); g != "" {
				out = append(out, "gres/"+g)
			}
		}
	}
	return strings.Join(slices.Compact(out), ",")
}

// up counts the units of a time, begun ones too.
func up(d, unit time.Duration) int64 { return int64((d + unit - 1) / unit) }
