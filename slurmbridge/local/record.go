package local

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"assay.bench/slurmbridge"
)

// record is job.json.
type record struct {
	Key       slurmbridge.Key `json:"key"`
	Directory string          `json:"directory"`
	Comment   string          `json:"comment,omitempty"`
	TimeLimit time.Duration   `json:"timeLimit,omitempty"`
	Notice    time.Duration   `json:"notice,omitempty"`
	KillWait  time.Duration   `json:"killWait,omitempty"`
	Login     bool            `json:"login,omitempty"`
	Submitted time.Time       `json:"submitted"`
}

// ending is end.json. Time is in Unix nanoseconds.
type ending struct {
	State  string `json:"state"`
	Code   int    `json:"code"`
	Signal int    `json:"signal"`
	Time   int64  `json:"time"`
}

// store makes the job's folder under the next free id: whole, or not at all.
func (h *Host) store(rec record, script []byte) error {
	jobs := filepath.Join(h.o.StateDir, "jobs")
	tmp, err := os.MkdirTemp(jobs, ".submit-")
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	defer os.RemoveAll(tmp)
	b, err := json.Marshal(rec)
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	for name, content := range map[string][]byte{"job.json": b, "job.sh": script, "runner.sh": runnerText} {
		if err := os.WriteFile(filepath.Join(tmp, name), content, 0o600); err != nil {
			return fmt.Errorf("submit: %w", err)
		}
	}
	n, err := h.highest()
	if err != nil {
		return fmt.Errorf("submit: %w", err)
	}
	for {
		n++
		err := os.Rename(tmp, h.path(fmt.Sprintf("L%d", n)))
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) && !errors.Is(err, syscall.ENOTEMPTY) {
			return fmt.Errorf("submit: %w", err)
		}
	}
	return nil
}

// highest is the highest number in use, or that was in use when the newest job was forgotten.
func (h *Host) highest() (int, error) {
	jobs := filepath.Join(h.o.StateDir, "jobs")
	entries, err := os.ReadDir(jobs)
	if err != nil {
		return 0, err
	}
	top := 0
	if last, err := os.Readlink(filepath.Join(jobs, "last")); err == nil {
		top = number(last)
	}
	for _, e := range entries {
		top = max(top, number(e.Name()))
	}
	return top, nil
}

// forget removes an ended job; its id stays used.
func (h *Host) forget(id string) error {
	jobs := filepath.Join(h.o.StateDir, "jobs")
	top, err := h.highest()
	if err != nil {
		return err
	}
	last, gone := filepath.Join(jobs, "last"), filepath.Join(jobs, ".gone-"+id)
	tmp := fmt.Sprintf("%s.%d", last, os.Getpid())
	if err := errors.Join(ignore(os.Remove(tmp), fs.ErrNotExist), os.Symlink(fmt.Sprintf("L%d", top), tmp), os.Rename(tmp, last)); err != nil {
		return err
	}
	return errors.Join(ignore(os.Rename(h.path(id), gone), fs.ErrNotExist), os.RemoveAll(gone))
}

// load reads a job's record. An unknown job has a record without a key, and no error.
func (h *Host) load(id string) (record, error) {
	var rec record
	if number(id) == 0 {
		return rec, nil
	}
	b, err := os.ReadFile(h.path(id, "job.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return rec, nil
	}
	if err != nil {
		return rec, err
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, fmt.Errorf("job.json of %s is damaged: %w", id, err)
	}
	return rec, nil
}

func (h *Host) loadEnd(id string) (e ending, found bool, err error) {
	b, err := os.ReadFile(h.path(id, "end.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return e, false, nil
	}
	if err != nil {
		return e, false, err
	}
	if err := json.Unmarshal(b, &e); err != nil {
		return e, false, fmt.Errorf("end.json of %s is damaged: %w", id, err)
	}
	return e, true, nil
}

func (h *Host) writeEnd(id string, e ending) error {
	e.Time = h.o.Now().UnixNano()
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return writeWhole(h.path(id, "end.json"), b)
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}
