package service

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/reconcile"
	"assay.bench/slurmbridge"
)

// tunnel is a Service of its own that is to be asked from outside.
func tunnel(change ...func(*v1alpha1.Service)) *v1alpha1.Service {
	return own(append(change, func(s *v1alpha1.Service) { s.Spec.Readiness.Tunnel = true })...)
}

// outsideStates are those of a Service that is to be asked from outside: it is ready, whatever comes of that.
func outsideStates() map[string]state {
	answer := func(age time.Duration, status metav1.ConditionStatus, reason string) *Answer {
		return &Answer{At: now.Add(-age), Status: status, Reason: reason, Message: "words"}
	}
	ready := func(reason string, o Outside, reachable string, after time.Duration, do ...string) state {
		if o.Closed == "" && !o.NoTunnel {
			o.Ask = AskOutside{Site: "here", Endpoints: []string{"n1:8000"}, Path: "/health", Status: 200}
		}
		o.Ask.Site = "here"
		w := inJob(own(), says(func(c *v1alpha1.ComponentStatus) { c.Phase, c.Ready = "Ready", true }))
		w.Outside = &o
		return state{reason: reason, service: tunnel(), world: w, want: sight{
			Phase: "Ready", Job: "bsvc-sim-g3", Endpoint: "n1:8000", Ready: "True ProbesPassed: every probe passed", Reachable: reachable,
			Conditions: []string{"Monitored=Unknown NoTargets"}, After: after, Do: do,
		}}
	}
	const ask = `ask [n1:8000] GET "/health"`
	return map[string]state{
		"outside, never asked":  ready("at once", Outside{}, "Unknown Waiting: it is asked from outside just now", again, ask),
		"outside, first answer": ready("one at a time", Outside{Asking: true}, "Unknown Waiting: it is asked from outside just now", again),
		"outside, answers":      ready("not all the time", Outside{Heard: answer(20*time.Second, "True", "ServiceAnswers")}, "True ServiceAnswers: words", 10*time.Second),
		"outside, again":        ready("now and then", Outside{Heard: answer(30*time.Second, "True", "ServiceAnswers")}, "True ServiceAnswers: words", again, ask),
		"outside, still asking": ready("the old answer stays meanwhile", Outside{Asking: true, Heard: answer(time.Minute, "True", "ServiceAnswers")}, "True ServiceAnswers: words", again),
		"outside, silent":       ready("its readiness is another matter", Outside{Heard: answer(0, "False", "ServiceSilent")}, "False ServiceSilent: words", askEvery),
		"outside, site silent":  ready("nothing is known of the service", Outside{Heard: answer(0, "Unknown", "SiteUnreachable")}, "Unknown SiteUnreachable: words", askEvery),
		"outside, site closed":  ready("it may open", Outside{Closed: "not open"}, "Unknown SiteUnreachable: it cannot be asked from outside now: not open", again),
		"outside, no SSH": ready("no failure of the run", Outside{NoTunnel: true},
			"Unknown NoTunnel: Site here has no SSH connection to ask through: reach it by jobs.ssh, or by jobs.rest with files.ssh, or leave readiness.tunnel out", 0),
		"outside, starting": {
			reason: "not before it is ready", service: tunnel(),
			world: inJob(own(), says(func(c *v1alpha1.ComponentStatus) { c.Phase = "Starting" })),
			want: sight{
				Phase: "Starting", Job: "bsvc-sim-g3", Endpoint: "n1:8000", Ready: "False Starting: the server starts",
				Reachable:  "Unknown Waiting: it is asked from outside while it is ready",
				Conditions: []string{"Monitored=Unknown Waiting", "Reconciling=True Starting"},
			},
		},
		"outside, not any more": {
			reason: "a former job's answer says nothing", world: openSite(),
			service: tunnel(func(s *v1alpha1.Service) {
				reconcile.Conditions{List: &s.Status.Conditions, Now: now}.True("Reachable", "ServiceAnswers", "words")
			}),
			want: sight{
				Phase: "Waiting", Ready: "False Waiting: makes its SlurmJob", Reachable: "Unknown Waiting: it is asked from outside while it is ready",
				Conditions: []string{"Monitored=Unknown Waiting", "Reconciling=True Waiting"},
				Do:         []string{"record /work/o/ns/service.sim/g3/run.json", "credential sim-g3", "create bsvc-sim-g3 of service.sim"},
			},
		},
		"outside, not wanted": {
			reason: "who takes it out of the spec is told nothing", world: inJob(own()),
			service: own(func(s *v1alpha1.Service) {
				reconcile.Conditions{List: &s.Status.Conditions, Now: now}.True("Reachable", "ServiceAnswers", "words")
			}),
			want: sight{
				Phase: "Waiting", Job: "bsvc-sim-g3", Ready: "False Waiting: waits for its node",
				Conditions: []string{"Monitored=Unknown Waiting", "Reconciling=True Waiting"},
			},
		},
	}
}

// direct is the tunnel of a site whose login node is this machine.
type direct struct{}

func (direct) Dial(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}

// dials is a tunnel that is a function.
type dials func(ctx context.Context, address string) (net.Conn, error)

func (d dials) Dial(ctx context.Context, address string) (net.Conn, error) { return d(ctx, address) }

// serve starts a server that answers with a status, and refuses credentials.
func serve(t *testing.T, status int) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/health" || r.Header.Get("Authorization") != "" || r.Method != http.MethodGet {
			t.Errorf("asked %s %s with %v", r.Method, r.URL, r.Header)
		}
		w.Header().Set("Location", "/elsewhere")
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// listens starts a server that says the same to everybody.
func listens(t *testing.T, words string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			if words != "" { // after the question: the client reports what comes before it in words of any kind
				_, _ = c.Read(make([]byte, 4096))
				_, _ = io.WriteString(c, words)
			}
			_ = c.Close()
		}
	}()
	return l.Addr().String()
}

func TestAsk(t *testing.T) {
	well, gone := serve(t, http.StatusOK), listens(t, "")
	strange := listens(t, "220 mail\r\n")
	locked, broken, moved := serve(t, http.StatusUnauthorized), serve(t, http.StatusServiceUnavailable), serve(t, http.StatusFound)
	fails := func(err error) slurmbridge.Dialer {
		return dials(func(context.Context, string) (net.Conn, error) { return nil, err })
	}
	for reason, c := range map[string]struct {
		dialer    slurmbridge.Dialer
		endpoints []string
		path      string
		want      string
	}{
		"it is well":                       {direct{}, []string{well}, "/health", "True ServiceAnswers: it answers GET /health through the SSH connection of Site here"},
		"it wants credentials":             {direct{}, []string{locked}, "/health", "True ServiceAnswers: it answers GET /health through the SSH connection of Site here"},
		"nothing is asked":                 {direct{}, []string{gone}, "", "True ServiceAnswers: it takes connections through the SSH connection of Site here"},
		"all of it is well":                {direct{}, []string{well, well}, "/health", "True ServiceAnswers: each of its 2 servers answers GET /health through the SSH connection of Site here"},
		"one of it is not":                 {direct{}, []string{well, broken, well}, "/health", "False UnexpectedAnswer: " + broken + " answered GET /health with HTTP 503, not 200"},
		"it sends us away":                 {direct{}, []string{moved}, "/health", "False UnexpectedAnswer: " + moved + " answered GET /health with HTTP 302, not 200"},
		"it speaks something else":         {direct{}, []string{strange}, "/health", "False ServiceSilent: " + strange + " took the connection and did not answer GET /health ("},
		"it says nothing":                  {direct{}, []string{gone}, "/health", "False ServiceSilent: " + gone + " took the connection and did not answer GET /health ("},
		"the login node does not reach it": {fails(errors.New("login cannot connect to n1:80")), []string{"n1:80"}, "", "False ServiceSilent: login cannot connect to n1:80"},
		"the login node forwards nothing":  {fails(fmt.Errorf("%w: ask the site", slurmbridge.ErrForwarding)), []string{"n1:80"}, "", "False ForwardingRefused: the login node forwards no connections: ask the site"},
		"the login node is silent":         {fails(fmt.Errorf("%w: no route", slurmbridge.ErrUnreachable)), []string{"n1:80"}, "", "Unknown SiteUnreachable: the site does not answer: no route"},
	} {
		a := ask(t.Context(), c.dialer, AskOutside{Site: "here", Endpoints: c.endpoints, Path: c.path, Status: http.StatusOK})
		got := fmt.Sprintf("%s %s: %s", a.Status, a.Reason, a.Message)
		if !strings.HasPrefix(got, c.want) || strings.Contains(got, "\n") {
			t.Errorf("%s: %q, want %q", reason, got, c.want)
		}
		if c.endpoints[0] == strange && !strings.Contains(got, "malformed HTTP") { // where in the words depends on what came first
			t.Errorf("%s: %q does not say what came instead", reason, got)
		}
	}
}

// pipe is a tunnel to a server that answers when it is let, and counts who came.
type pipe struct {
	calls atomic.Int32
	let   chan struct{}
}

func (p *pipe) Dial(_ context.Context, _ string) (net.Conn, error) {
	p.calls.Add(1)
	ours, theirs := net.Pipe()
	go func() {
		defer theirs.Close()
		if _, err := http.ReadRequest(bufio.NewReader(theirs)); err != nil {
			return
		}
		gone := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, theirs)
			close(gone)
		}()
		select {
		case <-p.let:
			_, _ = io.WriteString(theirs, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		case <-gone:
		}
	}()
	return ours, nil
}

// throughPipe is a run directory whose site has a tunnel.
type throughPipe struct {
	memory

	pipe *pipe
}

func (p throughPipe) Door(namespace, name string) (slurmbridge.Door, error) {
	d, err := p.memory.Door(namespace, name)
	d.Dialer = p.pipe
	return d, err
}

// A service is asked once it is ready and then now and then, once at a time, and nobody waits for a server that does not
// answer. To have it asked makes no other job.
func TestAsksFromOutside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t)
		way := &pipe{let: make(chan struct{})}
		k := newKind(r.api, r.api, Deps{Doors: throughPipe{r.files, way}, Random: r.controller.Kind.(*Kind).deps.Random, Now: time.Now})
		r.controller.Kind, r.controller.Now = k, time.Now
		r.passes(3)
		r.ready("n1:8000")
		calls := func(reason string, want int32) {
			t.Helper()
			synctest.Wait()
			if got := way.calls.Load(); got != want {
				t.Errorf("%s: asked %d times, want %d", reason, got, want)
			}
		}
		r.passes(2)
		calls("nobody wants it", 0)
		r.change(func(s *v1alpha1.Service) { s.Spec.Readiness.Tunnel = true })
		r.passes(3)
		calls("it is under way", 1)
		r.reachable("Unknown Waiting: it is asked from outside just now")
		<-time.After(askTimeout)
		synctest.Wait()
		r.passes(2)
		r.reachable("False ServiceSilent: n1:8000 took the connection and did not answer GET /health within 5s")
		calls("not all the time", 1)
		close(way.let)
		<-time.After(askEvery)
		r.passes(1)
		calls("it is time", 2)
		r.passes(2)
		r.reachable("True ServiceAnswers: it answers GET /health through the SSH connection of Site here")
		r.ready("n2:8000")
		r.passes(1)
		calls("another server", 3)
		r.reachable("Unknown Waiting: it is asked from outside just now")
		r.passes(1)
		r.reachable("True ServiceAnswers: it answers GET /health through the SSH connection of Site here")
		if jobs := r.jobs(); len(jobs) != 1 {
			t.Errorf("%d jobs, want the one that there was", len(jobs))
		}
		r.change(func(s *v1alpha1.Service) { s.Spec.Readiness.Tunnel = false })
		r.passes(1)
		r.reachable("")
		if len(k.outside.by) > 0 {
			t.Error("an answer is kept that nobody wants")
		}
	})
}

// ready says in the job that its service is ready at an endpoint.
func (r *rig) ready(endpoint string) {
	r.t.Helper()
	job := r.jobs()[0]
	job.Status.Phase = "Running"
	job.Status.Components = []v1alpha1.ComponentStatus{{Kind: "Service", Name: "sim", Phase: "Ready", Ready: true, Endpoint: endpoint, Repeat: 1}}
	if err := r.api.Update(r.t.Context(), &job); err != nil {
		r.t.Fatal(err)
	}
}

// change changes the Service.
func (r *rig) change(f func(*v1alpha1.Service)) {
	r.t.Helper()
	var s v1alpha1.Service
	if err := r.get("sim", &s); err != nil {
		r.t.Fatal(err)
	}
	f(&s)
	if err := r.api.Update(r.t.Context(), &s); err != nil {
		r.t.Fatal(err)
	}
}

// reachable checks how the service shows from outside; "" for not at all.
func (r *rig) reachable(want string) {
	r.t.Helper()
	var s v1alpha1.Service
	if err := r.get("sim", &s); err != nil {
		r.t.Fatal(err)
	}
	got := ""
	if c := meta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReachable); c != nil {
		got = fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.t.Errorf("Reachable (-want +got):\n%s", diff)
	}
}

// Whoever went without a word is forgotten, and who is asked is not.
func TestForgetsServices(t *testing.T) {
	o := newOutside()
	if !o.begin("gone", AskOutside{}, now) || !o.begin("asked", AskOutside{}, now) || o.begin("asked", AskOutside{}, now) {
		t.Error("one question at a time, and the first at once")
	}
	o.end("gone", Answer{At: now})
	o.end("never asked", Answer{At: now})
	later := now.Add(10*askEvery + time.Second)
	if !o.begin("third", AskOutside{}, later) {
		t.Error("the third is not asked")
	}
	var left []string
	for uid := range o.by {
		left = append(left, string(uid))
	}
	slices.Sort(left)
	if diff := cmp.Diff([]string{"asked", "third"}, left); diff != "" {
		t.Errorf("remembered (-want +got):\n%s", diff)
	}
	o.end("asked", Answer{At: later, Reason: "x"})
	if asking, answer := o.heard("asked", AskOutside{}); asking || answer == nil || answer.Reason != "x" {
		t.Errorf("heard %t %+v", asking, answer)
	}
	if _, answer := o.heard("asked", AskOutside{Repeat: 2}); answer != nil {
		t.Errorf("an answer to another question counts: %+v", answer)
	}
}
