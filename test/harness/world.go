package harness

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/slurmbridge/poll"
	"assay.bench/slurmbridge/sim"
)

// Options of a World. All may be zero.
type Options struct {
	// Seed of the cluster.
	Seed uint64
	// Nodes of the cluster; 0 takes 64.
	Nodes int
	// Speed divides the lengths of what the nodes do; 0 takes 50.
	Speed float64
	// Patience ends a wait; 0 takes five minutes, for a machine that is busy with other things.
	Patience time.Duration
}

// World is one test's part of a Plane. Its methods end the test when they fail.
type World struct {
	// Client reads and writes without a cache.
	Client    client.Client
	Namespace string
	Origin    string
	Cluster   *sim.Cluster
	Clock     *Clock

	t       *testing.T
	plane   *Plane
	log     logr.Logger
	history *history

	patience time.Duration

	// namespaces are those that the processes see.
	namespaces map[string]cache.Config

	// processes counts those that were started; process is the one that runs, or nil.
	processes int
	process   *Process

	mu sync.Mutex
	// changed is closed at the next status that is stored.
	changed chan struct{}
}

var notInNames = regexp.MustCompile(`[^a-z0-9]+`)

// World makes a namespace and a cluster, without any process. The namespace stays: nothing else ever uses it.
func (p *Plane) World(t *testing.T, o Options) *World {
	t.Helper()
	c, err := p.Client()
	if err != nil {
		t.Fatal(err)
	}
	// A name that tells the test, and that no other test of this or another program has.
	unique := fmt.Sprintf("%s/%d/%s", t.Name(), p.worlds.Add(1), t.TempDir())
	sum := sha256.Sum256([]byte(unique))
	origin := hex.EncodeToString(sum[:8])
	name := strings.Trim(notInNames.ReplaceAllString(strings.ToLower(t.Name()), "-"), "-")
	w := &World{
		Client: c, Namespace: name[max(0, len(name)-48):], Origin: origin, Clock: &Clock{},
		t: t, plane: p, history: &history{}, patience: or(o.Patience, 5*time.Minute), changed: make(chan struct{}),
	}
	w.Namespace = strings.TrimLeft(w.Namespace, "-") + "-" + origin[:8]
	w.namespaces = map[string]cache.Config{w.Namespace: {}}
	w.log = logr.New(logSink{history: w.history})
	w.Cluster = sim.New(sim.Options{Seed: o.Seed, Nodes: or(o.Nodes, 64), Speed: or(o.Speed, 50), Now: w.Clock.Now})
	w.makeNamespace(w.Namespace)
	t.Cleanup(func() {
		w.Stop()
		if t.Failed() {
			t.Logf("what was written in %s, and the log:\n%s", w.Namespace, w.history)
		}
	})
	return w
}

func (w *World) makeNamespace(name string) {
	w.t.Helper()
	ns := &corev1.Namespace{}
	ns.Name = name
	if err := w.Client.Create(w.t.Context(), ns); err != nil {
		w.t.Fatal(err)
	}
}

// AnotherNamespace makes a second namespace, which the processes that start after it see as well.
func (w *World) AnotherNamespace() string {
	w.t.Helper()
	name := w.Namespace + "-other"
	w.makeNamespace(name)
	w.namespaces[name] = cache.Config{}
	return name
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}

// Start begins a process of the controllers.
func (w *World) Start() {
	w.t.Helper()
	if w.process != nil {
		w.t.Fatal("a process runs already")
	}
	p, err := w.start(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.process = p
}

// Stop ends the process, if one runs. What it remembered is lost.
func (w *World) Stop() {
	w.t.Helper()
	if w.process == nil {
		return
	}
	if err := w.process.stop(); err != nil {
		w.t.Error(err)
	}
	w.process = nil
}

// Run starts one process after another, each of which ends at its kill, until the test ends; the one after the last
// kill lives on. The returned function ends what runs and tells how many processes were killed.
func (w *World) Run(kills ...Kill) (stop func() (killed int)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		killed := 0
		defer func() { done <- killed }()
		for i := 0; ctx.Err() == nil; i++ {
			var kill *Kill
			if i < len(kills) {
				kill = &kills[i]
			}
			p, err := w.start(kill)
			if err != nil {
				w.t.Error(err)
				return
			}
			select {
			case <-p.power.down:
				killed++
				w.history.addf("process %d was killed %s", i+1, kill.Place)
			case <-ctx.Done():
			}
			if err := p.stop(); err != nil {
				w.t.Error(err)
			}
		}
	}()
	var once sync.Once
	killed := 0
	stop = func() int {
		once.Do(func() { cancel(); killed = <-done })
		return killed
	}
	w.t.Cleanup(func() { stop() })
	return stop
}

// PollStats is what the process of Start asked the cluster so far.
func (w *World) PollStats() poll.Stats {
	w.t.Helper()
	if w.process != nil {
		if p, ok := w.process.registry.Poller(w.Namespace, SiteName); ok {
			return p.Stats()
		}
	}
	w.t.Fatal("no poll runs")
	return poll.Stats{}
}
