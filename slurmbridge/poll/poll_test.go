package poll_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/poll"
)

// site records what it is asked and when.
type site struct {
	mu    sync.Mutex
	begin time.Time
	jobs  []slurmbridge.Job
	files map[string][]byte
	err   error
	// spoiled are files that cannot be read.
	spoiled []string
	takes   time.Duration
	// findTakes is how long an answer to Find takes.
	findTakes time.Duration
	lists     []time.Duration
	reads     [][]string
	finds     [][]slurmbridge.Key
	// past is what accounting knows, and pasts how it was asked.
	past    []slurmbridge.Job
	pastErr error
	pasts   []string
}

func (s *site) List(ctx context.Context) ([]slurmbridge.Job, error) {
	s.mu.Lock()
	s.lists = append(s.lists, time.Since(s.begin))
	takes := s.takes
	jobs, err := slices.Clone(s.jobs), s.err // as of the question
	s.mu.Unlock()
	select {
	case <-ctx.Done():
	case <-time.After(takes):
	}
	return jobs, err
}

func (s *site) Find(_ context.Context, keys ...slurmbridge.Key) ([]slurmbridge.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finds = append(s.finds, slices.Clone(keys))
	if takes := s.findTakes; takes > 0 {
		s.mu.Unlock()
		<-time.After(takes)
		s.mu.Lock()
	}
	var out []slurmbridge.Job
	for _, j := range s.jobs {
		if slices.Contains(keys, j.Key) {
			out = append(out, j)
		}
	}
	return out, s.err
}

func (s *site) Read(_ context.Context, paths ...string) (map[string][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads = append(s.reads, slices.Clone(paths))
	out := map[string][]byte{}
	for _, p := range paths {
		if slices.Contains(s.spoiled, p) {
			return nil, &fs.PathError{Op: "read", Path: p, Err: syscall.EIO}
		}
		if b, ok := s.files[p]; ok {
			out[p] = b
		}
	}
	return out, s.err
}

func (s *site) Submit(context.Context, slurmbridge.Key, slurmbridge.Script) error { return nil }
func (s *site) Release(context.Context, string) error                             { return nil }
func (s *site) Cancel(context.Context, string) error                              { return nil }
func (s *site) Write(context.Context, map[string][]byte) error                    { return nil }
func (s *site) Open(context.Context, string, int64) (io.ReadCloser, error)        { return nil, nil }

func (s *site) Past(_ context.Context, since time.Time, keys ...slurmbridge.Key) ([]slurmbridge.Job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pasts = append(s.pasts, fmt.Sprint(since.Sub(s.begin), keys))
	return s.past, s.pastErr
}

func (s *site) set(change func(*site)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func key(i int) slurmbridge.Key {
	return slurmbridge.NewKey("0123abcd", fmt.Sprintf("%016x", i+1), 1)
}

// bench runs a poller in a bubble.
type bench struct {
	*site
	*poll.Poller
	ctx      context.Context // of the bubble
	mu       sync.Mutex
	notified map[slurmbridge.Key]int
}

func run(t *testing.T, pace poll.Pace, test func(*bench)) {
	synctest.Test(t, func(t *testing.T) {
		b := &bench{site: &site{begin: time.Now(), files: map[string][]byte{}}, notified: map[slurmbridge.Key]int{}}
		b.Poller = poll.New(poll.Options{Jobs: b.site, Files: b.site, Pace: pace, Notify: func(k slurmbridge.Key) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.notified[k]++
		}})
		ctx, cancel := context.WithCancel(t.Context())
		b.ctx = ctx
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.Run(ctx)
		}()
		test(b)
		cancel()
		<-done
	})
}

func (b *bench) told(k slurmbridge.Key) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.notified[k]
}

// pass lets time pass in the bubble.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestOneListForAll(t *testing.T) {
	run(t, poll.Remote(), func(b *bench) {
		for i := range 200 {
			b.set(func(s *site) { s.jobs = append(s.jobs, slurmbridge.Job{ID: fmt.Sprint(i), Key: key(i)}) })
			b.Watch(key(i), poll.Watched{Paths: []string{fmt.Sprintf("/w/%d/status.json", i), "/w/shared"}})
		}
		pass(time.Minute)
		st := b.Stats()
		if st.Lists != st.Ticks || st.Lists > 8 || st.Finds != 0 {
			t.Errorf("%+v, want one list per tick and no query per job", st)
		}
		b.set(func(s *site) {
			if last := s.reads[len(s.reads)-1]; len(last) != 201 {
				t.Errorf("a read of %d paths, want all 201, each once", len(last))
			}
		})
		for i := range 200 {
			if v, ok := b.Seen(key(i)); !ok || len(v.Jobs) != 1 || v.Jobs[0].ID != fmt.Sprint(i) {
				t.Fatalf("job %d: %+v %v", i, v, ok)
			}
		}
	})
}

func TestPaceOfLists(t *testing.T) {
	run(t, poll.Remote(), func(b *bench) {
		pass(time.Minute)
		if n := b.Stats().Lists; n != 0 {
			t.Errorf("%d lists while nothing is watched", n)
		}
		b.set(func(s *site) { s.begin = time.Now() })
		b.Watch(key(1), poll.Watched{})
		pass(200 * time.Second)
		want := []time.Duration{0, 5 * time.Second, 15 * time.Second, 35 * time.Second, 75 * time.Second, 135 * time.Second, 195 * time.Second}
		b.set(func(s *site) {
			if diff := cmp.Diff(want, s.lists); diff != "" {
				t.Errorf("lists while nothing changes, 5 s growing to 60 s: -want +got\n%s", diff)
			}
			s.lists, s.begin = nil, time.Now()
			s.jobs = []slurmbridge.Job{{ID: "1", Key: key(1)}}
		})
		b.Expect()
		pass(6 * time.Second)
		b.set(func(s *site) {
			if diff := cmp.Diff([]time.Duration{0, 5 * time.Second}, s.lists); diff != "" {
				t.Errorf("lists after Expect and a change: -want +got\n%s", diff)
			}
		})
	})
}

// TestPaceInAnOutage: the return of a site is seen within a third of the longest pace.
func TestPaceInAnOutage(t *testing.T) {
	run(t, poll.Remote(), func(b *bench) {
		b.set(func(s *site) { s.err = slurmbridge.ErrUnreachable })
		b.Watch(key(1), poll.Watched{})
		pass(10 * time.Minute)
		b.set(func(s *site) {
			for i := 1; i < len(s.lists); i++ {
				if gap := s.lists[i] - s.lists[i-1]; gap > 20*time.Second {
					t.Errorf("two lists %s apart in an outage", gap)
				}
			}
		})
	})
}

func TestFloor(t *testing.T) {
	pace := poll.Remote()
	pace.ListFloor = 120 * time.Second
	run(t, pace, func(b *bench) {
		b.Watch(key(1), poll.Watched{})
		for range 40 {
			b.Expect()
			pass(10 * time.Second)
		}
		b.set(func(s *site) {
			for i := 1; i < len(s.lists); i++ {
				if gap := s.lists[i] - s.lists[i-1]; gap < 120*time.Second {
					t.Errorf("two lists %s apart, the site asks for 120 s", gap)
				}
			}
		})
	})
}

func TestPaceOfReads(t *testing.T) {
	run(t, poll.Remote(), func(b *bench) {
		count := func(d time.Duration) int64 {
			before := b.Stats().Reads
			pass(d)
			return b.Stats().Reads - before
		}
		b.Watch(key(1), poll.Watched{Paths: []string{"/a"}})
		if n := count(61 * time.Second); n != 7 {
			t.Errorf("%d reads in 61 s, want one every 10 s", n)
		}
		b.Watch(key(1), poll.Watched{Paths: []string{"/a"}, Starting: true})
		if n := count(20 * time.Second); n < 9 || n > 11 {
			t.Errorf("%d reads in 20 s while it starts, want one every 2 s", n)
		}
		b.Watch(key(1), poll.Watched{})
		if n := count(time.Minute); n != 0 {
			t.Errorf("%d reads of nothing", n)
		}
	})
}

func TestNotify(t *testing.T) {
	run(t, poll.Near(), func(b *bench) {
		b.set(func(s *site) { s.jobs = []slurmbridge.Job{{ID: "1", Key: key(1), State: "PENDING"}} })
		b.Watch(key(1), poll.Watched{Paths: []string{"/a"}})
		b.Watch(key(2), poll.Watched{})
		pass(5 * time.Second)
		quiet := b.told(key(1))
		pass(10 * time.Second)
		if n := b.told(key(1)) - quiet; n != 0 {
			t.Errorf("%d calls for a key of which nothing changed", n)
		}
		if n := b.told(key(2)); n < 10 {
			t.Errorf("%d calls for a key that no list knows, want one per list: its watcher counts them", n)
		}
		steps := []struct {
			what   string
			change func(*site)
		}{
			{"its job changed", func(s *site) { s.jobs[0].State = "RUNNING" }},
			{"its file came", func(s *site) { s.files["/a"] = []byte("x") }},
			{"its file changed", func(s *site) { s.files["/a"] = []byte("y") }},
			{"the site went", func(s *site) { s.err = slurmbridge.ErrUnreachable }},
			{"the site came back", func(s *site) { s.err = nil }},
			{"its job is gone", func(s *site) { s.jobs = nil }},
		}
		for _, step := range steps {
			before := b.told(key(1))
			b.set(step.change)
			pass(3 * time.Second)
			if b.told(key(1)) == before {
				t.Errorf("no call although %s", step.what)
			}
		}
	})
}

// TestOutageChangesNothing: what was seen last stays, beside the error.
func TestOutageChangesNothing(t *testing.T) {
	run(t, poll.Near(), func(b *bench) {
		b.set(func(s *site) {
			s.jobs, s.files["/a"] = []slurmbridge.Job{{ID: "1", Key: key(1)}}, []byte("x")
		})
		b.Watch(key(1), poll.Watched{Paths: []string{"/a"}})
		pass(2 * time.Second)
		good, _ := b.Seen(key(1))
		b.set(func(s *site) { s.jobs, s.files, s.err = nil, nil, slurmbridge.ErrUnreachable })
		pass(5 * time.Second)
		v, _ := b.Seen(key(1))
		if !errors.Is(v.ListErr, slurmbridge.ErrUnreachable) || !errors.Is(v.ReadErr, slurmbridge.ErrUnreachable) {
			t.Errorf("errors %v and %v, want both", v.ListErr, v.ReadErr)
		}
		if len(v.Jobs) != 1 || string(v.Files["/a"]) != "x" || v.Listed.Before(good.Listed) {
			t.Errorf("%+v, want what was seen last", v)
		}
		if lists := v.Lists; lists > good.Lists+1 {
			t.Errorf("%d good lists after %d: a failed one counts for nothing", lists, good.Lists)
		}
	})
}

// TestOneFileCannotBeRead: that says nothing about the jobs that the file is not of, and costs one more read.
func TestOneFileCannotBeRead(t *testing.T) {
	run(t, poll.Near(), func(b *bench) {
		b.set(func(s *site) {
			s.files["/a"], s.files["/b"], s.files["/c"] = []byte("1"), []byte("1"), []byte("1")
			s.spoiled = []string{"/b"}
		})
		for i, path := range []string{"/a", "/b", "/c"} {
			b.Watch(key(i+1), poll.Watched{Paths: []string{path}})
		}
		pass(3 * time.Second)
		seen := func() (out [3]string) {
			for i := range out {
				v, _ := b.Seen(key(i + 1))
				for _, text := range v.Files {
					out[i] = string(text)
				}
				if v.ReadErr != nil {
					out[i] += " " + v.ReadErr.Error()
				}
			}
			return out
		}
		if got, want := seen(), [3]string{"1", " read /b: input/output error", "1"}; got != want {
			t.Errorf("%q, want %q", got, want)
		}
		b.set(func(s *site) { s.reads = nil })
		pass(time.Minute)
		b.set(func(s *site) {
			all := slices.DeleteFunc(slices.Clone(s.reads), func(paths []string) bool { return len(paths) != 3 })
			if len(all) == 0 || len(s.reads) != 2*len(all) {
				t.Errorf("%d reads in %d looks, want two for each: %v", len(s.reads), len(all), s.reads)
			}
			s.files["/a"], s.spoiled = []byte("2"), nil
		})
		pass(time.Minute)
		if got, want := seen(), [3]string{"2", "1", "1"}; got != want {
			t.Errorf("%q once it can be read, want %q", got, want)
		}
		b.set(func(s *site) { s.spoiled, s.reads = []string{"/a", "/b", "/c"}, nil })
		pass(time.Minute)
		if got := seen(); !strings.Contains(got[0], "error") || !strings.Contains(got[1], "error") || !strings.Contains(got[2], "error") {
			t.Errorf("%q, want an error for each", got)
		}
	})
}

// TestOldAnswers: an answer that was asked for before the watch began says nothing about the key.
func TestOldAnswers(t *testing.T) {
	run(t, poll.Near(), func(b *bench) {
		b.set(func(s *site) { s.takes = 10 * time.Second })
		b.Watch(key(1), poll.Watched{})
		pass(time.Second) // a list without the second key is on its way
		b.set(func(s *site) { s.jobs, s.takes = []slurmbridge.Job{{ID: "2", Key: key(2)}}, 0 })
		b.Watch(key(2), poll.Watched{})
		pass(9500 * time.Millisecond)
		if v, _ := b.Seen(key(2)); v.Lists == 0 || len(v.Jobs) != 1 {
			t.Errorf("%+v, want the job from the list that came after the watch", v)
		}
		if n := b.told(key(2)); n != 1 {
			t.Errorf("%d calls, want 1: the old list must not have said that the job is unknown", n)
		}
		b.Forget(key(2))
		if _, ok := b.Seen(key(2)); ok {
			t.Error("a forgotten key is still seen")
		}
	})
}

func TestLookupsShareOneQuery(t *testing.T) {
	run(t, poll.Remote(), func(b *bench) {
		b.set(func(s *site) {
			s.jobs = []slurmbridge.Job{
				{ID: "12", Key: key(0), Submitted: s.begin.Add(time.Second)}, {ID: "9", Key: key(0), Submitted: s.begin}, {ID: "3", Key: key(3)},
			}
		})
		var wg sync.WaitGroup
		got := make([][]slurmbridge.Job, 20)
		for i := range got {
			wg.Go(func() {
				<-time.After(time.Duration(i) * 40 * time.Millisecond)
				jobs, err := b.Lookup(b.ctx, key(i), time.Time{})
				if err != nil {
					t.Error(err)
				}
				got[i] = jobs
			})
		}
		wg.Wait()
		b.set(func(s *site) {
			if len(s.finds) != 1 || len(s.finds[0]) != 20 {
				t.Errorf("%d queries, want one for all 20", len(s.finds))
			}
		})
		if len(got[0]) != 2 || got[0][0].ID != "9" || len(got[1]) != 0 || len(got[3]) != 1 {
			t.Errorf("answers %v, want each its own jobs, the oldest first", got[:4])
		}
		ctx, cancel := context.WithTimeout(b.ctx, 10*time.Millisecond)
		defer cancel()
		if _, err := b.Lookup(ctx, key(1), time.Time{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lookup with a short context: %v", err)
		}
		b.set(func(s *site) { s.err = slurmbridge.ErrUnreachable })
		if _, err := b.Lookup(b.ctx, key(1), time.Time{}); !errors.Is(err, slurmbridge.ErrUnreachable) {
			t.Errorf("Lookup in an outage: %v", err)
		}
	})
}

// A site that answers later than a caller waits for is not asked anew by each call: the next one gets that answer.
func TestLookupThatNobodyWaitedFor(t *testing.T) {
	run(t, poll.Near(), func(b *bench) {
		b.set(func(s *site) { s.jobs, s.findTakes = []slurmbridge.Job{{ID: "3", Key: key(1)}}, 50*time.Second })
		patient := func(wait time.Duration) ([]slurmbridge.Job, error) {
			ctx, cancel := context.WithTimeout(b.ctx, wait)
			defer cancel()
			return b.Lookup(ctx, key(1), time.Time{})
		}
		if _, err := patient(30 * time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the first call: %v", err)
		}
		pass(5 * time.Second)
		if jobs, err := patient(30 * time.Second); err != nil || len(jobs) != 1 {
			t.Errorf("the second call: %v, %v", jobs, err)
		}
		b.set(func(s *site) {
			if len(s.finds) != 1 {
				t.Errorf("%d queries, want one", len(s.finds))
			}
		})
		// An answer that came when nobody was there is of an age that nobody knows.
		if _, err := patient(30 * time.Second); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call that cannot wait: %v", err)
		}
		pass(time.Minute)
		b.set(func(s *site) { s.jobs, s.findTakes = nil, 0 })
		if jobs, err := patient(time.Second); err != nil || len(jobs) != 0 {
			t.Errorf("a call long after: %v, %v, want no job", jobs, err)
		}
	})
}

// Accounting is asked for the jobs that the batch system does not know, of those who want it, once for all of them; and
// without its answer nothing is concluded.
func TestLookupAsksAccounting(t *testing.T) {
	run(t, poll.Remote(), func(b *bench) {
		b.set(func(s *site) {
			s.jobs = []slurmbridge.Job{{ID: "3", Key: key(0)}}
			s.past = []slurmbridge.Job{{ID: "2", Key: key(1), Submitted: s.begin}}
		})
		ask := func(since map[int]time.Duration) (found []int, errs []error) {
			found, errs = make([]int, 4), make([]error, 4)
			var wg sync.WaitGroup
			for i := range 4 {
				wg.Go(func() {
					at := time.Time{}
					if d, ok := since[i]; ok {
						at = b.begin.Add(d)
					}
					jobs, err := b.Lookup(b.ctx, key(i), at)
					found[i], errs[i] = len(jobs), err
				})
			}
			wg.Wait()
			return found, errs
		}
		if found, errs := ask(nil); !slices.Equal(found, []int{1, 0, 0, 0}) || errors.Join(errs...) != nil {
			t.Errorf("without accounting: %v, %v", found, errs)
		}
		if found, errs := ask(map[int]time.Duration{0: -3 * time.Hour, 1: -time.Hour, 2: -2 * time.Hour}); !slices.Equal(found, []int{1, 1, 0, 0}) || errors.Join(errs...) != nil {
			t.Errorf("with accounting: %v, %v", found, errs)
		}
		b.set(func(s *site) {
			if want := []string{fmt.Sprint(-3*time.Hour, []slurmbridge.Key{key(1), key(2)}), fmt.Sprint(-3*time.Hour, []slurmbridge.Key{key(2), key(1)})}; len(s.pasts) != 1 || !slices.Contains(want, s.pasts[0]) {
				t.Errorf("accounting was asked %q, want once for the two unknown jobs", s.pasts)
			}
			s.pastErr, s.past = slurmbridge.ErrNoAccounting, nil
		})
		if found, errs := ask(map[int]time.Duration{1: 0}); !slices.Equal(found, []int{1, 0, 0, 0}) || errors.Join(errs...) != nil {
			t.Errorf("of a site that keeps no accounts: %v, %v", found, errs)
		}
		b.set(func(s *site) { s.pastErr = slurmbridge.ErrUnreachable })
		if _, errs := ask(map[int]time.Duration{1: 0}); !errors.Is(errs[1], slurmbridge.ErrUnreachable) {
			t.Errorf("while accounting does not answer: %v", errs)
		}
	})
}
