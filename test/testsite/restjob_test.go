//go:build e2e

package testsite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/cli"
	"assay.bench/slurmbridge/local"
	"assay.bench/slurmbridge/rest"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// A job that goes in by slurmrestd is the one that sbatch makes of the same script, in all that scontrol shows of it.
func TestRESTSubmitsWhatSbatchDoes(t *testing.T) {
	t.Parallel()
	if !isInside() {
		s := site.Up(t, site.Slurm2411)
		s.Root("scontrol", "create", "reservation", "reservationname=later", "starttime=now+1hour", "duration=10", "users=hpc", "nodes=mel2001")
		runInside(t, s, "WORK", "ACCOUNT", "REST_URL")
		return
	}
	runner := cli.Local{Env: os.Getenv}
	first, err := runner.Run(t.Context(), slurmbridge.Command{Argv: append(strings.Fields("sbatch --parsable --hold -o /dev/null "+job), "--wrap", "true")})
	if err != nil || first.Code != 0 {
		t.Fatalf("%v, %s", err, first.Stderr)
	}
	after := "afterok:" + strings.TrimSpace(string(first.Stdout))
	gpus := slurmbridge.Part{Partition: "gpu", Account: of(t, "ACCOUNT"), QOS: "default", Nodes: 1, GPUsPerNode: 2, CPUsPerTask: 4, MemoryMiB: 128}
	cpus := slurmbridge.Part{Partition: "cpu", Account: of(t, "ACCOUNT"), QOS: "default", Nodes: 2, TasksPerNode: 3, CPUsPerTask: 2, MemoryMiB: 100}
	change := func(p slurmbridge.Part, change func(*slurmbridge.Part)) []slurmbridge.Part {
		change(&p)
		return []slurmbridge.Part{p}
	}
	for reason, parts := range map[string][]slurmbridge.Part{
		"little":             {{Partition: "cpu", Account: of(t, "ACCOUNT"), QOS: "default"}},
		"nodes only":         {{Partition: "cpu", Account: of(t, "ACCOUNT"), QOS: "default", Nodes: 3}},
		"tasks":              {cpus},
		"tasks without CPUs": change(cpus, func(p *slurmbridge.Part) { p.CPUsPerTask = 0 }),
		"GPUs":               {gpus},
		"gres":               change(gpus, func(p *slurmbridge.Part) { p.GPUsPerNode, p.Gres = 0, "gpu:a100:1" }),
		"exclusive":          change(cpus, func(p *slurmbridge.Part) { p.Exclusive = true }),
		"constraint":         change(cpus, func(p *slurmbridge.Part) { p.Constraint = "a100&gpu" }),
		"excluded":           change(cpus, func(p *slurmbridge.Part) { p.Nodes, p.Exclude = 1, []string{"mel2001", "mel2003"} }),
		"heterogeneous":      {gpus, cpus},
		"licenses":           change(cpus, func(p *slurmbridge.Part) { p.Licenses = "matlab:2" }),
		"reservation":        change(cpus, func(p *slurmbridge.Part) { p.Nodes, p.Reservation = 1, "later" }),
		// These two wait for another job.
		"dependency":               {cpus},
		"heterogeneous dependency": {gpus, cpus},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			script := slurmbridge.Script{
				Comment: "one job, two ways", TimeLimit: 90 * time.Second, Notice: 60 * time.Second, Parts: parts,
				Directory: filepath.Join(of(t, "WORK"), "same", random(t), "1"), Node: "/bin/true",
			}
			if err := os.MkdirAll(script.Directory, 0o700); err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(reason, "dependency") {
				script.Dependency = after
			}
			origin := random(t)
			sbatch, err := cli.Open(t.Context(), cli.Options{Runner: runner, Origin: origin})
			if err != nil {
				t.Fatal(err)
			}
			key := slurmbridge.NewKey(origin, random(t), 1)
			want := shown(t, runner, sbatch, key, script)
			got := shown(t, runner, openREST(t, of(t, "REST_URL"), runner, origin, &faultyHTTP{}), key, script)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-sbatch +slurmrestd\n%s", diff)
			}
		})
	}
}

// own are the fields in which two equal jobs differ, and two that tell what the client said: sbatch of this version repeats
// the CPUs of a task among the resources, and slurmrestd says 0 for what it was not told.
var own = regexp.MustCompile(`^(JobId|HetJobId|HetJobIdSet|SubmitTime|EligibleTime|AccrueTime|LastSchedEval|Priority|AllocNode:Sid|TresPerTask|OOMKillStep)=`)

// shown submits a job, and is what scontrol shows of it then, a field each.
func shown(t *testing.T, runner slurmbridge.Runner, jobs slurmbridge.Jobs, key slurmbridge.Key, script slurmbridge.Script) []string {
	t.Helper()
	if err := jobs.Submit(t.Context(), key, script); err != nil {
		t.Fatal(err)
	}
	var id string
	found, err := jobs.Find(t.Context(), key)
	for _, j := range found {
		if !j.Over() {
			id = j.ID
		}
	}
	if err != nil || id == "" {
		t.Fatalf("%+v, %v", found, err)
	}
	out, err := runner.Run(t.Context(), slurmbridge.Command{Argv: []string{"scontrol", "show", "job", id}})
	if err := errors.Join(err, jobs.Cancel(context.WithoutCancel(t.Context()), id)); err != nil || out.Code != 0 {
		t.Fatalf("%v, %s", err, out.Stderr)
	}
	var fields []string
	for word := range strings.FieldsSeq(string(out.Stdout)) {
		if !own.MatchString(word) {
			fields = append(fields, word)
		}
	}
	return fields
}

// Every version that the site has carries a job from its submit into accounting, a plain one and a heterogeneous one.
func TestRESTVersions(t *testing.T) {
	t.Parallel()
	if !isInside() {
		runInside(t, site.Up(t, site.Slurm2411), "WORK", "ACCOUNT", "REST_URL")
		return
	}
	part := slurmbridge.Part{Partition: "cpu", Account: of(t, "ACCOUNT"), QOS: "default", Nodes: 1, CPUsPerTask: 1, MemoryMiB: 64}
	for _, version := range []string{"v0.0.40", "v0.0.41", "v0.0.42"} {
		for kind, parts := range map[string][]slurmbridge.Part{"plain": {part}, "heterogeneous": {part, part}} {
			t.Run(version+" "+kind, func(t *testing.T) {
				t.Parallel()
				oneLife(t, version, parts)
			})
		}
	}
	t.Run("notice", func(t *testing.T) {
		t.Parallel()
		origin := random(t)
		jobs := openREST(t, of(t, "REST_URL"), cli.Local{Env: os.Getenv}, origin, &faultyHTTP{})
		script := slurmbridge.Script{Parts: []slurmbridge.Part{part}, TimeLimit: 2 * time.Minute, Notice: 119 * time.Second}
		if _, ended := run(t, jobs, origin, script, "trap 'exit 9' USR1\nfor i in {1..600}; do sleep 0.2; done\n"); ended.ExitCode != 9 {
			t.Errorf("ended: %+v, want the exit code of the program that got USR1", ended)
		}
	})
}

// run hands in a job whose program is a few lines of bash, and returns it as it was before its release and after its end.
func run(t *testing.T, jobs *rest.Slurm, origin string, script slurmbridge.Script, lines string) (held, ended slurmbridge.Job) {
	t.Helper()
	id := random(t)
	if script.Directory == "" {
		script.Directory = filepath.Join(of(t, "WORK"), "life", id, "1")
	}
	script.Node = filepath.Join(script.Directory, "assay-node")
	if err := (local.Files{}).Write(t.Context(), map[string][]byte{script.Node: []byte("#!/bin/bash\n" + lines)}); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(script.Node, 0o700); err != nil {
		t.Fatal(err)
	}
	key := slurmbridge.NewKey(origin, id, 1)
	if err := jobs.Submit(t.Context(), key, script); err != nil {
		t.Fatal(err)
	}
	look := func() slurmbridge.Job {
		found, err := jobs.Find(t.Context(), key)
		if err != nil || len(found) != 1 {
			t.Fatalf("%+v, %v; want one job", found, err)
		}
		return found[0]
	}
	held = look()
	if err := jobs.Release(t.Context(), held.ID); err != nil {
		t.Fatal(err)
	}
	user.Until(t, "the job ends", func() bool { return look().Over() })
	return held, look()
}

// oneLife is that of a job which tells what it found.
func oneLife(t *testing.T, version string, parts []slurmbridge.Part) {
	began := time.Now()
	runner, origin := cli.Local{Env: os.Getenv}, random(t)
	jobs := openREST(t, of(t, "REST_URL"), runner, origin, &faultyHTTP{newest: version})
	if f := jobs.Facts(); f.API != version || f.Version != "24.11.5" || f.Cluster != "meluxina" && version != "v0.0.40" {
		t.Errorf("%+v, want %s", f, version)
	}
	script := slurmbridge.Script{
		Comment: "a life", Directory: filepath.Join(of(t, "WORK"), "life", origin, "1"), Parts: parts, TimeLimit: time.Minute,
	}
	held, ended := run(t, jobs, origin, script, "umask\necho $PWD $SLURM_JOB_NUM_NODES $SLURM_HET_SIZE\nsrun --export=ALL --mpi=none --mem=0 hostname\nexit 3\n")
	key := held.Key
	if !held.Held || held.Phase != slurmbridge.Pending {
		t.Errorf("after the submit: %+v, want it held", held)
	}
	if ended.ExitCode != 3 || ended.Identity() != held.Identity() || strings.Count(ended.Nodes, "mel") != len(parts) {
		t.Errorf("ended: %+v, want exit code 3 on %d nodes", ended, len(parts))
	}
	other, err := cli.Open(t.Context(), cli.Options{Runner: runner, Origin: origin})
	if err != nil {
		t.Fatal(err)
	}
	if jobs, err := other.Find(t.Context(), key); err != nil || len(jobs) != 1 || jobs[0] != ended {
		t.Errorf("squeue knows %+v, %v; slurmrestd %+v", jobs, err, ended)
	}
	checkLog(t, script.Directory, len(parts))
	var past []slurmbridge.Job
	user.Until(t, "accounting knows the end", func() bool {
		past, err = jobs.Past(t.Context(), began.Add(-time.Minute), key)
		return err == nil && len(past) == 1 && past[0].Over()
	})
	ended.Message = "" // accounting does not keep it
	if diff := cmp.Diff(ended, past[0]); diff != "" {
		t.Errorf("-slurmctld +accounting\n%s", diff)
	}
}

// checkLog looks at what the job told in its log.
func checkLog(t *testing.T, dir string, parts int) {
	t.Helper()
	size := ""
	if parts > 1 {
		size = " 2"
	}
	log := filepath.Join(dir, "job.log")
	want := "0077\n" + dir + " 1" + size + "\nmel"
	if text, err := os.ReadFile(log); err != nil || !strings.HasPrefix(string(text), want) {
		t.Errorf("the job told %q, %v; want %q", text, err, want)
	}
	if info, err := os.Stat(log); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("its log: %v, %v; want mode 0600", info, err)
	}
}

// A token that has expired is told from a site that is down, and a new one from refresh cures it.
func TestRESTTokens(t *testing.T) {
	t.Parallel()
	if !isInside() {
		runInside(t, site.Up(t, site.Slurm2411), "WORK", "ACCOUNT", "REST_URL")
		return
	}
	runner, origin := cli.Local{Env: os.Getenv}, random(t)
	given, err := token(t.Context(), runner, "600")
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := rest.Open(t.Context(), rest.Options{URL: of(t, "REST_URL"), Origin: origin, Credentials: func(context.Context) (rest.Credentials, error) {
		return rest.Credentials{User: "hpc", Token: given}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := jobs.List(t.Context()); err != nil {
		t.Error(err)
	}
	if expires, err := jobs.Token(); err != nil || time.Until(expires) < 9*time.Minute || time.Until(expires) > 11*time.Minute {
		t.Errorf("the token expires %v, %v; want in ten minutes", expires, err)
	}
	short, err := token(t.Context(), runner, "1")
	if err != nil {
		t.Fatal(err)
	}
	user.Until(t, "the short token is over", func() bool {
		given = short
		_, err := jobs.List(t.Context())
		return errors.Is(err, slurmbridge.ErrCredentials)
	})
	key := slurmbridge.NewKey(origin, origin, 1)
	for what, old := range map[string]string{"expired": short, "garbled": given[:len(given)-4] + "xxxx", "no token": "nonsense"} {
		given = old
		_, list := jobs.List(t.Context())
		_, past := jobs.Past(t.Context(), time.Now(), key)
		script := slurmbridge.Script{Directory: of(t, "WORK") + "/1", Node: "/bin/true", Parts: []slurmbridge.Part{{Partition: "cpu"}}}
		for verb, err := range map[string]error{
			"List": list, "Past": past, "Submit": jobs.Submit(t.Context(), key, script), "Release": jobs.Release(t.Context(), "1"), "Cancel": jobs.Cancel(t.Context(), "1"),
			"Probe": rest.Prober{Slurm: jobs, Files: local.Files{}}.Probe(t.Context(), of(t, "WORK")),
		} {
			if !errors.Is(err, slurmbridge.ErrCredentials) || !errors.Is(err, slurmbridge.ErrUnreachable) || errors.Is(err, slurmbridge.ErrRefused) {
				t.Errorf("%s with a token that is %s: %v, want ErrCredentials", verb, what, err)
			}
		}
	}
	renewed := openREST(t, of(t, "REST_URL"), runner, origin, &faultyHTTP{})
	if _, err := renewed.List(t.Context()); err != nil {
		t.Error(err)
	}
}

// What Slurm refuses for good is ErrRefused, with its words.
func TestRESTRefusals(t *testing.T) {
	t.Parallel()
	if !isInside() {
		runInside(t, site.Up(t, site.Slurm2411), "WORK", "ACCOUNT", "REST_URL")
		return
	}
	runner, origin := cli.Local{Env: os.Getenv}, random(t)
	jobs := openREST(t, of(t, "REST_URL"), runner, origin, &faultyHTTP{})
	good := slurmbridge.Part{Partition: "cpu", Account: of(t, "ACCOUNT"), QOS: "default"}
	for words, change := range map[string]func(*slurmbridge.Part){
		"Invalid qos specification":                                  func(p *slurmbridge.Part) { p.QOS = "best" },
		"Invalid account or account/partition combination specified": func(p *slurmbridge.Part) { p.Account = "p300000" },
		"Invalid partition name specified":                           func(p *slurmbridge.Part) { p.Partition = "quantum" },
		"No partition specified or system default partition":         func(p *slurmbridge.Part) { p.Partition = "" },
		"Invalid generic resource (gres) specification":              func(p *slurmbridge.Part) { p.Gres = "abacus:1" },
		"Invalid feature specification":                              func(p *slurmbridge.Part) { p.Constraint = "antigravity" },
		"Requested reservation is invalid":                           func(p *slurmbridge.Part) { p.Reservation = "mine" },
		"Invalid license specification":                              func(p *slurmbridge.Part) { p.Licenses = "to:kill" },
	} {
		part := good
		change(&part)
		key := slurmbridge.NewKey(origin, random(t), 1)
		err := jobs.Submit(t.Context(), key, slurmbridge.Script{Directory: of(t, "WORK") + "/1", Node: "/bin/true", Parts: []slurmbridge.Part{part}})
		if !errors.Is(err, slurmbridge.ErrRefused) || !strings.Contains(fmt.Sprint(err), words) {
			t.Errorf("%v, want %s", err, words)
		}
	}
	if found, err := jobs.List(t.Context()); err != nil || len(found) > 0 {
		t.Errorf("%+v, %v; want no job", found, err)
	}
}
