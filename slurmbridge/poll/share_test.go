package poll_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/poll"
)

// slow is a site whose answers to look-ups take a while, as behind a limit of requests.
type slow struct {
	*site
	takes time.Duration

	mu   sync.Mutex
	sent []time.Duration
	at   time.Time
}

func (s *slow) Find(ctx context.Context, keys ...slurmbridge.Key) ([]slurmbridge.Job, error) {
	s.mu.Lock()
	s.sent = append(s.sent, time.Since(s.at))
	s.mu.Unlock()
	time.Sleep(s.takes)
	return s.site.Find(ctx, keys...)
}

// lookups asks for ten keys, one after another within ten seconds, and returns when the queries were sent, and for how many keys.
func lookups(t *testing.T, takes time.Duration) (sent []time.Duration, keys []int) {
	t.Helper()
	s := &slow{site: &site{begin: time.Now()}, takes: takes, at: time.Now()}
	p := poll.New(poll.Options{Jobs: s, Files: s, Pace: poll.Remote()})
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			asked := time.Since(s.at)
			if _, err := p.Lookup(t.Context(), key(i), time.Time{}); err != nil {
				t.Error(err)
			}
			// The query began after the call: an older one says nothing.
			s.mu.Lock()
			sent := slices.Clone(s.sent)
			s.mu.Unlock()
			s.set(func(*site) {
				for q, found := range s.finds {
					if slices.Contains(found, key(i)) && sent[q] < asked {
						t.Errorf("key %d was asked for before its look-up began", i)
					}
				}
			})
		})
		time.Sleep(950 * time.Millisecond)
	}
	wg.Wait()
	for _, found := range s.finds {
		keys = append(keys, len(found))
	}
	return s.sent, keys
}

// While a query is under way others wait for its end and share the next one; one that hangs holds them up for some
// seconds only.
func TestLookupsShareWhileOneIsUnderWay(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration
		sent  []int // in milliseconds
		keys  []int
	}{
		"slow":  {3500 * time.Millisecond, []int{1000, 4500, 8000, 11500}, []int{2, 3, 4, 1}},
		"hangs": {time.Minute, []int{1000, 17900}, []int{2, 8}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				sent, keys := lookups(t, c.takes)
				var at []int
				for _, d := range sent {
					at = append(at, int(d.Milliseconds()))
				}
				if diff := cmp.Diff(c.sent, at); diff != "" {
					t.Errorf("queries (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(c.keys, keys); diff != "" {
					t.Errorf("keys of each (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// With many jobs the shortest pace of the lists is slower: every job changes sooner or later, and each list is dear.
func TestManyJobsAreListedMoreRarely(t *testing.T) {
	run(t, poll.Remote(), func(b *bench) {
		for i := range 300 {
			b.Watch(key(i), poll.Watched{})
		}
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for range 60 { // something is done to a job every second
			<-tick.C
			b.Expect()
		}
		b.set(func(s *site) {
			// The first one may come before all are watched.
			for i := 2; i < len(s.lists); i++ {
				if gap := s.lists[i] - s.lists[i-1]; gap != 20*time.Second {
					t.Errorf("a list %s after the one before", gap)
				}
			}
			if len(s.lists) < 3 || len(s.lists) > 4 {
				t.Errorf("lists at %v", s.lists)
			}
		})
	})
}
