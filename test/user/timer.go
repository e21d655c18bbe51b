package user

import (
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TimerLag watches how late the host and whatever else runs here let a bare timer be: a thread on each core that wakes every
// 7 ms and does nothing. The function it returns ends that, and says by how much the p99 of the worst core was late.
func TimerLag(t testing.TB, cores []int) (p99 func() time.Duration) {
	t.Helper()
	const every = 7 * time.Millisecond
	stop, lags := make(chan struct{}), make([][]time.Duration, len(cores))
	var threads sync.WaitGroup
	for i, core := range cores {
		threads.Go(func() {
			runtime.LockOSThread() // for good: the thread ends with its core
			if err := unix.SchedSetaffinity(0, setOf([]int{core})); err != nil {
				t.Errorf("core %d: %v", core, err)
				return
			}
			for due := time.Now(); ; {
				select {
				case <-stop:
					return
				default:
				}
				due = due.Add(every)
				left := unix.NsecToTimespec(int64(time.Until(due)))
				_ = unix.Nanosleep(&left, nil) // a signal only makes it early
				lags[i] = append(lags[i], time.Since(due))
			}
		})
	}
	return func() (worst time.Duration) {
		close(stop)
		threads.Wait()
		for _, lag := range lags {
			if slices.Sort(lag); len(lag) > 0 {
				worst = max(worst, lag[len(lag)*99/100])
			}
		}
		return worst
	}
}
