package rest

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
)

func script(parts ...slurmbridge.Part) slurmbridge.Script {
	if len(parts) == 0 {
		parts = []slurmbridge.Part{{Nodes: 1}}
	}
	return slurmbridge.Script{Comment: "bench g1", Directory: "/work/run/main/1", Node: "/work/bin/assay-node", Parts: parts}
}

var accepted = answer{body: `{"job_id": 17, "step_id": "batch", "errors": [], "warnings": []}`}

// Every directive of the script is a field of the request too, for slurmrestd does not read the script.
func TestSubmit(t *testing.T) {
	s := newServer(t, map[string]answer{"POST /slurm/job/submit": accepted})
	c := open(t, s)
	full := script(slurmbridge.Part{
		Account: "p200000", Partition: "gpu", QOS: "default", Nodes: 2, TasksPerNode: 4, CPUsPerTask: 16, GPUsPerNode: 4, MemoryMiB: 65536,
		Gres: "nvme:1,gres/tmp", Constraint: "a100&ib", Reservation: "night", Licenses: "x:1", Exclusive: true, Exclude: []string{"mel2001", "mel2002"},
	})
	full.TimeLimit, full.Notice, full.Dependency = 61*time.Second, 30*time.Second, "afterany:16"
	if err := c.Submit(t.Context(), keyOf(1), full); err != nil {
		t.Fatal(err)
	}
	sent := fields(t, s.bodies["POST /slurm/job/submit"])["job"].(map[string]any)
	text, err := full.Render(keyOf(1))
	if err != nil || sent["script"] != string(text) {
		t.Errorf("the script that was sent is not the one that is rendered: %v", err)
	}
	delete(sent, "script")
	number := func(n float64) map[string]any { return map[string]any{"set": true, "number": n} }
	want := map[string]any{
		"name": string(keyOf(1)), "hold": true, "requeue": false, "current_working_directory": "/work/run/main/1", "standard_output": "job.log",
		"open_mode": []any{"APPEND"}, "environment": []any{"PATH=/usr/local/bin:/usr/bin:/bin", "SLURM_UMASK=0077"}, "comment": "bench g1", "dependency": "afterany:16",
		"time_limit": number(2), "kill_warning_signal": "USR1", "kill_warning_flags": []any{"BATCH_JOB"}, "kill_warning_delay": number(30),
		"account": "p200000", "partition": "gpu", "qos": "default", "nodes": "2", "tasks_per_node": 4.0, "cpus_per_task": 16.0, "minimum_cpus": 128.0,
		"memory_per_node": number(65536), "tres_per_node": "gres/gpu:4,gres/nvme:1,gres/tmp", "constraints": "a100&ib", "reservation": "night",
		"licenses": "x:1", "shared": []any{"none"}, "excluded_nodes": []any{"mel2001", "mel2002"},
	}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("-want +sent\n%s", diff)
	}
	if lines := strings.Count(string(text), "\n#SBATCH "); lines != 23 {
		t.Errorf("the script has %d directives: a new one wants a field here", lines)
	}
}

// What is not asked for is left to the site: it is not sent.
func TestSubmitLittle(t *testing.T) {
	s := newServer(t, map[string]answer{"POST /slurm/job/submit": accepted})
	little := script(slurmbridge.Part{Gres: "NONE"})
	little.Comment = ""
	if err := open(t, s).Submit(t.Context(), keyOf(1), little); err != nil {
		t.Fatal(err)
	}
	sent := fields(t, s.bodies["POST /slurm/job/submit"])["job"].(map[string]any)
	delete(sent, "script")
	want := map[string]any{
		"name": string(keyOf(1)), "hold": true, "requeue": false, "current_working_directory": "/work/run/main/1", "standard_output": "job.log",
		"open_mode": []any{"APPEND"}, "environment": []any{"PATH=/usr/local/bin:/usr/bin:/bin", "SLURM_UMASK=0077"}, "minimum_cpus": 1.0,
	}
	if diff := cmp.Diff(want, sent); diff != "" {
		t.Errorf("-want +sent\n%s", diff)
	}
}

// The components of a heterogeneous job are all held, and the first one has the script.
func TestSubmitHeterogeneous(t *testing.T) {
	s := newServer(t, map[string]answer{"POST /slurm/job/submit": accepted})
	two := script(slurmbridge.Part{Partition: "gpu", Nodes: 2}, slurmbridge.Part{Partition: "cpu", Nodes: 1})
	two.TimeLimit, two.Notice = time.Hour, time.Minute
	if err := open(t, s).Submit(t.Context(), keyOf(1), two); err != nil {
		t.Fatal(err)
	}
	sent := fields(t, s.bodies["POST /slurm/job/submit"])
	if sent["job"] != nil {
		t.Error("both job and jobs are sent")
	}
	var got []string
	for _, one := range sent["jobs"].([]any) {
		f := one.(map[string]any)
		got = append(got, fmt.Sprint(f["partition"], f["nodes"], f["hold"], f["name"], f["comment"], f["script"] != nil, " ", f["kill_warning_signal"], " ", f["time_limit"]))
	}
	want := []string{
		fmt.Sprint("gpu", "2", true, keyOf(1), "bench g1", true, " ", "USR1", " ", "map[number:60 set:true]"),
		fmt.Sprint("cpu", "1", true, keyOf(1), "bench g1", false, " ", nil, " ", "map[number:60 set:true]"),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +sent\n%s", diff)
	}
}

// A refusal is final, or leaves open whether the job exists.
func TestSubmitFails(t *testing.T) {
	for reason, c := range map[string]struct {
		answer  answer
		refused bool
		words   string
	}{
		"a QOS that does not exist": {refusal(500, 2066, "Invalid qos specification"), true, "the batch system refused the job: Invalid qos specification"},
		"an error in 200":           {refusal(200, 2045, "Invalid account"), true, "the batch system refused the job: Invalid account"},
		"a field it cannot read":    {refusal(400, 9001, "Failure during parsing"), true, "the batch system refused the job: Failure during parsing: it failed"},
		"too many jobs":             {refusal(500, 2007, "Job count limit exceeded"), false, "slurmrestd: Job count limit exceeded"},
		"an old token":              {refusal(511, 1007, "Protocol authentication error"), false, "slurmrestd: Protocol authentication error"},
		"slurmctld is slow":         {refusal(504, 5004, "Socket timed out on send/recv operation"), false, "slurmrestd: Socket timed out on send/recv operation"},
		"a proxy's page":            {answer{status: 502, body: "Invalid gateway"}, false, "slurmrestd: HTTP 502 Bad Gateway: Invalid gateway"},
		"no id":                     {answer{body: `{"job_id": 0, "errors": []}`}, false, "the site does not answer: slurmrestd names no job that it made"},
		"half an answer":            {answer{body: accepted.body[:20]}, false, "the site does not answer: slurmrestd: the answer was cut"},
	} {
		t.Run(reason, func(t *testing.T) {
			s := newServer(t, map[string]answer{"POST /slurm/job/submit": c.answer})
			err := open(t, s).Submit(t.Context(), keyOf(1), script())
			if err == nil || errors.Is(err, slurmbridge.ErrRefused) != c.refused || err.Error() != c.words || c.refused == errors.Is(err, slurmbridge.ErrUnreachable) {
				t.Errorf("%v, want %q, refused %t", err, c.words, c.refused)
			}
		})
	}
}

// What cannot be submitted is refused before anything is sent.
func TestSubmitRefuses(t *testing.T) {
	s := newServer(t, map[string]answer{"POST /slurm/job/submit": accepted})
	c := open(t, s)
	bad := script()
	bad.Comment = "two\nlines"
	for _, err := range []error{
		c.Submit(t.Context(), keyOf(1), bad), c.Submit(t.Context(), "assay-me", script()), c.Submit(t.Context(), "assay-feedc0de-0123456789abcdef-1", script()),
	} {
		if !errors.Is(err, slurmbridge.ErrRefused) {
			t.Errorf("%v, want ErrRefused", err)
		}
	}
	if asked := s.took(); len(asked) > 0 {
		t.Errorf("asked %q, want nothing", asked)
	}
}
