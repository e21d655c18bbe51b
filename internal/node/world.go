// Package node is the node side of a run: the batch step that starts the components of a plan, the supervisor of a
// service, and the agent that makes a load. It writes the run directory and finishes a run alone.
package node

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"assay.bench/internal/rundir"
)

// World is everything of the operating system that the node asks for: main fills it in once.
type World struct {
	Args           []string // without the program's name
	Environ        []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	// Executable is the absolute path of this program.
	Executable string
	Hostname   string
	PID        int
	// TempDir is on the node's own disk.
	TempDir string
	Now     func() time.Time
	// Mono is CLOCK_MONOTONIC in nanoseconds.
	Mono    func() int64
	Signals <-chan os.Signal
}

// getenv returns the value of an environment variable, or "".
func (w *World) getenv(name string) string {
	for _, e := range slices.Backward(w.Environ) { // the last one counts
		if v, ok := strings.CutPrefix(e, name+"="); ok {
			return v
		}
	}
	return ""
}

func (w *World) clock() (time.Time, int64) { return w.Now().UTC(), w.Mono() }

// ending is how a job, a rank or a repeat ended. It is an error, so that it can be the cause of a cancelled context.
type ending struct {
	reason    string
	code      int
	message   string
	truncated bool
}

// Error is the message.
func (e *ending) Error() string { return e.message }

func endf(reason, format string, args ...any) *ending {
	return &ending{reason: reason, code: rundir.ExitFailed, message: fmt.Sprintf(format, args...)}
}

// diskFull has an exit code of its own: where nothing can be written the code alone tells the cause.
func diskFull(format string, args ...any) *ending {
	end := endf(rundir.ExitReasonDiskFull, format, args...)
	end.code = rundir.ExitWorkDirUnusable
	return end
}

// asEnding makes an ending of any error: one that is already in it, DiskFull, or Error.
func asEnding(err error) *ending {
	if e, ok := errors.AsType[*ending](err); ok {
		return e
	}
	switch {
	case errors.Is(err, rundir.ErrDiskFull):
		return diskFull("%v", err)
	case rundir.DiskFull(err):
		return diskFull("%v: %v: free some space or raise the quota", err, rundir.ErrDiskFull)
	}
	return endf(rundir.ExitReasonError, "%v", err)
}

func (e *ending) exit(now time.Time) rundir.Exit {
	return rundir.Exit{Version: rundir.Version, Reason: e.reason, Code: e.code, Message: e.message,
		Truncated: e.truncated, Time: now.UTC()}
}

// job is an attempt: its folder and its plan.
type job struct {
	dir      string
	plan     *rundir.Plan
	planHash string
}

// openJob reads the plan of an attempt.
func openJob(dir string) (*job, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(filepath.Join(dir, rundir.PlanFile))
	if err != nil {
		return nil, fmt.Errorf("%w: --dir must name the folder of an attempt, which holds %s", err, rundir.PlanFile)
	}
	plan, err := rundir.ParsePlan(b)
	if _, ok := errors.AsType[*rundir.VersionError](err); ok {
		return nil, &ending{rundir.ExitReasonUnknownPlan, rundir.ExitUnknownPlan, err.Error(), false}
	}
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(b)
	return &job{dir: dir, plan: plan, planHash: hex.EncodeToString(sum[:])}, nil
}

// services lists the services of the whole run.
func (j *job) services() []rundir.Component {
	if len(j.plan.AllServices) > 0 {
		return j.plan.AllServices
	}
	var out []rundir.Component
	for _, s := range j.plan.Services {
		out = append(out, rundir.Component{Name: s.Name, Ranks: s.Ranks, Group: s.Group})
	}
	return out
}

// clients lists the clients of the whole run.
func (j *job) clients() []rundir.Component {
	if len(j.plan.AllClients) > 0 {
		return j.plan.AllClients
	}
	var out []rundir.Component
	for _, c := range j.plan.Clients {
		out = append(out, rundir.Component{Name: c.Name, Ranks: c.Ranks})
	}
	return out
}

// rankDir is the folder of a component's rank, in this job or another.
func (j *job) rankDir(c rundir.Component, rank int) string {
	attempt := j.dir
	if c.Job != "" {
		attempt = filepath.Join(c.Job, rundir.CurrentLink)
	}
	return rundir.Rank(attempt, c.Name, rank)
}

// lastRepeat is the last one that this job makes.
func (j *job) lastRepeat() int { return j.plan.Repeats.First + j.plan.Repeats.Count - 1 }

// poll is how often files of other ranks are looked at: on one host they are cheap, on a network file system not.
func (j *job) poll() time.Duration {
	if j.plan.Launcher == rundir.LaunchProcess {
		return 50 * time.Millisecond
	}
	return 250 * time.Millisecond
}

// writeExit writes the exit.json of a rank's folder or of a repeat's.
func writeExit(dir string, e *ending, now time.Time) error {
	return writeJSON(filepath.Join(dir, rundir.ExitFile), e.exit(now))
}

// writeJSON writes a file that is read once it is there, and makes its folder.
func writeJSON(path string, v any) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return rundir.ReplaceDurable(path, append(b, '\n'))
}
