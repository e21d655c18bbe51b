package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/wire"
)

const origin = "0123abcd"

// host plays a login node: it answers each program by its name, and keeps what was run.
type host struct {
	version string
	config  string
	answer  map[string]slurmbridge.Output
	err     error
	ran     []string
	stdin   string
}

func (h *host) Run(_ context.Context, c slurmbridge.Command) (slurmbridge.Output, error) {
	h.ran = append(h.ran, strings.Join(c.Argv, " "))
	if want := []string{wire.EnvLocale, wire.EnvZone, wire.EnvTimes}; !slices.Equal(c.Env, want) {
		return slurmbridge.Output{}, fmt.Errorf("environment %q, want %q", c.Env, want)
	}
	switch {
	case h.err != nil:
		return slurmbridge.Output{}, h.err
	case strings.Join(c.Argv, " ") == "sbatch --version":
		return slurmbridge.Output{Stdout: []byte("slurm " + h.version + "\n")}, nil
	case strings.Join(c.Argv, " ") == "scontrol show config":
		return slurmbridge.Output{Stdout: []byte(h.config)}, nil
	}
	if c.Argv[0] == "sbatch" {
		h.stdin = string(c.Stdin)
	}
	return h.answer[c.Argv[0]], nil
}

func newHost() *host {
	return &host{version: "24.11.5", config: "AccountingStorageType = accounting_storage/slurmdbd\nMinJobAge = 300 sec\nKillWait = 30 sec\nClusterName = meluxina\n",
		answer: map[string]slurmbridge.Output{}}
}

func open(t *testing.T, h *host) *Slurm {
	t.Helper()
	c, err := Open(t.Context(), Options{Runner: h, Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	h.ran = nil
	return c
}

func key(n int) slurmbridge.Key { return slurmbridge.NewKey(origin, fmt.Sprintf("%016x", n), 1) }

func script() slurmbridge.Script {
	return slurmbridge.Script{Directory: "/work/run/main/1", Node: "/work/bin/assay-node", Parts: []slurmbridge.Part{{Nodes: 1}}}
}

// row is one line of squeue.
func row(id string, k slurmbridge.Key, state, reason string) string {
	values := map[string]string{"JobArrayID": id, "Name": string(k), "State": state, "PriorityLong": "1", "RestartCnt": "0", "SubmitTime": "1700000000",
		"StartTime": "N/A", "EndTime": "N/A", "exit_code": "0:0", "NodeList": "", "Reason": reason}
	var b strings.Builder
	for column := range strings.SplitSeq(strings.TrimPrefix(wire.SqueueFormat(), "--Format="), ",") {
		name, width, _ := strings.Cut(column, ":")
		n := 0
		fmt.Sscan(width, &n)
		fmt.Fprintf(&b, "%-*s", n, values[name])
	}
	return b.String() + "\n"
}

func TestOpenAsksWhatTheClusterIs(t *testing.T) {
	c := open(t, newHost())
	if want := (Facts{Version: "24.11.5", Cluster: "meluxina", Accounting: true, MinJobAge: 5 * time.Minute, KillWait: 30 * time.Second}); c.Facts() != want {
		t.Errorf("%+v, want %+v", c.Facts(), want)
	}
	for what, change := range map[string]func(*host){
		"no slurm":     func(h *host) { h.version = "?" },
		"unreachable":  func(h *host) { h.err = slurmbridge.ErrUnreachable },
		"no slurmctld": func(h *host) { h.err = fmt.Errorf("%w: scontrol", slurmbridge.ErrUnreachable) },
	} {
		h := newHost()
		change(h)
		if _, err := Open(t.Context(), Options{Runner: h, Origin: origin}); !errors.Is(err, slurmbridge.ErrUnreachable) {
			t.Errorf("%s: %v, want ErrUnreachable", what, err)
		}
	}
	if _, err := Open(t.Context(), Options{Runner: newHost(), Origin: "me"}); err == nil {
		t.Error("an origin without digits is taken")
	}
}

// A job gets nothing of the environment: NIL where sbatch knows it, else all of the few variables that sbatch was given.
func TestSubmitIsHeldAndGetsNoEnvironment(t *testing.T) {
	for version, export := range map[string]string{"24.11.5": "NIL", "22.05.8": "ALL", "23.02.1": "NIL"} {
		h := newHost()
		h.version = version
		c := open(t, h)
		h.answer["sbatch"] = slurmbridge.Output{Stdout: []byte("17\n"), Stderr: []byte("lua: welcome\n")}
		if err := c.Submit(t.Context(), key(1), script()); err != nil {
			t.Errorf("%s: %v", version, err)
		}
		if want := []string{"sbatch --export=" + export + " --parsable --hold"}; !slices.Equal(h.ran, want) || !strings.HasPrefix(h.stdin, "#!/bin/bash -l\n") {
			t.Errorf("%s: ran %q with %.30q, want %q with the script", version, h.ran, h.stdin, want)
		}
	}
}

// What a submit was told is told apart: refused for good, refused now, or open.
func TestSubmitFails(t *testing.T) {
	for name, c := range map[string]struct {
		out    slurmbridge.Output
		err    error
		final  bool
		later  bool
		silent bool
	}{
		"refused": {out: slurmbridge.Output{Code: 1, Stderr: []byte("sbatch: error: Batch job submission failed: Invalid qos specification\n")}, final: true},
		"too many jobs": {out: slurmbridge.Output{Code: 1, Stderr: []byte("sbatch: error: QOSMaxSubmitJobPerUserLimit\n" +
			"sbatch: error: Batch job submission failed: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)\n")}, later: true},
		"timed out":    {out: slurmbridge.Output{Code: 1, Stderr: []byte("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation\n")}},
		"no id":        {out: slurmbridge.Output{Stdout: []byte("thank you\n")}},
		"no words":     {out: slurmbridge.Output{Code: 3}},
		"answer lost":  {err: slurmbridge.ErrUnreachable},
		"not rendered": {final: true, silent: true},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost()
			slurm, s := open(t, h), script()
			h.answer["sbatch"], h.err = c.out, c.err
			if c.silent {
				s.Comment = "two\nlines"
			}
			err := slurm.Submit(t.Context(), key(1), s)
			if err == nil || errors.Is(err, slurmbridge.ErrRefused) != c.final || errors.Is(err, slurmbridge.ErrNotNow) != c.later {
				t.Errorf("%v, want one that is final: %t, for now: %t", err, c.final, c.later)
			}
			if c.silent != (len(h.ran) == 0) {
				t.Errorf("ran %q", h.ran)
			}
		})
	}
}

// Only what was seen under our own name is released and cancelled; an id that nobody has seen is looked for.
func TestOnlyOurOwnJobsAreTouched(t *testing.T) {
	h := newHost()
	c := open(t, h)
	h.answer["squeue"] = slurmbridge.Output{Stdout: []byte(row("17", key(1), "PENDING", "JobHeldUser") + row("18", slurmbridge.NewKey("feedc0de", "0123456789abcdef", 1), "RUNNING", "None"))}
	for _, id := range []string{"18", "99"} {
		if err := errors.Join(c.Cancel(t.Context(), id), c.Release(t.Context(), id)); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	for _, argv := range h.ran {
		if !strings.HasPrefix(argv, "squeue --me --local --noheader --states=all ") {
			t.Errorf("ran %q for jobs that are not ours", argv)
		}
	}
	h.ran = nil
	if err := errors.Join(c.Release(t.Context(), "17"), c.Cancel(t.Context(), "17")); err != nil {
		t.Error(err)
	}
	if want := []string{"scontrol release 17", "scancel --name=" + string(key(1)) + " 17"}; !slices.Equal(h.ran, want) {
		t.Errorf("ran %q, want %q", h.ran, want)
	}
	h.answer["scontrol"] = slurmbridge.Output{Code: 1, Stderr: []byte("Job is no longer pending execution for job 17\n")}
	h.answer["scancel"] = slurmbridge.Output{Code: 1, Stderr: []byte("scancel: error: Kill job error on job id 17: Invalid job id specified\n")}
	if err := errors.Join(c.Release(t.Context(), "17"), c.Cancel(t.Context(), "17")); err != nil {
		t.Errorf("of a job that is over: %v", err)
	}
	h.answer["scancel"] = slurmbridge.Output{Code: 1, Stderr: []byte("scancel: error: Unable to contact slurm controller\n")}
	if err := c.Cancel(t.Context(), "17"); err == nil || !strings.Contains(err.Error(), "Unable to contact") {
		t.Errorf("while slurmctld is away: %v", err)
	}
}

// Each program of Slurm's has its turn: a site's limit is one of requests, and the cancel of an id that was not seen is two.
func TestProgramsHaveTurns(t *testing.T) {
	h := newHost()
	c := open(t, h)
	h.answer["squeue"] = slurmbridge.Output{Stdout: []byte(row("17", key(1), "RUNNING", "None"))}
	h.ran = nil
	turns := 0
	ctx := slurmbridge.WithTurns(t.Context(), func(context.Context) error { turns++; return nil })
	if err := c.Cancel(ctx, "17"); err != nil || len(h.ran) != 2 || turns != 2 {
		t.Errorf("%d turns for %q, %v", turns, h.ran, err)
	}
	refused := errors.New("not now")
	err := c.Cancel(slurmbridge.WithTurns(t.Context(), func(context.Context) error { return refused }), "17")
	if !errors.Is(err, refused) || len(h.ran) != 2 {
		t.Errorf("without a turn: %v, ran %q", err, h.ran)
	}
}

func TestListsAreOneQuery(t *testing.T) {
	h := newHost()
	c := open(t, h)
	h.answer["squeue"] = slurmbridge.Output{Stdout: []byte(row("20", key(2), "RUNNING", "None") + row("17", key(1), "PENDING", "Priority"))}
	if jobs, err := c.List(t.Context()); err != nil || len(jobs) != 2 || jobs[0].ID != "17" || len(h.ran) != 1 {
		t.Errorf("%v, %v after %q", jobs, err, h.ran)
	}
	if jobs, err := c.Find(t.Context(), key(1), key(3)); err != nil || len(jobs) != 1 || !strings.HasSuffix(h.ran[1], fmt.Sprintf(" --name=%s,%s", key(1), key(3))) {
		t.Errorf("%v, %v after %q", jobs, err, h.ran)
	}
	h.answer["squeue"] = slurmbridge.Output{Stdout: []byte(row("30", "assay-feedc0de-0123456789abcdef-1", "RUNNING", "None") + row("17", key(1), "PENDING", "Priority"))}
	if jobs, err := c.All(t.Context()); err != nil || len(jobs) != 2 || !strings.HasPrefix(h.ran[2], "squeue --me ") {
		t.Errorf("all of this user's: %v, %v after %q", jobs, err, h.ran)
	}
	if err := c.Cancel(t.Context(), "30"); err != nil || strings.Contains(strings.Join(h.ran, "\n"), "scancel") {
		t.Errorf("another origin's job was cancelled: %v after %q", err, h.ran)
	}
	h.answer["squeue"] = slurmbridge.Output{Code: 1, Stderr: []byte("slurm_load_jobs error: Unable to contact slurm controller\n")}
	if _, err := c.List(t.Context()); !errors.Is(err, slurmbridge.ErrUnreachable) {
		t.Errorf("squeue that failed: %v", err)
	}
}

func TestPastAsksAccounting(t *testing.T) {
	h := newHost()
	c := open(t, h)
	h.answer["sacct"] = slurmbridge.Output{Stdout: []byte("17|" + string(key(1)) + "|COMPLETED|1700000000|1700000001|1700000002|0:0|mel2001\n")}
	jobs, err := c.Past(t.Context(), time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600)), key(1), key(2))
	if err != nil || len(jobs) != 1 || jobs[0].Phase != slurmbridge.Succeeded {
		t.Errorf("%v, %v", jobs, err)
	}
	for _, want := range []string{
		fmt.Sprintf("sacct --name=%s,%s ", key(1), key(2)), " --starttime=2026-01-02T02:04:05 --endtime=now+1days",
		" --state=BF,CA,CD,DL,F,NF,OOM,PD,PR,R,S,TO ", // without it, what was held to its end is left out
	} {
		if len(h.ran) != 1 || !strings.Contains(h.ran[0], want) {
			t.Errorf("ran %q, want %q in it", h.ran, want)
		}
	}
	h.answer["sacct"] = slurmbridge.Output{Code: 1, Stderr: []byte("sacct: error: slurm_persist_conn_open_without_init: failed to open persistent connection\n")}
	if _, err := c.Past(t.Context(), time.Now(), key(1)); !errors.Is(err, slurmbridge.ErrUnreachable) {
		t.Errorf("slurmdbd is away: %v", err)
	}
	h.config = strings.Replace(h.config, "slurmdbd", "none", 1)
	if _, err := open(t, h).Past(t.Context(), time.Now(), key(1)); !errors.Is(err, slurmbridge.ErrNoAccounting) {
		t.Errorf("without accounting: %v", err)
	}
}

// What --test-only says is told apart: of the request, which is final; of the nodes that are up, which is final only where all
// of them are; and of now.
func TestPreflight(t *testing.T) {
	const nodes = "allocation failure: Requested node configuration is not available\n"
	for name, c := range map[string]struct {
		said   string
		sinfo  slurmbridge.Output
		change func(*slurmbridge.Script)
		want   error
		asked  string
	}{
		"it could run":        {},
		"request":             {said: "allocation failure: Invalid qos specification\n", want: slurmbridge.ErrRefused},
		"all nodes up":        {said: nodes, sinfo: slurmbridge.Output{Stdout: []byte("idle\nmixed\n")}, want: slurmbridge.ErrRefused, asked: " --partition=cpu"},
		"a node is drained":   {said: nodes, sinfo: slurmbridge.Output{Stdout: []byte("idle\ndrained\n")}, want: slurmbridge.ErrNodesAway, asked: " --partition=cpu"},
		"sinfo fails":         {said: nodes, sinfo: slurmbridge.Output{Code: 1}, want: slurmbridge.ErrNodesAway, asked: " --partition=cpu"},
		"two partitions":      {said: nodes, sinfo: slurmbridge.Output{Stdout: []byte("idle\n")}, want: slurmbridge.ErrRefused, asked: " --partition=cpu,gpu", change: func(s *slurmbridge.Script) { s.Parts = append(s.Parts, slurmbridge.Part{Partition: "gpu"}) }},
		"default partition":   {said: nodes, sinfo: slurmbridge.Output{Stdout: []byte("idle\n")}, want: slurmbridge.ErrRefused, asked: " --all", change: func(s *slurmbridge.Script) { s.Parts[0].Partition = "" }},
		"too many jobs":       {said: "sbatch: error: AssocMaxSubmitJobLimit\nallocation failure: Job violates accounting/QOS policy\n", want: slurmbridge.ErrNotNow},
		"partition is closed": {said: "allocation failure: Required partition not available (inactive or drain)\n", want: slurmbridge.ErrNotNow},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHost()
			slurm, s := open(t, h), script()
			s.Parts[0].Partition = "cpu"
			if c.change != nil {
				c.change(&s)
			}
			h.answer["sbatch"] = slurmbridge.Output{Code: min(1, len(c.said)), Stderr: []byte(c.said)}
			h.answer["sinfo"] = c.sinfo
			err := slurm.Preflight(t.Context(), key(1), s)
			if !errors.Is(err, c.want) || c.want != nil && !strings.Contains(err.Error(), "not available") && !strings.Contains(err.Error(), "qos") && !strings.Contains(err.Error(), "Limit: Job violates") {
				t.Errorf("%v, want %v with Slurm's words", err, c.want)
			}
			want := []string{"sbatch --export=NIL --test-only"}
			if c.said == nodes {
				want = append(want, "sinfo --local --noheader --format=%T"+c.asked)
			}
			if !slices.Equal(h.ran, want) {
				t.Errorf("ran %q, want %q", h.ran, want)
			}
		})
	}
}

// A program of this host gets what a login sets and what the command adds; its end is told exactly.
func TestLocal(t *testing.T) {
	env := map[string]string{"PATH": "/nowhere:relative:/usr/bin:/bin", "HOME": "/home/me", "SQUEUE_FORMAT": "evil", "SLURM_CONF": "/etc/slurm.conf"}
	l := Local{Env: func(name string) string { return env[name] }}
	run := func(argv ...string) (slurmbridge.Output, error) {
		return l.Run(t.Context(), slurmbridge.Command{Argv: argv, Env: []string{"A=b"}, Stdin: []byte("in")})
	}
	out, err := run("sh", "-c", "env | sort; cat; echo err >&2; exit 7")
	if err != nil || out.Code != 7 || string(out.Stderr) != "err\n" || strings.Contains(string(out.Stdout), "evil") ||
		!strings.Contains(string(out.Stdout), "A=b\n") || !strings.Contains(string(out.Stdout), "SLURM_CONF=/etc/slurm.conf\n") || !strings.HasSuffix(string(out.Stdout), "\nin") {
		t.Errorf("%+v, %v", out, err)
	}
	if out, err := run("sh", "-c", "kill -9 $$"); err != nil || out.Code != 137 {
		t.Errorf("killed: %+v, %v", out, err)
	}
	if _, err := run("no-such-program"); !errors.Is(err, slurmbridge.ErrUnreachable) || !strings.Contains(err.Error(), "login node") {
		t.Errorf("missing: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	if _, err := l.Run(ctx, slurmbridge.Command{Argv: []string{"sleep", "60"}}); !errors.Is(err, slurmbridge.ErrUnreachable) || time.Since(begin) > 5*time.Second {
		t.Errorf("too slow: %v after %s", err, time.Since(begin))
	}
	if _, err := run("sh", "-c", "yes | head -c 70000000"); !errors.Is(err, slurmbridge.ErrUnreachable) {
		t.Errorf("an endless answer: %v", err)
	}
}
