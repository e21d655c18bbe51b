package harness

import (
	"context"
	"errors"
	"io"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"assay.bench/slurmbridge"
)

// Place is where a process of the controllers can be killed.
type Place string

// Places.
const (
	// BeforeStatus is before the write of a status: what was decided is lost.
	BeforeStatus Place = "before the status write"
	// BeforeSubmit is after the intent is stored and before the batch system hears of it.
	BeforeSubmit Place = "before submit"
	// AfterSubmit is when the batch system has the job and its answer has not come.
	AfterSubmit Place = "after submit before its answer"
)

// Kill ends a process at the Visit'th time, from 1, that it comes to a Place.
type Kill struct {
	Place Place
	// Kind counts only the statuses of one kind of object; empty for all. It is for BeforeStatus.
	Kind  string
	Visit int
}

// errDown is what a process sees of the world after it was killed: nothing that it does has an effect any more.
var errDown = errors.New("this process was killed")

// power is what a process lives from. Everything that it does to the world goes through here, so that at one instant
// all of it ends, on every goroutine.
type power struct {
	kill *Kill
	// down is closed when the process is killed.
	down chan struct{}

	mu     sync.Mutex
	visits int
}

func newPower(kill *Kill) *power { return &power{kill: kill, down: make(chan struct{})} }

// on says whether the process lives.
func (p *power) on() error {
	select {
	case <-p.down:
		return errDown
	default:
		return nil
	}
}

// reach is a visit to a place, where the process may end.
func (p *power) reach(place Place, kind string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.on(); err != nil {
		return err
	}
	if k := p.kill; k == nil || k.Place != place || k.Kind != "" && k.Kind != kind {
		return nil
	}
	if p.visits++; p.visits < p.kill.Visit {
		return nil
	}
	close(p.down)
	return errDown
}

// do makes a call of a process that lives. A process that was killed meanwhile never hears the answer.
func (p *power) do(call func() error) error {
	if err := p.on(); err != nil {
		return err
	}
	err := call()
	if down := p.on(); down != nil {
		return down
	}
	return err
}

// client makes the client of a process. stored is called with each status that the API server has taken.
func (p *power) client(c client.WithWatch, stored func(map[string]any)) client.Client {
	return interceptor.NewClient(c, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
			return p.do(func() error { return c.Get(ctx, key, obj, opts...) })
		},
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			return p.do(func() error { return c.List(ctx, list, opts...) })
		},
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			return p.do(func() error { return c.Create(ctx, obj, opts...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			return p.do(func() error { return c.Delete(ctx, obj, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return p.do(func() error { return c.Apply(ctx, obj, opts...) })
		},
		SubResourceApply: func(ctx context.Context, c client.Client, sub string, obj runtime.ApplyConfiguration, opts ...client.SubResourceApplyOption) error {
			u := obj.(runtime.Unstructured) // the kernel applies nothing else
			if err := p.reach(BeforeStatus, u.GetObjectKind().GroupVersionKind().Kind); err != nil {
				return err
			}
			return p.do(func() error {
				err := c.SubResource(sub).Apply(ctx, obj, opts...)
				if err == nil {
					stored(u.UnstructuredContent())
				}
				return err
			})
		},
	})
}

// door is the door of a process to its site.
type door struct {
	slurmbridge.Prober

	jobs  slurmbridge.Jobs
	files slurmbridge.Files
	power *power
}

func (d door) List(ctx context.Context) (jobs []slurmbridge.Job, err error) {
	err = d.power.do(func() error { jobs, err = d.jobs.List(ctx); return err })
	return jobs, err
}

func (d door) Find(ctx context.Context, keys ...slurmbridge.Key) (jobs []slurmbridge.Job, err error) {
	err = d.power.do(func() error { jobs, err = d.jobs.Find(ctx, keys...); return err })
	return jobs, err
}

func (d door) Submit(ctx context.Context, key slurmbridge.Key, s slurmbridge.Script) error {
	if err := d.power.reach(BeforeSubmit, ""); err != nil {
		return err
	}
	return d.power.do(func() error {
		if err := d.jobs.Submit(ctx, key, s); err != nil {
			return err
		}
		return d.power.reach(AfterSubmit, "")
	})
}

func (d door) Release(ctx context.Context, id string) error {
	return d.power.do(func() error { return d.jobs.Release(ctx, id) })
}

func (d door) Cancel(ctx context.Context, id string) error {
	return d.power.do(func() error { return d.jobs.Cancel(ctx, id) })
}

func (d door) Read(ctx context.Context, paths ...string) (files map[string][]byte, err error) {
	err = d.power.do(func() error { files, err = d.files.Read(ctx, paths...); return err })
	return files, err
}

func (d door) Write(ctx context.Context, files map[string][]byte) error {
	return d.power.do(func() error { return d.files.Write(ctx, files) })
}

func (d door) Open(ctx context.Context, path string, offset int64) (r io.ReadCloser, err error) {
	err = d.power.do(func() error { r, err = d.files.Open(ctx, path, offset); return err })
	return r, err
}
