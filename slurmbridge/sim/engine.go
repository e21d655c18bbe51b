package sim

import (
	"container/heap"
	"slices"
	"time"
)

// event is something that happens at a time, unless it is out of date then: do checks.
type event struct {
	at  time.Time
	seq int
	do  func()
}

// events is a heap: the earliest first, in the order in which they were planned.
type events struct {
	list []event
	seq  int
}

func (q *events) Len() int { return len(q.list) }
func (q *events) Less(i, j int) bool {
	if !q.list[i].at.Equal(q.list[j].at) {
		return q.list[i].at.Before(q.list[j].at)
	}
	return q.list[i].seq < q.list[j].seq
}
func (q *events) Swap(i, j int) { q.list[i], q.list[j] = q.list[j], q.list[i] }
func (q *events) Push(x any)    { q.list = append(q.list, x.(event)) }
func (q *events) Pop() any {
	last := len(q.list) - 1
	e := q.list[last]
	q.list[last] = event{}
	q.list = q.list[:last]
	return e
}

// after plans something.
func (c *Cluster) after(d time.Duration, do func()) {
	c.queue.seq++
	heap.Push(&c.queue, event{c.now.Add(d), c.queue.seq, do})
}

// advance plays everything that is due, each at its own time.
func (c *Cluster) advance(now time.Time) {
	now = now.Round(0)
	for len(c.queue.list) > 0 && !c.queue.list[0].at.After(now) {
		e := heap.Pop(&c.queue).(event)
		if e.at.After(c.now) {
			c.now = e.at
		}
		e.do()
	}
	if now.After(c.now) {
		c.now = now
	}
	c.forget()
}

// forget drops the records of jobs that ended long ago.
func (c *Cluster) forget() {
	old := func(j *job) bool { return j.over() && c.now.Sub(j.ended) > c.o.Remember }
	if slices.ContainsFunc(c.jobs, old) {
		c.drop(old)
	}
}

func (c *Cluster) drop(which func(*job) bool) {
	c.jobs = slices.DeleteFunc(c.jobs, func(j *job) bool {
		if which(j) {
			if c.o.Accounts {
				c.forgotten = append(c.forgotten, j)
			}
			if c.byID[j.id] == j {
				delete(c.byID, j.id)
			}
			return true
		}
		return false
	})
}

// scaled is how long something takes that a node does by itself.
func (c *Cluster) scaled(d time.Duration) time.Duration { return time.Duration(float64(d) / c.o.Speed) }
