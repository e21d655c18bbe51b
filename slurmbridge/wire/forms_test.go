package wire

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"assay.bench/slurmbridge"
)

// form is one way in which Slurm tells a job's state: its words are the base state and the flag, if there is one.
type form struct {
	name string
	// oneWord says that a flag hides the base state.
	oneWord bool
	jobs    func(base, flag string) ([]slurmbridge.Job, error)
}

func forms() []form {
	list := func(base, flag string) string {
		if flag == "" {
			return fmt.Sprintf("[%q]", base)
		}
		return fmt.Sprintf("[%q,%q]", base, flag)
	}
	shown := func(base, flag string) string {
		if flag != "" {
			return flag
		}
		return base
	}
	ran := []string{"start_time", num(1700000001), "end_time", num(1700000002), "priority", num(1), "state_reason", `"None"`}
	return []form{
		{"squeue", true, func(base, flag string) ([]slurmbridge.Job, error) {
			return ParseSqueue([]byte(line("17", name1, shown(base, flag), "1", "0", "1700000000", "1700000001", "1700000002", "0:0", "mel2001", "None")))
		}},
		{"sacct", true, func(base, flag string) ([]slurmbridge.Job, error) {
			return ParseSacct([]byte("17|" + name1 + "|" + shown(base, flag) + "|1700000000|1700000001|1700000002|0:0|mel2001\n"))
		}},
		{"sacct with the user", true, func(base, flag string) ([]slurmbridge.Job, error) {
			return ParseSacct([]byte("17|" + name1 + "|" + shown(base, flag) + " by 1000|1700000000|1700000001|1700000002|0:0|mel2001\n"))
		}},
		{"slurmrestd v0.0.39, a word", true, func(base, flag string) ([]slurmbridge.Job, error) {
			return ParseJobs(strings.NewReader(answered(now42(append(ran, "job_state", fmt.Sprintf("%q", shown(base, flag)))...))), "")
		}},
		{"slurmrestd from v0.0.40 on, a list", false, func(base, flag string) ([]slurmbridge.Job, error) {
			return ParseJobs(strings.NewReader(answered(now42(append(ran, "job_state", list(base, flag))...))), "")
		}},
		{"slurmrestd's accounting, a list", false, func(base, flag string) ([]slurmbridge.Job, error) {
			past := fmt.Sprintf(`{"job_id":17,"name":%q,"state":{"current":%s,"reason":"None"},"time":{"submission":1700000000,"start":1700000001,"end":1700000002},"exit_code":{"return_code":%s},"nodes":"mel2001"}`,
				name1, list(base, flag), num(0))
			return ParsePastJobs(strings.NewReader(answered(past)), "")
		}},
	}
}

// Every base state, alone and beside every flag, in every form in which Slurm prints it, is classified: one job with a
// phase and a reason, in which only the times stand that its phase has. One word and a list of both say the same, but of a
// job that failed to start and waits again, which only a list tells.
func TestEveryStateInEveryForm(t *testing.T) {
	none := meaning{}
	for _, f := range forms() {
		t.Run(f.name, func(t *testing.T) {
			for _, base := range bases() {
				for _, flag := range append(flags(), none) {
					jobs, err := f.jobs(base.word, flag.word)
					if err != nil || len(jobs) != 1 {
						t.Fatalf("%s %s: %v, %v", base.word, flag.word, jobs, err)
					}
					checkState(t, f, base, flag, jobs[0])
				}
			}
			if jobs, err := f.jobs("BETTER_THAN_EVER", ""); err != nil || len(jobs) != 1 || jobs[0].Phase != slurmbridge.Unknown || jobs[0].Over() {
				t.Errorf("a word that nobody knows: %+v, %v; want Unknown", jobs, err)
			}
		})
	}
}

func checkState(t *testing.T, f form, base, flag meaning, j slurmbridge.Job) {
	t.Helper()
	want := base
	if flag.word != "" {
		want = flag
	}
	phase := want.phase
	if !f.oneWord && base.phase == slurmbridge.Pending && phase == slurmbridge.Interrupted {
		phase = slurmbridge.Pending
	}
	if j.Phase != phase || j.Reason != want.reason {
		t.Errorf("%s %s is %s %s, want %s %s", base.word, flag.word, j.Phase, j.Reason, phase, want.reason)
	}
	began := j.Phase == slurmbridge.Running || j.Over()
	if j.Submitted.IsZero() || j.Started.IsZero() == began || j.Ended.IsZero() == j.Over() {
		t.Errorf("%s %s, which is %s, has the times %+v", base.word, flag.word, j.Phase, j)
	}
}

// What Slurm's programs print of the cluster is read to the end or refused, whatever it is.
func FuzzFacts(f *testing.F) {
	f.Add([]byte("slurm-wlm 22.05.8\n"))
	f.Add([]byte("welcome\nslurm 26.05.1-rc1\n"))
	f.Add([]byte("MinJobAge               = 300 sec\nKillWait = 30 sec\n = \n"))
	f.Add([]byte("1700000000\nN/A\n17;meluxina\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		if v, err := ParseVersion(out); err == nil && !strings.Contains(string(out), "lurm") {
			t.Errorf("version %v of %q", v, out)
		}
		for name, value := range ParseConfig(out) {
			if name != strings.TrimSpace(name) || strings.ContainsRune(name+value, '\n') {
				t.Errorf("%q is %q", name, value)
			}
			if Seconds(value) < 0 {
				t.Errorf("%q is %s", value, Seconds(value))
			}
		}
		if IsJobID(out) && !bytes.ContainsAny(out, "0123456789") {
			t.Errorf("%q is the id of a job", out)
		}
	})
}

func FuzzParseDone(f *testing.F) {
	f.Add([]byte(`{"meta": {}, "errors": []}`))
	f.Add([]byte(fault(2017, "Invalid job id specified", "job")))
	f.Fuzz(func(t *testing.T, body []byte) {
		if ParseDone(strings.NewReader(string(body))) == nil && !strings.HasPrefix(strings.TrimSpace(string(body)), "{") {
			t.Errorf("%q says that something was done", body)
		}
	})
}
