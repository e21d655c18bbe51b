package conformance

import (
	"encoding/json"
	"path"

	"assay.bench/internal/rundir"
)

// read returns a file, nil when it is missing.
func (r *run) read(p string) []byte {
	r.t.Helper()
	got, err := r.Files.Read(r.t.Context(), p)
	r.must(err)
	return got[p]
}

// status of a rank below an attempt's folder; nil before the first.
func (r *run) status(attempt, component string, rank int) *rundir.Status {
	r.t.Helper()
	b := r.read(path.Join(rundir.Rank(attempt, component, rank), rundir.StatusFile))
	if b == nil {
		return nil
	}
	s, err := rundir.ParseStatus(b)
	r.must(err)
	return s
}

// exit reads exit.json in a folder; nil when there is none.
func (r *run) exit(folder string) *rundir.Exit {
	r.t.Helper()
	b := r.read(path.Join(folder, rundir.ExitFile))
	if b == nil {
		return nil
	}
	e, err := rundir.ParseExit(b)
	r.must(err)
	if e.Time.IsZero() {
		r.t.Errorf("%s/exit.json has no time", folder)
	}
	return e
}

// wantExit compares reason and code.
func (r *run) wantExit(folder, reason string, code int) {
	r.t.Helper()
	e := r.exit(folder)
	if e == nil {
		r.t.Errorf("%s has no exit.json, want %s", folder, reason)
		return
	}
	if e.Reason != reason || e.Code != code {
		r.t.Errorf("%s ended with %s, code %d (%s), want %s, code %d", folder, e.Reason, e.Code, e.Message, reason, code)
	}
}

func (r *run) wantLink(p, want string) {
	r.t.Helper()
	got, ok := r.Link(p)
	if got != want || ok != (want != "") {
		r.t.Errorf("%s -> %q, want %q", p, got, want)
	}
}

// head is what every rank's result.json begins with, and its end.
type head struct {
	Version   int    `json:"version"`
	Client    string `json:"client"`
	Rank      int    `json:"rank"`
	Ranks     int    `json:"ranks"`
	Repeat    int    `json:"repeat"`
	T0        int64  `json:"t0"`
	Window    int64  `json:"window"`
	Truncated bool   `json:"truncated"`
	SHA256    string `json:"sha256"`
	End       bool   `json:"end"`
	Measured  struct {
		Offered   int64 `json:"offered"`
		Succeeded int64 `json:"succeeded"`
		Failed    int64 `json:"failed"`
	} `json:"measured"`
}

// result reads the result of a rank of the client in a repeat, and checks that it is whole and this rank's.
func (r *run) result(attempt string, rank, repeat int) head {
	r.t.Helper()
	var h head
	file := path.Join(rundir.Repeat(rundir.Rank(attempt, clientName, rank), repeat), rundir.ResultFile)
	b := r.read(file)
	if b == nil {
		r.t.Errorf("%s is missing", file)
		return h
	}
	r.must(json.Unmarshal(b, &h))
	if !h.End || len(h.SHA256) != 64 || h.Client != clientName || h.Rank != rank || h.Ranks != 2 || h.Repeat != repeat || h.T0 == 0 {
		r.t.Errorf("%s: %+v: not whole, or of another rank or repeat", file, h)
	}
	return h
}

// counters reads what a service's counters did in a repeat.
func (r *run) counters(attempt, service string, rank, repeat int) *rundir.Counters {
	r.t.Helper()
	file := path.Join(rundir.Repeat(rundir.Rank(attempt, service, rank), repeat), rundir.CountersFile)
	b := r.read(file)
	if b == nil {
		r.t.Errorf("%s is missing", file)
		return &rundir.Counters{}
	}
	c, err := rundir.ParseCounters(b)
	r.must(err)
	return c
}

// control writes control.json.
func (r *run) control(attempt, want string, sequence int64) {
	r.t.Helper()
	b, err := json.Marshal(rundir.Control{Version: rundir.Version, Sequence: sequence, Want: want})
	r.must(err)
	r.must(r.Files.Write(r.t.Context(), map[string][]byte{path.Join(attempt, rundir.ControlFile): b}))
}

// awaitPhase waits until a rank says that it is in a phase.
func (r *run) awaitPhase(attempt, component string, rank int, phase string) *rundir.Status {
	r.t.Helper()
	var s *rundir.Status
	r.eventually(component+" is "+phase, func() bool {
		s = r.status(attempt, component, rank)
		return s != nil && s.Phase == phase
	})
	return s
}
