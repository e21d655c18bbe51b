package load

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// After a request that did not reach the server at all a worker pauses, from firstPause doubling to longestPause:
// otherwise a dead server would make it spin. The pause is not part of any latency.
const (
	firstPause   = int64(10 * time.Millisecond)
	longestPause = int64(time.Second)
)

// closedLoop runs this rank's workers until all of them are done.
func (r *Run) closedLoop(ctx context.Context) error {
	c := r.options.Closed
	workers := make([]Worker, share(c.Concurrency, r.options.Rank, r.options.Ranks))
	defer closeAll(workers)
	for i := range workers {
		w, err := r.workload.Worker(ctx, i)
		if err != nil {
			return fmt.Errorf("make worker %d: %w", i, err)
		}
		workers[i] = w
	}
	var wg sync.WaitGroup
	for i, w := range workers {
		number := uint64(r.options.Rank + i*r.options.Ranks)
		wg.Go(func() { r.closedWorker(ctx, w, number) })
	}
	wg.Wait()
	return nil
}

func closeAll(workers []Worker) {
	for _, w := range workers {
		if w != nil {
			w.Close()
		}
	}
}

// closedWorker makes one request after the other; number is its place over all ranks.
func (r *Run) closedWorker(ctx context.Context, w Worker, number uint64) {
	var (
		op    Op
		turn  [phases]uint64
		pause int64
	)
	for due := r.start; ; {
		phase, within := r.options.Lengths.at(due - r.start)
		if !within || !r.options.Clock.WaitUntil(due, r.stop) {
			return
		}
		index := turn[phase]*uint64(r.options.Closed.Concurrency) + number
		turn[phase]++
		r.recorder.offered(phase)
		r.recorder.begin(&op, Request{Phase: phase, Index: index, Scheduled: due})
		r.perform(ctx, w, &op)
		if ctx.Err() != nil {
			return
		}
		pause = nextPause(pause, op.kind)
		due = op.Done + int64(r.options.Closed.ThinkTime) + pause
	}
}

func nextPause(pause int64, kind Kind) int64 {
	if !kind.unreached() {
		return 0
	}
	return min(longestPause, max(firstPause, 2*pause))
}
