package rundir

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

const writerEnv = "RUNDIR_TEST_EVENTS"

// TestMain makes this program a writer of events when a test asks for it.
func TestMain(m *testing.M) {
	if path := os.Getenv(writerEnv); path != "" {
		if err := writeMany(path, 200); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func writeMany(path string, n int) error {
	l, err := OpenEvents(path, "c", 0, os.Getpid(), fixedClock)
	if err != nil {
		return err
	}
	for i := range n {
		if err := l.Log("E", "text", strings.Repeat("x", i*5)); err != nil {
			return err
		}
	}
	return l.Close()
}

func fixedClock() (time.Time, int64) { return time.Unix(1_700_000_000, 0).UTC(), 42 }

func TestEventsFromSeveralProcesses(t *testing.T) {
	path := filepath.Join(t.TempDir(), EventsFile)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), writerEnv+"="+path)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("writer: %v: %s", err, out)
			}
		})
	}
	all.Wait()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	events, broken := ParseEvents(b)
	next := map[int]int64{}
	for _, e := range events {
		next[e.PID]++
		if e.Seq != next[e.PID] {
			t.Fatalf("process %d: seq %d after %d", e.PID, e.Seq, next[e.PID]-1)
		}
	}
	if len(events) != 800 || len(next) != 4 || broken != 0 {
		t.Errorf("%d events of %d processes, %d broken; want 800 of 4, 0", len(events), len(next), broken)
	}
}

func TestEventsCutAtAnyByte(t *testing.T) {
	path := filepath.Join(t.TempDir(), EventsFile)
	if err := writeMany(path, 4); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := ParseEvents(whole)
	for cut := range whole {
		got, _ := ParseEvents(whole[:cut])
		want := strings.Count(string(whole[:cut]), "\n")
		if diff := cmp.Diff(all[:want], got, cmp.Comparer(sameEvent), cmpopts.EquateEmpty()); diff != "" {
			t.Fatalf("cut at %d (-want +got):\n%s", cut, diff)
		}
		// A writer that comes after the kill loses nothing of its own.
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := writeMany(path, 1); err != nil {
			t.Fatal(err)
		}
		again, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		// A last line that lacks only its end becomes whole.
		if got, _ := ParseEvents(again); len(got) < want+1 || len(got) > want+2 || got[len(got)-1].Seq != 1 {
			t.Fatalf("cut at %d, then one more: %d events, want %d", cut, len(got), want+1)
		}
	}
}

func sameEvent(a, b Event) bool { return a.Seq == b.Seq && a.PID == b.PID && a.Event == b.Event }

func TestEventAfterAnotherWritersTornLine(t *testing.T) {
	got, broken := ParseEvents([]byte(`{"seq":7,"pid":1,"ti{"seq":1,"pid":2,"time":"2026-01-01T00:00:00Z","mono":1,"rank":0,"event":"E"}` + "\n"))
	if len(got) != 1 || got[0].PID != 2 || broken != 1 {
		t.Errorf("got %v, %d broken; want the second writer's event, 1 broken", got, broken)
	}
}

func TestEventFields(t *testing.T) {
	got := fieldMap([]any{"error", errors.New("no"), "took", 1500 * time.Millisecond, "n", 3, "odd", make(chan int), "rest"})
	if got["error"] != "no" || got["took"] != "1.5s" || got["n"] != 3 {
		t.Errorf("got %v", got)
	}
	if _, isText := got["odd"].(string); !isText {
		t.Errorf("what JSON cannot hold became %T, want text", got["odd"])
	}
}

func FuzzParseEvents(f *testing.F) {
	f.Add([]byte(`{"seq":1,"pid":2,"time":"2026-01-01T00:00:00Z","mono":1,"rank":0,"event":"E"}` + "\n"))
	f.Add([]byte("\n\n{\"seq\":"))
	f.Fuzz(func(t *testing.T, b []byte) {
		events, broken := ParseEvents(b)
		if lines := strings.Count(string(b), "\n"); len(events) > lines || broken > lines+1 {
			t.Errorf("%d events and %d broken of %d lines", len(events), broken, lines)
		}
	})
}
