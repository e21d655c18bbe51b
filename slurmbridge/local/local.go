// Package local is the batch system of one host without one: real processes, each job in a session of its own, with
// its state on disk, so that jobs outlive assay and are found again.
//
// A job's folder in the state folder holds all there is to know of it; every step is one atomic change there:
//
//	job.json job.sh runner.sh   the submit, by one rename of the whole folder
//	released                    the release
//	runner -> pid.start.boot    the claim of the one process that may run the job, or "cancelled"
//	temp -> folder              where the job's processes keep what is for this host's disk
//	started                     pid and start of the job's first process
//	end.json                    how it ended, by the runner
//
// A job sees these variables and no others: PATH, HOME, USER, LOGNAME, SHELL, TMPDIR and CUDA_VISIBLE_DEVICES as they
// were where assay was started, LANG=C.UTF-8, SLURM_JOB_ID, SLURM_JOB_NAME and ASSAY_JOB, which is the key.
package local

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"assay.bench/slurmbridge"
)

//go:embed runner.sh
var runnerText []byte

// Options of Open. StateDir and Origin are required.
type Options struct {
	// StateDir holds the jobs; it is made with mode 0700. Control planes of different origins may share it.
	StateDir string
	// Origin of the control plane, as for slurmbridge.NewKey.
	Origin string
	// KillWait is the time between TERM and KILL of a job whose script names none; 0 takes 10 s.
	KillWait time.Duration
	// Remember is how long an ended job is listed; 0 takes 24 h.
	Remember time.Duration
	// Now is the clock; nil takes time.Now.
	Now func() time.Time
}

// Host runs jobs as processes of this host. It implements slurmbridge.Jobs, Files and Prober.
type Host struct {
	Files
	o      Options
	origin string
	boot   string
	// onlyLooks is set by Look.
	onlyLooks bool

	mu sync.Mutex
	// ended jobs never change: they are read from disk once.
	ended map[string]slurmbridge.Job
	// tried is when a runner was last started, by id; reaping holds the ids whose processes this process is ending.
	tried   map[string]time.Time
	reaping map[string]bool
}

// Open opens the state folder and starts what was released before and never began.
func Open(o Options) (*Host, error) {
	h, err := newHost(o)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Join(h.o.StateDir, "jobs"), 0o700); err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	if _, err := h.List(context.Background()); err != nil {
		return nil, err
	}
	return h, h.sweep()
}

// Look lists the jobs that a Host would, and changes nothing: it starts, ends, settles and forgets no job, and needs no
// state folder.
func Look(ctx context.Context, o Options) ([]slurmbridge.Job, error) {
	h, err := newHost(o)
	if err != nil || !exists(filepath.Join(h.o.StateDir, "jobs")) {
		return nil, err
	}
	h.onlyLooks = true
	return h.List(ctx)
}

func newHost(o Options) (*Host, error) {
	o.KillWait = cmp.Or(o.KillWait, 10*time.Second)
	o.Remember = cmp.Or(o.Remember, 24*time.Hour)
	if o.Now == nil {
		o.Now = time.Now
	}
	origin := slurmbridge.Origin8(o.Origin)
	if len(origin) != 8 {
		return nil, fmt.Errorf("origin %q: it needs 8 hexadecimal digits", o.Origin)
	}
	abs, err := filepath.Abs(o.StateDir)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	o.StateDir = abs
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return nil, fmt.Errorf("jobs as local processes need Linux with /proc: %w", err)
	}
	return &Host{
		o: o, origin: origin, boot: strings.TrimSpace(string(boot)),
		ended: map[string]slurmbridge.Job{}, tried: map[string]time.Time{}, reaping: map[string]bool{},
	}, nil
}

// sweep removes what a submit or a removal left half done long ago: no other process can be at it any more.
func (h *Host) sweep() error {
	half, err := filepath.Glob(filepath.Join(h.o.StateDir, "jobs", ".*"))
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	for _, p := range half {
		info, err := os.Lstat(p)
		if err != nil || h.o.Now().Sub(info.ModTime()) < time.Hour {
			continue // gone meanwhile, or still in the making
		}
		if err := os.RemoveAll(p); err != nil {
			return fmt.Errorf("state folder: %w", err)
		}
	}
	return nil
}

// List returns the jobs of this origin, oldest first.
func (h *Host) List(ctx context.Context) ([]slurmbridge.Job, error) {
	entries, err := os.ReadDir(filepath.Join(h.o.StateDir, "jobs"))
	if err != nil {
		return nil, fmt.Errorf("%w: state folder: %w", slurmbridge.ErrUnreachable, err)
	}
	var jobs []slurmbridge.Job
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("%w: %w", slurmbridge.ErrUnreachable, err)
		}
		if number(e.Name()) == 0 {
			continue
		}
		j, ok, err := h.look(e.Name())
		if err != nil {
			return nil, fmt.Errorf("%w: job %s: %w", slurmbridge.ErrUnreachable, e.Name(), err)
		}
		if ok {
			jobs = append(jobs, j)
		}
	}
	slices.SortFunc(jobs, func(a, b slurmbridge.Job) int { return cmp.Compare(number(a.ID), number(b.ID)) })
	return jobs, nil
}

// Find returns the jobs under the keys, oldest first.
func (h *Host) Find(ctx context.Context, keys ...slurmbridge.Key) ([]slurmbridge.Job, error) {
	jobs, err := h.List(ctx)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(jobs, func(j slurmbridge.Job) bool { return !slices.Contains(keys, j.Key) }), nil
}

// Submit stores a job, held. What cannot be rendered is refused.
func (h *Host) Submit(_ context.Context, key slurmbridge.Key, s slurmbridge.Script) error {
	text, err := s.Render(key)
	if err != nil {
		return fmt.Errorf("%w: %w", slurmbridge.ErrRefused, err)
	}
	if key.Origin() != h.origin {
		return fmt.Errorf("%w: key %s is not of origin %s", slurmbridge.ErrRefused, key, h.origin)
	}
	rec := record{
		Key: key, Directory: s.Directory, Comment: s.Comment, TimeLimit: s.TimeLimit, Notice: s.Notice, KillWait: s.KillWait,
		Login: len(s.Modules) > 0, Submitted: h.o.Now().UTC().Round(0),
	}
	return h.store(rec, text)
}

// Release starts a job. The intent is on disk before the process, and the process claims the job: however often it is
// tried, by however many processes of assay, the job starts once.
func (h *Host) Release(_ context.Context, id string) error {
	rec, err := h.load(id)
	if err != nil || rec.Key.Origin() != h.origin {
		return err
	}
	if exists(h.path(id, "runner")) {
		return nil
	}
	if err := writeWhole(h.path(id, "released"), nil); err != nil {
		return fmt.Errorf("release %s: %w", id, err)
	}
	return h.start(id, rec)
}

// Cancel ends a job: TERM to its script, KILL to all that is left of it after its kill wait. It does not wait.
func (h *Host) Cancel(_ context.Context, id string) error {
	rec, err := h.load(id)
	if err != nil || rec.Key.Origin() != h.origin || exists(h.path(id, "end.json")) {
		return err
	}
	// Who holds the claim before a runner does keeps every runner out.
	err = os.Symlink(cancelled, h.path(id, "runner"))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cancel %s: %w", id, err)
	}
	owner, err := os.Readlink(h.path(id, "runner"))
	if err != nil {
		return fmt.Errorf("cancel %s: %w", id, err)
	}
	if owner == cancelled {
		return h.writeEnd(id, ending{State: "CANCELLED"})
	}
	// The runner's watch repeats the signal while this mark is there: bash loses one that comes just before it waits.
	marked := writeWhole(h.path(id, "cancel"), nil)
	if p, ok := parseProcess(owner); ok && p.alive(h.boot) {
		return p.signalTerm() // also where the disk is full
	}
	if marked != nil {
		return fmt.Errorf("cancel %s: %w", id, marked)
	}
	h.reap(id, rec)
	return nil
}

// cancelled is the claim of a job that never started.
const cancelled = "cancelled"

// number of an id such as L12; 0 when it is none.
func number(id string) int {
	digits, ok := strings.CutPrefix(id, "L")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || "L"+strconv.Itoa(n) != id {
		return 0
	}
	return n
}

func (h *Host) path(id string, names ...string) string {
	return filepath.Join(append([]string{h.o.StateDir, "jobs", id}, names...)...)
}
