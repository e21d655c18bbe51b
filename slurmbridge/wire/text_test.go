package wire

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
)

var update = flag.Bool("update", false, "write the golden files anew")

// line is one line of squeue.
func line(fields ...string) string {
	var b strings.Builder
	for i, c := range columns() {
		b.WriteString(fields[i] + strings.Repeat(" ", c.width-len(fields[i])))
	}
	return b.String() + "\n"
}

const (
	name1 = "assay-0123abcd-0123456789abcdef-1"
	name2 = "assay-0123abcd-0123456789abcdef-2"
)

func at(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }

func TestParseSqueue(t *testing.T) {
	out := line("17", name1, "PENDING", "0", "0", "1700000000", "1700009999", "N/A", "0", "", "JobHeldUser") +
		line("18+0", name2, "RUNNING", "4294", "1", "1700000001", "1700000005", "1700003605", "0", "mel[2001-2002]", "None") +
		line("18+1", name2, "RUNNING", "4294", "1", "1700000001", "1700000005", "1700003605", "0", "mel2003", "None") +
		line("16", "some\nbody's\n", "RUNNING", "4294", "0", "1700000001", "1700000005", "1700003605", "0", "mel2004", "None") +
		line("19", "somebody's", "RUNNING", "4294", "0", "1700000001", "1700000005", "1700003605", "0", "mel2004", "None") +
		line("20_7", name1, "PENDING", "1", "0", "1700000001", "N/A", "N/A", "0", "", "Priority") +
		line("21", name2, "FAILED", "1", "0", "1700000001", "1700000002", "1700000003", "1792", "mel2004", "NonZeroExitCode") +
		line("22", name2, "FAILED", "1", "0", "1700000001", "1700000002", "1700000003", "7:9", "mel2004", "NonZeroExitCode")
	want := []slurmbridge.Job{
		{ID: "17", Key: name1, State: "PENDING", Phase: "Pending", Reason: "Held", Message: "JobHeldUser", Held: true, Submitted: at(1700000000), Expected: at(1700009999)},
		{ID: "18", Key: name2, State: "RUNNING", Phase: "Running", Reason: "Running", Restarts: 1, Submitted: at(1700000001), Started: at(1700000005), Nodes: "mel[2001-2002],mel2003"},
		{ID: "21", Key: name2, State: "FAILED", Phase: "Failed", Reason: "NonZeroExit", Message: "NonZeroExitCode", Submitted: at(1700000001), Started: at(1700000002), Ended: at(1700000003), Nodes: "mel2004", ExitCode: 7},
		{ID: "22", Key: name2, State: "FAILED", Phase: "Failed", Reason: "NonZeroExit", Message: "NonZeroExitCode", Submitted: at(1700000001), Started: at(1700000002), Ended: at(1700000003), Nodes: "mel2004", ExitCode: 7, Signal: 9},
	}
	got, err := ParseSqueue([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if jobs, err := ParseSqueue(nil); err != nil || len(jobs) != 0 {
		t.Errorf("no job: %v, %v", jobs, err)
	}
	for n := 1; n < len(out); n++ {
		jobs, err := ParseSqueue([]byte(out[:n]))
		if out[n-1] != '\n' && (err == nil || len(jobs) > 0) {
			t.Fatalf("cut after %d bytes: %v, %v; want an error and no job", n, jobs, err)
		}
	}
}

func TestParseSqueueRefuses(t *testing.T) {
	good := []string{"17", name1, "PENDING", "0", "0", "1700000000", "N/A", "N/A", "0", "", "Priority"}
	for field, bad := range map[int]string{0: "x17", 4: "once", 5: "yesterday"} {
		fields := append([]string{}, good...)
		fields[field] = bad
		if jobs, err := ParseSqueue([]byte(line(fields...))); err == nil {
			t.Errorf("%s in column %d: %v, want an error", bad, field, jobs)
		}
	}
	for _, text := range []string{"slurm_load_jobs error: Unable to contact slurm controller\n", line(good...) + "\n", strings.TrimRight(line(good...), "\n") + "more\n"} {
		if jobs, err := ParseSqueue([]byte(text)); err == nil {
			t.Errorf("%q: %v, want an error", text, jobs)
		}
	}
}

func TestParseSacct(t *testing.T) {
	out := "17|" + name1 + "|CANCELLED by 1000|1700000000|1700000001|1700000002|0:15|mel2001\n" +
		"18+0|" + name2 + "|COMPLETED|1700000000|1700000001|1700000002|0:0|mel[2001-2002]\n" +
		"18+1|" + name2 + "|COMPLETED|1700000000|1700000001|1700000002|0:0|mel2003\n" +
		"19|other|FAILED|1700000000|1700000001|1700000002|1:0|mel2001\n" +
		"20|" + name1 + "|PENDING|1700000000|Unknown|Unknown|0:0|None assigned\n"
	want := []slurmbridge.Job{
		{ID: "17", Key: name1, State: "CANCELLED by 1000", Phase: "Failed", Reason: "Cancelled", Submitted: at(1700000000), Started: at(1700000001), Ended: at(1700000002), Nodes: "mel2001", Signal: 15},
		{ID: "18", Key: name2, State: "COMPLETED", Phase: "Succeeded", Reason: "Completed", Submitted: at(1700000000), Started: at(1700000001), Ended: at(1700000002), Nodes: "mel[2001-2002],mel2003"},
		{ID: "20", Key: name1, State: "PENDING", Phase: "Pending", Reason: "Queued", Submitted: at(1700000000)},
	}
	got, err := ParseSacct([]byte(out))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for _, text := range []string{out[:len(out)-3], "Slurm accounting storage is disabled\n", strings.Replace(out, "1700000002", "soon", 1), strings.Replace(out, "0:15", "fifteen", 1)} {
		if jobs, err := ParseSacct([]byte(text)); err == nil || len(jobs) > 0 {
			t.Errorf("%q: %v, want an error", text, jobs)
		}
	}
}

// What real Slurms printed for jobs in many states is read as the golden files beside it say.
func TestRealOutput(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			out, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			parse := ParseSqueue
			if strings.Contains(file, "sacct") {
				parse = ParseSacct
			}
			jobs, err := parse(out)
			if err != nil {
				t.Fatal(err)
			}
			checkGolden(t, strings.TrimSuffix(file, ".txt")+".golden", jobs)
		})
	}
}

// checkGolden compares jobs, a line each, with a golden file.
func checkGolden(t *testing.T, golden string, jobs []slurmbridge.Job) {
	t.Helper()
	var b strings.Builder
	for _, j := range jobs {
		b.WriteString(strings.Join([]string{j.ID, string(j.Key), j.State, string(j.Phase), j.Reason, j.Message, j.Nodes}, " | "))
		b.WriteString(" |" + map[bool]string{true: " held"}[j.Held] + map[bool]string{true: " over"}[j.Over()])
		fmt.Fprintf(&b, " exit %d signal %d restarts %d", j.ExitCode, j.Signal, j.Restarts)
		b.WriteString(map[bool]string{true: " submitted"}[!j.Submitted.IsZero()] + map[bool]string{true: " started"}[!j.Started.IsZero()] + map[bool]string{true: " ended"}[!j.Ended.IsZero()] + map[bool]string{true: " expected"}[!j.Expected.IsZero()] + "\n")
	}
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), b.String()); diff != "" {
		t.Errorf("-want +got (run with -update after a look)\n%s", diff)
	}
}

func FuzzParseSqueue(f *testing.F) {
	f.Add([]byte(line("17", name1, "PENDING", "0", "0", "1700000000", "N/A", "N/A", "0", "", "Priority")))
	f.Add([]byte(line("18+0", name2, "COMPLETED", "1", "2", "1700000000", "1700000001", "1700000002", "256", "mel2001", "None")))
	f.Fuzz(func(t *testing.T, out []byte) { checkJobs(t, ParseSqueue, out) })
}

func FuzzParseSacct(f *testing.F) {
	f.Add([]byte("17|" + name1 + "|CANCELLED by 1000|1700000000|1700000001|1700000002|0:15|mel2001\n"))
	f.Fuzz(func(t *testing.T, out []byte) { checkJobs(t, ParseSacct, out) })
}

// checkJobs: an answer is read whole or not at all, and what is read makes sense.
func checkJobs(t *testing.T, parse func([]byte) ([]slurmbridge.Job, error), out []byte) {
	jobs, err := parse(out)
	if err != nil {
		if len(jobs) > 0 {
			t.Fatalf("an error and %d jobs", len(jobs))
		}
		return
	}
	for _, j := range jobs {
		if !j.Key.Valid() || j.ID == "" || j.Phase == "" || j.Reason == "" {
			t.Fatalf("a job without a name or a meaning: %+v", j)
		}
		if j.Phase == slurmbridge.Pending && !j.Started.IsZero() || j.Phase != slurmbridge.Pending && !j.Expected.IsZero() || !j.Over() && !j.Ended.IsZero() {
			t.Fatalf("times that have not come: %+v", j)
		}
	}
}

// A refusal is Slurm's own words, with the limit that it names, and what follows: real output of 22.05 and 24.11 where the
// sentence is one that assay's test site can be brought to say.
func TestReadRefusal(t *testing.T) {
	const policy = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
	const failed = "sbatch: error: Batch job submission failed: "
	for text, want := range map[string]Refusal{
		failed + "Invalid account or account/partition combination specified\n":            {"Invalid account or account/partition combination specified", Final},
		"sbatch: lua: welcome\n" + failed + "Invalid qos specification\n":                  {"Invalid qos specification", Final},
		"sbatch: error: Invalid generic resource (gres) specification\n":                   {"Invalid generic resource (gres) specification", Final},
		"allocation failure: Node count specification invalid\n":                           {"Node count specification invalid", Final},
		"allocation failure: No partition specified or system default partition\n":         {"No partition specified or system default partition", Final},
		"allocation failure: Requested node configuration is not available\n":              {"Requested node configuration is not available", Nodes},
		"allocation failure: Required partition not available (inactive or drain)\n":       {"Required partition not available (inactive or drain)", NotNow},
		failed + "Required partition not available (inactive or drain)\n":                  {"Required partition not available (inactive or drain)", NotNow},
		failed + "Requested partition configuration not available now\n":                   {"Requested partition configuration not available now", NotNow},
		"sbatch: error: QOSMaxSubmitJobPerUserLimit\n" + failed + policy + "\n":            {"QOSMaxSubmitJobPerUserLimit: " + policy, NotNow},
		"sbatch: error: QOSMaxSubmitJobPerUserLimit\nallocation failure: " + policy + "\n": {"QOSMaxSubmitJobPerUserLimit: " + policy, NotNow},
		"sbatch: error: QOSGrpSubmitJobsLimit\n" + failed + policy + "\n":                  {"QOSGrpSubmitJobsLimit: " + policy, NotNow},
		"sbatch: error: AssocMaxSubmitJobLimit\n" + failed + policy + "\n":                 {"AssocMaxSubmitJobLimit: " + policy, NotNow},
		"sbatch: error: AssocGrpSubmitJobsLimit\n" + failed + policy + "\n":                {"AssocGrpSubmitJobsLimit: " + policy, NotNow},
		"sbatch: error: QOSMaxWallDurationPerJobLimit\n" + failed + policy + "\n":          {"QOSMaxWallDurationPerJobLimit: " + policy, Final},
		"sbatch: error: our plugin says hello\n" + failed + policy + "\n":                  {"our plugin says hello: " + policy, NotNow},
		failed + policy + "\n": {policy, NotNow},
		"sbatch: error: invalid partition specified: gpuu\n" + failed + "Invalid partition name specified\n": {
			"invalid partition specified: gpuu: Invalid partition name specified", Final},
		"sbatch: error: Memory specification can not be satisfied\n" + failed + "Requested node configuration is not available\n": {
			"Memory specification can not be satisfied: Requested node configuration is not available", Nodes},
		failed + "Socket timed out on send/recv operation\n":                              {"Socket timed out on send/recv operation", Open},
		failed + "Unable to contact slurm controller (connect failure)\n":                 {"Unable to contact slurm controller (connect failure)", Open},
		"sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying.\n": {"Slurm temporarily unable to accept job, sleeping and retrying.", Open},
		failed + "Something that nobody has seen\n":                                       {"Something that nobody has seen", Unclear},
		"Segmentation fault\n": {"Segmentation fault", Open},
		"":                     {"", Open},
	} {
		if got := ReadRefusal([]byte(text)); got != want {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

// What a submit makes of an answer.
func TestRefusalIsAnError(t *testing.T) {
	for answer, want := range map[Answer]error{Final: slurmbridge.ErrRefused, Nodes: slurmbridge.ErrRefused, NotNow: slurmbridge.ErrNotNow, Unclear: slurmbridge.ErrUnclear, Open: nil} {
		err := Refusal{"no", answer}.Err("sbatch")
		for _, kind := range []error{slurmbridge.ErrRefused, slurmbridge.ErrNotNow, slurmbridge.ErrUnclear} {
			if errors.Is(err, kind) != errors.Is(want, kind) {
				t.Errorf("answer %d: %v, want %v", answer, err, want)
			}
		}
		if !strings.HasSuffix(err.Error(), ": no") {
			t.Errorf("answer %d: %v has not Slurm's words", answer, err)
		}
	}
}

func FuzzReadRefusal(f *testing.F) {
	f.Add([]byte("sbatch: error: Batch job submission failed: Invalid qos specification\n"))
	f.Add([]byte("sbatch: error: AssocMaxSubmitJobLimit\nallocation failure: Job violates accounting/QOS policy\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if r := ReadRefusal(text); strings.ContainsRune(r.Words, '\n') || r.Answer != Open && r.Words == "" {
			t.Fatalf("%+v", r)
		}
	})
}

// Nodes that a job would not get now are told from those that it would.
func TestNodesUp(t *testing.T) {
	for states, want := range map[string]bool{
		"idle\n": true, "idle\nmixed\nallocated\nplanned\n": true, "idle~\nmixed-\nallocated#\n": true, "completing\n": true,
		"drained\n": false, "idle\ndrained*\n": false, "idle*\n": false, "mixed\ndraining\n": false, "down\n": false, "maint\n": false, "idle$\n": false,
		"idle@\n": false, "idle%\n": false, "better\n": false, "": false, "\n": false,
	} {
		if got := NodesUp([]byte(states)); got != want {
			t.Errorf("%q: %t, want %t", states, got, want)
		}
	}
}

func FuzzNodesUp(f *testing.F) {
	f.Add([]byte("idle\nmixed-\ndrained*\n"))
	f.Fuzz(func(t *testing.T, states []byte) {
		if NodesUp(states) && (len(bytes.TrimSpace(states)) == 0 || bytes.Contains(states, []byte("drain")) || bytes.ContainsRune(states, '*')) {
			t.Fatalf("%q are up", states)
		}
	})
}

func TestFacts(t *testing.T) {
	for text, want := range map[string]string{"slurm 24.11.5\n": "24.11.5 true", "slurm-wlm 22.05.8\n": "22.05.8 false", "welcome\nslurm 26.05.1-rc1\n": "26.05.1 true", "slurm 23.02.0": "23.02.0 true"} {
		v, err := ParseVersion([]byte(text))
		if got := v.String() + " " + map[bool]string{true: "true", false: "false"}[v.KnowsNil()]; err != nil || got != want {
			t.Errorf("%q: %s, %v; want %s", text, got, err, want)
		}
	}
	if v, err := ParseVersion([]byte("bash: sbatch: command not found")); err == nil {
		t.Errorf("no version: %v", v)
	}
	config := ParseConfig([]byte("Configuration data as of 2026\nMinJobAge               = 300 sec\nAccountingStorageType   = accounting_storage/none\nKillWait = 30 sec\n\nSlurmctld(primary) at login1 is UP\n"))
	if config["AccountingStorageType"] != "accounting_storage/none" || Seconds(config["MinJobAge"]) != 5*time.Minute || Seconds(config["no"]) != 0 || Seconds("UNLIMITED") != 0 {
		t.Errorf("%v", config)
	}
	for text, want := range map[string]bool{"17\n": true, "17;meluxina\n": true, "hello\n17\n": true, "": false, "Submitted batch job 17\n": false, "x17\n": false} {
		if IsJobID([]byte(text)) != want {
			t.Errorf("IsJobID(%q) is not %t", text, want)
		}
	}
}
