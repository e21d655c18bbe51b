package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"assay.bench/internal/rundir"
)

// rank is what a service's and a client's rank have in common.
type rank struct {
	world  *World
	job    *job
	name   string
	number int
	dir    string
	// lostAfter is how long another rank's heartbeat may stand still.
	lostAfter time.Duration

	status  *statusFile
	events  *rundir.EventLog
	control *control
	// stop ends the rank's context with a cause, an *ending.
	stop context.CancelCauseFunc
	// drain is closed when control.json asks to drain.
	drain     chan struct{}
	drainOnce sync.Once
	// flush gets a value for each USR1.
	flush chan struct{}
	// timeLimit says that the time limit is near.
	timeLimit atomic.Bool
	// refresh brings the status up to date before a heartbeat.
	refresh func(*rundir.Status)
	// provenance is closed when provenance.json is written.
	provenance chan struct{}
	// warnings are what a reader of the result must know of this rank's end; only the goroutine that does the work adds to them.
	warnings []string
	// gpuCheck gets what came of the check of the GPUs, once; nil for a rank that asks for none.
	gpuCheck chan rundir.GPUCheck
}

// secrets are what a rank gets over its standard input.
type secrets struct {
	Credential *rundir.Credential `json:"credential,omitempty"`
}

func readSecrets(r io.Reader) (secrets, error) {
	var s secrets
	b, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return s, fmt.Errorf("standard input: %w", err)
	}
	if len(b) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(b, &s); err != nil {
		return s, errors.New("standard input: it holds the component's credential as JSON, or nothing")
	}
	return s, nil
}

// refuse ends a rank that cannot even begin.
func (r *rank) refuse(err error) int {
	r.refresh = func(*rundir.Status) {}
	return r.run(rundir.PhaseWaiting, nil, func(context.Context) *ending {
		end := asEnding(err)
		if err := writeExit(rundir.Repeat(r.dir, r.job.plan.Repeats.First), end, r.world.Now()); err != nil {
			r.sayf("%v", err)
		}
		return end
	})
}

// run opens the rank's folder, does the work and closes the folder. It returns the exit code.
func (r *rank) run(phase string, image *rundir.Image, work func(ctx context.Context) *ending) int {
	ctx, stop := context.WithCancelCause(context.Background())
	r.stop, r.drain, r.flush = stop, make(chan struct{}), make(chan struct{}, 1)
	r.provenance = make(chan struct{})
	if err := r.open(phase); err != nil {
		r.sayf("%v", err)
		return rundir.ExitFailed
	}
	r.log("Started", "pid", r.world.PID, "plan", r.job.planHash, "argv", r.world.Args)
	beats, stopBeats := context.WithCancel(context.Background())
	var background sync.WaitGroup
	background.Go(func() { r.status.beat(beats, r.refresh) })
	background.Go(func() { r.follow(beats) })
	background.Go(func() { r.recordProvenance(beats, image) })

	end := work(ctx)
	stopBeats()
	background.Wait()
	code := r.close(end)
	stop(nil)
	return code
}

func (r *rank) open(phase string) error {
	if err := os.MkdirAll(filepath.Join(r.dir, rundir.SamplesDir), 0o700); err != nil {
		return fmt.Errorf("%w: the folder of the run must be writable for the user of the job", err)
	}
	r.control = newControl(r.job.dir, time.Now())
	r.status = newStatus(r.world, r.dir, phase, r.job.plan.Repeats.First, func(err error) { r.stop(asEnding(err)) })
	if err := r.status.set(func(*rundir.Status) {}); err != nil {
		return err
	}
	var err error
	r.events, err = rundir.OpenEvents(filepath.Join(r.dir, rundir.EventsFile), r.name, r.number, r.world.PID, r.world.clock)
	return err
}

// close writes how the rank ended: for the record, in its status and in its exit.json.
func (r *rank) close(end *ending) int {
	if end.code != rundir.ExitOK {
		r.sayf("%s: %s", end.reason, end.message)
	}
	r.log("Ended", "reason", end.reason, "code", end.code, "message", end.message)
	phase := rundir.PhaseEnded
	if end.code != rundir.ExitOK {
		phase = rundir.PhaseFailed
	}
	exit := end.exit(r.world.Now())
	exit.Warnings = r.warnings
	err := errors.Join(
		writeJSON(filepath.Join(r.dir, rundir.ExitFile), exit),
		r.status.set(func(s *rundir.Status) {
			s.Phase, s.Reason, s.Message = phase, end.reason, end.message
			s.Ready, s.ServerPID, s.Live = false, 0, nil
		}),
		r.events.Close())
	if err != nil {
		r.sayf("%v", err)
		return max(end.code, asEnding(err).code)
	}
	return end.code
}

// follow obeys signals and control.json until ctx ends.
func (r *rank) follow(ctx context.Context) {
	tick := time.NewTicker(controlEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case sig := <-r.world.Signals:
			r.signalled(sig)
		case now := <-tick.C:
			switch r.control.look(now) {
			case rundir.WantStop:
				r.stop(stopByControl())
			case rundir.WantDrain:
				r.drainOnce.Do(func() {
					r.log("Drain")
					close(r.drain)
				})
			}
		}
	}
}

func stopByControl() *ending {
	return endf(rundir.ExitReasonStopped, "%s asked to stop", rundir.ControlFile)
}

func (r *rank) signalled(sig os.Signal) {
	r.log("Signal", "signal", sig.String())
	if sig == syscall.SIGUSR1 {
		r.timeLimit.Store(true)
		select {
		case r.flush <- struct{}{}:
		default: // one is waiting already
		}
		return
	}
	reason := rundir.ExitReasonStopped
	if r.timeLimit.Load() {
		reason = rundir.ExitReasonTimeLimit
	}
	r.stop(endf(reason, "ended by signal %s", sig))
}

// draining says whether control.json has asked to drain.
func (r *rank) draining() bool {
	select {
	case <-r.drain:
		return true
	default:
		return false
	}
}

// log writes an event. The log explains a run; that it cannot be written is said once by what matters more.
func (r *rank) log(event string, fields ...any) {
	if err := r.events.Log(event, fields...); err != nil && rundir.DiskFull(err) {
		r.stop(asEnding(err))
	}
}

// sayf tells the job's log.
func (r *rank) sayf(format string, args ...any) {
	fmt.Fprintf(r.world.Stderr, "%s/%d: "+format+"\n", append([]any{r.name, r.number}, args...)...)
}

// warnf tells the job's log and, through exit.json, the result: once what happens in each repeat.
func (r *rank) warnf(format string, args ...any) {
	words := fmt.Sprintf(format, args...)
	r.sayf("%s", words)
	if !slices.Contains(r.warnings, words) {
		r.warnings = append(r.warnings, words)
	}
}

// cause is why a context ended, as an ending.
func cause(ctx context.Context) *ending { return asEnding(context.Cause(ctx)) }
