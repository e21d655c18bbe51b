package slurmjob

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"assay.bench/slurmbridge"
)

// asker is a batch system that answers preflights.
type asker struct {
	slurmbridge.Jobs

	asked int
	err   error
}

func (a *asker) Preflight(context.Context, slurmbridge.Key, slurmbridge.Script) error {
	a.asked++
	return a.err
}

// A request is asked about once in ten minutes, whatever the number of jobs that make it; a question that failed is asked
// again.
func TestPreflightOncePerRequest(t *testing.T) {
	now := noon
	k := New(Deps{Now: func() time.Time { return now }})
	a := &asker{}
	request := func(nodes int) error {
		m := toMake()
		m.out.Script.Parts = []slurmbridge.Part{{Partition: "gpu", Nodes: nodes}}
		return k.impossible(t.Context(), sj(), slurmbridge.Door{Jobs: a}, m)
	}
	step := func(what string, err error, asked int) {
		t.Helper()
		if a.asked != asked || !errors.Is(err, a.err) && a.err != nil && errors.Is(a.err, slurmbridge.ErrRefused) {
			t.Errorf("%s: %v after %d questions, want %d", what, err, a.asked, asked)
		}
	}
	step("the first", request(1), 1)
	step("the same", request(1), 1)
	step("another", request(2), 2)
	now = now.Add(preflightHolds + time.Second)
	a.err = fmt.Errorf("%w: no such partition", slurmbridge.ErrRefused)
	step("much later", request(1), 3)
	step("refused again", request(1), 3)
	a.err = slurmbridge.ErrUnreachable
	if err := request(3); err != nil {
		t.Errorf("a question that failed: %v, want nothing", err)
	}
	if err := request(3); err != nil || a.asked != 5 {
		t.Errorf("after one that failed: %v after %d questions, want 5", err, a.asked)
	}
	if err := k.impossible(t.Context(), sj(), slurmbridge.Door{}, toMake()); err != nil {
		t.Errorf("a batch system without preflights: %v", err)
	}
}
