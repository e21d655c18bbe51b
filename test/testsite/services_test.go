//go:build e2e

package testsite

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// ending is how the job of a service is ended in the middle of a load.
type ending struct {
	name string
	kill func(t *testing.T, s *site.Site, id string)
}

func endings() []ending {
	scancel := func(options string) func(*testing.T, *site.Site, string) {
		return func(_ *testing.T, s *site.Site, id string) { s.Sh("scancel " + options + " " + id) }
	}
	process := func(words string) func(*testing.T, *site.Site, string) {
		return func(t *testing.T, _ *site.Site, id string) {
			if killed := killProcesses(t, id, "assay-node", words); killed != 1 {
				t.Errorf("job %s has %d processes %q, want one", id, killed, words)
			}
		}
	}
	return []ending{
		{"the job is cancelled", scancel("")},
		{"the job gets KILL", scancel("--signal=KILL")},
		{"all of it is killed", func(t *testing.T, _ *site.Site, id string) {
			killProcesses(t, id, "bash", "")       // the script, which would write how it ended
			killProcesses(t, id, "assay-node", "") // what it has started
		}},
		{"the server is killed", process(" llmsim ")},
		{"what serves is killed", process(" serve ")},
	}
}

// killProcesses sends KILL to the processes of a job that run a program, with arguments that begin with these words.
func killProcesses(t *testing.T, id, program, words string) (killed int) {
	t.Helper()
	for _, pid := range user.PIDs(t, "/proc") {
		environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !bytes.Contains(environ, []byte("SLURM_JOB_ID="+id+"\x00")) {
			continue
		}
		name, arguments, _ := strings.Cut(commandOf(pid), " ")
		if !strings.HasPrefix(filepath.Base(name), program) || !strings.HasPrefix(" "+arguments+" ", words) {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err == nil { // else it went before
			killed++
		}
	}
	return killed
}

func commandOf(pid int) string {
	p, _ := user.ProcessOf(pid)
	return p.Command
}

// victim is a benchmark whose service's job is ended.
type victim struct {
	name, placement string
	ending          ending
	// life is from the first request of the load to the end of the service's job.
	life    time.Duration
	due     time.Time
	service string // its attempt
}

// shared is after how long a load is in the run's folder at least in part: what is on a node is lost with it.
const shared = 6 * time.Second

// killServices ends the jobs of services at random instants. Each leaves a result that can be read, and that says that it
// is not whole.
func killServices(t *testing.T, s *site.Site, random *rand.Rand, kills int) {
	t.Helper()
	p := comes(t, s, "ssh")
	p.Up()
	var victims []*victim
	recipes := []string{p.siteRecipe()}
	for n := range kills {
		v := &victim{
			name: fmt.Sprintf("killed%d", n+1), placement: []string{"SharedJob", "SeparateJobs"}[random.IntN(2)],
			ending: endings()[n%len(endings())], life: time.Duration(random.Int64N(int64(2 * shared))),
		}
		victims = append(victims, v)
		recipes = append(recipes, fmt.Sprintf(aBenchmark, v.name, v.placement, "10m", "60s", "Stop"))
	}
	p.apply("killed", strings.Join(recipes, "---\n"))
	user.Until(t, "all jobs of services are killed", func() bool {
		left := 0
		for _, v := range victims {
			if !p.ends(v) {
				left++
			}
		}
		return left == 0
	})
	p.Must("assay", "kubectl", "wait", "--for=condition=Complete", "bm", "--all", "--timeout", user.Within.String())
	var runs []string
	for _, v := range victims {
		run := filepath.Join(v.service, "..", "..")
		runs = append(runs, run)
		p.checkPartial(v, run)
	}
	a := p.Must("assay", append([]string{"report"}, runs...)...)
	for _, v := range victims {
		if !strings.Contains(a.Stdout, "✗ "+v.name+" ") {
			t.Errorf("assay report says nothing of %s, or nothing bad:\n%s%s", v.name, a.Stdout, a.Stderr)
		}
	}
	p.leaves()
}

// ends ends the service's job when it is time to, and says whether that is done.
func (p *person) ends(v *victim) bool {
	if v.ending.kill == nil {
		return true
	}
	if v.due.IsZero() {
		for _, attempt := range p.attempts(v.name) {
			if _, err := os.Stat(filepath.Join(attempt, "sim")); err == nil {
				v.service = attempt
			}
			if s := p.Status(rundir.Rank(attempt, "load", 0)); s.Live != nil && s.Live.Requests > 0 {
				v.due = time.Now().Add(v.life)
			}
		}
	}
	if v.due.IsZero() || v.service == "" || time.Now().Before(v.due) {
		return false
	}
	id := claim(p.t, v.service)
	p.t.Logf("%s, %s, job %s: %s after %s of load", v.name, v.placement, id, v.ending.name, v.life)
	v.ending.kill(p.t, p.site, id)
	v.ending.kill = nil
	return true
}

// checkPartial looks at the result of a run whose service was ended.
func (p *person) checkPartial(v *victim, run string) {
	r := p.Result(run)
	p.t.Logf("%s, %s: %s: %s", v.name, v.ending.name, r.Outcome, r.Message)
	if !slices.Contains([]string{results.Partial, results.Failed, results.Aborted}, r.Outcome) || r.Message == "" || r.RepeatsWhole != 0 || r.Baseline {
		p.t.Errorf("%s: %s %q, %d repeats whole, a baseline: %t; want no whole repeat, and why", v.name, r.Outcome, r.Message, r.RepeatsWhole, r.Baseline)
	}
	for _, c := range r.Clients {
		for _, part := range c.Repeats {
			if part.Whole || part.Reason == "" {
				p.t.Errorf("%s: client %s, repeat %d: whole %t, %q", v.name, c.Name, part.Repeat, part.Whole, part.Reason)
			}
		}
		if c.Measured.Offered == 0 && (v.life > shared || v.ending.name != endings()[2].name) {
			p.t.Errorf("%s: %s after %s of load: nothing of it is left", v.name, v.ending.name, v.life)
		}
	}
	if len(r.Clients) != 1 {
		p.t.Errorf("%s: clients %+v, want one", v.name, r.Clients)
	}
}
