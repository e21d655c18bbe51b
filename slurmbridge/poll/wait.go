package poll

import (
	"context"
	"time"
)

// poke leaves one mark in a channel of capacity 1.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// waitFor returns false when the context ended first.
func waitFor(ctx context.Context, soon chan struct{}) bool {
	select {
	case <-ctx.Done():
		return false
	case <-soon:
		return true
	}
}

// waitUntil waits for due; a mark in soon replaces due by what earlier returns. It returns false when the context ended.
func waitUntil(ctx context.Context, due time.Time, soon chan struct{}, earlier func() time.Time) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		case <-soon:
			if e := earlier(); e.Before(due) {
				due = e
			}
			timer.Reset(time.Until(due))
		}
	}
}
