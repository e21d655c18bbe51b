package wire

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
)

// num is a number as slurmrestd writes most of them.
func num(n int64) string { return fmt.Sprintf(`{"set":true,"infinite":false,"number":%d}`, n) }

// now42 is a job as v0.0.42 writes it, with some fields in another way.
func now42(fields ...string) string {
	job := map[string]string{
		"job_id": "17", "name": `"` + name1 + `"`, "job_state": `["PENDING"]`, "state_reason": `"JobHeldUser"`, "state_description": `""`,
		"priority": num(0), "restart_cnt": "0", "submit_time": num(1700000000), "start_time": num(0), "end_time": num(0),
		"exit_code": `{"status":["SUCCESS"],"return_code":` + num(0) + `,"signal":{"id":{"set":false,"infinite":false,"number":0},"name":""}}`,
		"nodes":     `""`, "het_job_id": num(0), "het_job_offset": num(0), "array_job_id": num(0), "array_task_id": `{"set":false,"infinite":false,"number":0}`,
	}
	for i := 0; i < len(fields); i += 2 {
		job[fields[i]] = fields[i+1]
	}
	var out []string
	for k, v := range job {
		out = append(out, fmt.Sprintf("%q: %s", k, v))
	}
	slices.Sort(out)
	return "{" + strings.Join(out, ",\n") + "}"
}

// answered is an answer with these jobs.
func answered(jobs ...string) string {
	return `{"jobs": [` + strings.Join(jobs, ",") + `], "last_update": {"set":true,"number":5}, "meta": {"plugin": {}}, "errors": [], "warnings": []}`
}

func TestParseJobs(t *testing.T) {
	held := slurmbridge.Job{ID: "17", Key: name1, State: "PENDING", Phase: "Pending", Reason: "Held", Message: "JobHeldUser", Held: true, Submitted: at(1700000000)}
	with := func(change func(*slurmbridge.Job)) slurmbridge.Job {
		j := held
		j.State, j.Phase, j.Message, j.Held = "RUNNING", "Running", "", false
		j.Started = at(1700000005)
		change(&j)
		return j
	}
	running := []string{"job_state", `["RUNNING"]`, "state_reason", `"None"`, "start_time", num(1700000005), "end_time", num(1700003605), "priority", num(4294), "nodes", `"mel2001"`}
	run := func(fields ...string) string { return now42(append(slices.Clone(running), fields...)...) }
	for reason, c := range map[string]struct {
		text string
		want []slurmbridge.Job
	}{
		"no job":                                {answered(), nil},
		"null for no jobs":                      {`{"jobs": null}`, nil},
		"a held job":                            {answered(now42()), []slurmbridge.Job{held}},
		"other people's jobs are not looked at": {answered(`{"name": "x", "job_id": "not a number"}`, now42(), `{"name":"assay-me","job_id":5}`), []slurmbridge.Job{held}},
		"another user may take any name for a job": {answered(now42("user_name", `"mallory"`), now42("user_name", `"hpc"`)), []slurmbridge.Job{held}},
		"a server that does not know the users":    {answered(now42("user_name", `"20000"`)), []slurmbridge.Job{held}},
		"the start of a job that waits is what Slurm expects": {
			answered(now42("start_time", num(1800000000), "end_time", num(1800003600))),
			[]slurmbridge.Job{{ID: "17", Key: name1, State: "PENDING", Phase: "Pending", Reason: "Held", Message: "JobHeldUser", Held: true, Submitted: at(1700000000), Expected: at(1800000000)}}},
		"a description tells more than a reason": {
			answered(now42("state_description", `"QOS is full"`, "priority", num(7), "state_reason", `"QOSMaxJobsPerUserLimit"`)),
			[]slurmbridge.Job{{ID: "17", Key: name1, State: "PENDING", Phase: "Pending", Reason: "Queued", Message: "QOS is full", Submitted: at(1700000000)}}},
		"running": {answered(run()), []slurmbridge.Job{with(func(j *slurmbridge.Job) { j.Reason, j.Nodes = "Running", "mel2001" })}},
		"nodes are not free yet": {answered(run("job_state", `["COMPLETED","COMPLETING"]`)), []slurmbridge.Job{with(func(j *slurmbridge.Job) {
			j.State, j.Reason, j.Nodes = "COMPLETED,COMPLETING", "Finalizing", "mel2001"
		})}},
		"ended by a signal": {
			answered(run("job_state", `["FAILED"]`, "state_reason", `"RaisedSignal:9(Killed)"`, "exit_code", `{"status":["SIGNALED"],"return_code":{"set":false,"number":0},"signal":{"id":`+num(9)+`,"name":"KILL"}}`)),
			[]slurmbridge.Job{with(func(j *slurmbridge.Job) {
				j.State, j.Phase, j.Reason, j.Message, j.Nodes, j.Ended, j.Signal = "FAILED", "Failed", "NonZeroExit", "RaisedSignal:9(Killed)", "mel2001", at(1700003605), 9
			})}},
		"v0.0.39: a word, a wait status, bare times": {
			answered(run("job_state", `"FAILED"`, "state_reason", `"NonZeroExitCode"`, "exit_code", num(7<<8), "submit_time", "1700000000", "start_time", "1700000005", "end_time", "1700000009")),
			[]slurmbridge.Job{with(func(j *slurmbridge.Job) {
				j.State, j.Phase, j.Reason, j.Message, j.Nodes, j.Ended, j.ExitCode = "FAILED", "Failed", "NonZeroExit", "NonZeroExitCode", "mel2001", at(1700000009), 7
			})}},
		"a heterogeneous job is its leader with the nodes of all": {
			answered(run("het_job_id", num(17), "het_job_offset", num(0), "nodes", `"mel[2001-2002]"`), run("job_id", "18", "het_job_id", num(17), "het_job_offset", num(1), "nodes", `"mel2003"`)),
			[]slurmbridge.Job{with(func(j *slurmbridge.Job) { j.Reason, j.Nodes = "Running", "mel[2001-2002],mel2003" })}},
		"an array is not ours": {answered(now42("array_job_id", num(17), "array_task_id", num(3))), nil},
		"a word that nobody knows": {answered(now42("job_state", `["DREAMING"]`)), []slurmbridge.Job{{
			ID: "17", Key: name1, State: "DREAMING", Phase: "Unknown", Reason: "UnknownState", Message: "JobHeldUser", Submitted: at(1700000000)}}},
		"numbers as text": {answered(now42("job_id", `"17"`, "submit_time", `"1700000000"`, "priority", `"0"`, "start_time", `"Infinity"`)), []slurmbridge.Job{held}},
	} {
		t.Run(reason, func(t *testing.T) {
			got, err := ParseJobs(strings.NewReader(c.text), "hpc")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// Half an answer is none, wherever it was cut.
func TestParseJobsOfACutAnswer(t *testing.T) {
	whole := answered(now42(), now42("job_id", "18"))
	for n := range len(whole) {
		if jobs, err := ParseJobs(strings.NewReader(whole[:n]), ""); err == nil || len(jobs) > 0 {
			t.Fatalf("cut after %d of %d bytes: %v, %v; want an error and no job", n, len(whole), jobs, err)
		}
	}
}

func TestParseJobsRefuses(t *testing.T) {
	for reason, text := range map[string]string{
		"a page of a proxy":       "<html>502</html>",
		"another object":          `{"nodes": []}`,
		"no object":               `[]`,
		"more than one":           answered() + "{}",
		"jobs are no list":        `{"jobs": 7}`,
		"an error beside jobs":    `{"jobs": [], "errors": [{"error_number": 1804, "error": "Backing off"}]}`,
		"a job of ours, no id":    answered(now42("job_id", "null")),
		"id of another kind":      answered(now42("job_id", `"x"`)),
		"half a number":           answered(now42("submit_time", `{"set":true,"number":17.5}`)),
		"a time before all times": answered(now42("submit_time", num(-5))),
		"a state of another kind": answered(now42("job_state", `{"current":"PENDING"}`)),
		"an exit of another kind": answered(now42("exit_code", `"fine"`)),
	} {
		t.Run(reason, func(t *testing.T) {
			if jobs, err := ParseJobs(strings.NewReader(text), ""); err == nil || len(jobs) > 0 {
				t.Errorf("%v, %v; want an error and no job", jobs, err)
			}
		})
	}
}

// past42 is a job of accounting.
func past42(id, submitted int64, state, exit string) string {
	return fmt.Sprintf(`{"job_id": %d, "name": %q, "state": {"current": [%q], "reason": "Priority"}, "restart_cnt": 1, "het": {"job_id": 0, "job_offset": {"set": false}},
		"array": {"job_id": 0}, "time": {"submission": %d, "start": 1700000005, "end": 1700000009}, "nodes": "None assigned", "priority": {"set": true, "number": 0}, "exit_code": %s}`,
		id, name1, state, submitted, exit)
}

func TestParsePastJobs(t *testing.T) {
	seven := `{"status": ["ERROR"], "return_code": ` + num(7) + `, "signal": {"id": {"set": false}}}`
	text := answered(past42(17, 1700000000, "CANCELLED", `{"status": "SIGNALED", "return_code": -127, "signal": {"signal_id": 15, "name": "Terminated"}}`),
		past42(18, 1700000000, "REQUEUED", seven), past42(18, 1700000003, "FAILED", seven), past42(18, 1700000001, "NODE_FAIL", seven), strings.Replace(past42(19, 1700000000, "FAILED", seven), "{", `{"user": "mallory", `, 1))
	ended := slurmbridge.Job{
		ID: "17", Key: name1, State: "CANCELLED", Phase: "Failed", Reason: "Cancelled", Signal: 15, Restarts: 1,
		Submitted: at(1700000000), Started: at(1700000005), Ended: at(1700000009),
	}
	last := ended
	last.ID, last.State, last.Reason, last.Signal, last.ExitCode, last.Submitted = "18", "FAILED", "NonZeroExit", 0, 7, at(1700000003)
	got, err := ParsePastJobs(strings.NewReader(text), "hpc")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]slurmbridge.Job{ended, last}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if got, err := ParsePastJobs(strings.NewReader(`{"jobs": [], "errors": [{"error_number": 9003, "error": "Nothing found"}]}`), ""); err != nil || len(got) > 0 {
		t.Errorf("nothing found: %v, %v", got, err)
	}
}

// What slurmrestd of each version answered, or would, is read as the golden files beside it say: v0.0.40 to 42 were
// recorded on Slurm 24.11 and hold the fields that tell a person something; 39, 43 and 44 are v0.0.42's, changed after the
// source of Slurm 23.02, 25.05 and 25.11.
func TestRESTAnswers(t *testing.T) {
	files, err := filepath.Glob("testdata/rest-*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			in, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			parse := ParseJobs
			if strings.Contains(file, "past") {
				parse = ParsePastJobs
			}
			jobs, err := parse(in, "hpc")
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, strings.TrimSuffix(file, ".json")+".golden", jobs)
		})
	}
}

func TestParseComponents(t *testing.T) {
	text := answered(now42("het_job_id", num(17)), now42("job_id", "18", "het_job_id", num(17), "het_job_offset", num(1)),
		now42("job_id", "19", "het_job_id", num(17), "het_job_offset", num(2), "priority", num(5), "state_reason", `"Priority"`), now42("job_id", "20"), now42("job_id", "21", "user_name", `"mallory"`))
	got, err := ParseComponents(strings.NewReader(text), "hpc")
	want := []Component{{"18", "17", name1, true}, {"19", "17", name1, false}, {"17", "17", name1, true}, {"20", "20", name1, true}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	if got, err := ParseComponents(strings.NewReader(text[:len(text)-1]), ""); err == nil || got != nil {
		t.Errorf("a cut answer: %v, %v", got, err)
	}
}

func FuzzParseComponents(f *testing.F) {
	f.Add([]byte(answered(now42(), now42("job_id", "18", "het_job_id", num(17)))))
	f.Fuzz(func(t *testing.T, out []byte) {
		parts, err := ParseComponents(strings.NewReader(string(out)), "")
		for _, p := range parts {
			if err != nil || p.ID == "" || p.Job == "" {
				t.Fatalf("%+v, %v", p, err)
			}
		}
	})
}

func FuzzParseJobs(f *testing.F) {
	f.Add([]byte(answered(now42())))
	f.Add([]byte(answered(now42("job_state", `"FAILED"`, "exit_code", num(9), "start_time", "1700000005", "end_time", "1700000009"))))
	f.Add([]byte(answered(now42("job_state", `["COMPLETED"]`, "exit_code", `{"return_code": 0}`, "het_job_id", num(16)))))
	f.Fuzz(func(t *testing.T, out []byte) { checkJobs(t, reading(ParseJobs), out) })
}

func FuzzParsePastJobs(f *testing.F) {
	f.Add([]byte(answered(past42(17, 1700000000, "COMPLETED", `{"return_code": 0}`))))
	f.Fuzz(func(t *testing.T, out []byte) { checkJobs(t, reading(ParsePastJobs), out) })
}

func reading(parse func(io.Reader, string) ([]slurmbridge.Job, error)) func([]byte) ([]slurmbridge.Job, error) {
	return func(b []byte) ([]slurmbridge.Job, error) { return parse(strings.NewReader(string(b)), "hpc") }
}
