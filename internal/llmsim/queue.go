package llmsim

import (
	"container/list"
	"context"
	"sync"
)

// queue lets a limited number of prompts run and the others wait, first in, first out.
type queue struct {
	limit int

	mu      sync.Mutex
	running int
	waiting list.List // of chan struct{}, closed when the turn has come
	held    int       // tokens of all running prompts
}

// enter returns when it is the caller's turn and says whether it had to wait. Whoever got nil calls leave once.
func (q *queue) enter(ctx context.Context) (waited bool, err error) {
	q.mu.Lock()
	if q.running < q.limit {
		q.running++
		q.mu.Unlock()
		return false, nil
	}
	turn := make(chan struct{})
	place := q.waiting.PushBack(turn)
	q.mu.Unlock()

	select {
	case <-turn:
		return true, nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	select {
	case <-turn: // the turn came at the same moment: pass it on
		q.pass()
	default:
		q.waiting.Remove(place)
	}
	return true, context.Cause(ctx)
}

// leave ends a turn and gives back the tokens that it held.
func (q *queue) leave(tokens int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held -= tokens
	q.pass()
}

// pass gives a turn to the next in line.
func (q *queue) pass() {
	first := q.waiting.Front()
	if first == nil {
		q.running--
		return
	}
	close(q.waiting.Remove(first).(chan struct{}))
}

// hold adds tokens to those that are held and returns the number of running prompts.
func (q *queue) hold(tokens int) (running int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.held += tokens
	return q.running
}

// load is a look at a queue.
type load struct{ running, waiting, held int }

func (q *queue) load() load {
	q.mu.Lock()
	defer q.mu.Unlock()
	return load{running: q.running, waiting: q.waiting.Len(), held: q.held}
}
