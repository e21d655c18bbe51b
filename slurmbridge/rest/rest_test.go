package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
)

const origin = "0123abcd"

func keyOf(n int) slurmbridge.Key { return slurmbridge.NewKey(origin, fmt.Sprintf("%016x", n), 1) }

// server plays slurmrestd: it keeps what it was asked, and answers a method and a path, without the version.
type server struct {
	*httptest.Server

	mu       sync.Mutex
	versions []string
	answers  map[string]answer
	asked    []string
	bodies   map[string]string
	headers  http.Header
}

// answer is what the server says: 200 where status is 0.
type answer struct {
	status int
	body   string
	header map[string]string
}

const ping = `{"pings": [], "meta": {"plugin": {"accounting_storage": "accounting_storage/slurmdbd"}, "slurm": {"release": "24.11.5", "cluster": "meluxina"}}, "errors": []}`

func newServer(t *testing.T, answers map[string]answer) *server {
	t.Helper()
	s := &server{versions: []string{"v0.0.40", "v0.0.41", "v0.0.42"}, answers: map[string]answer{"GET /slurm/ping/": {body: ping}}, bodies: map[string]string{}}
	maps.Copy(s.answers, answers)
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	path := r.URL.Path
	for _, v := range s.versions {
		path = strings.Replace(path, "/"+v+"/", "/", 1)
	}
	what := r.Method + " " + path
	s.asked = append(s.asked, r.Method+" "+r.URL.RequestURI())
	s.headers = r.Header
	s.bodies[what] = string(body)
	a, ok := s.answers[what]
	if !ok {
		a = answer{status: http.StatusNotFound, body: "Unable find requested URL. Please view /openapi/v3 for API reference."}
	}
	for k, v := range a.header {
		w.Header().Set(k, v)
	}
	if a.status != 0 {
		w.WriteHeader(a.status)
	}
	fmt.Fprint(w, a.body)
}

// put changes an answer.
func (s *server) put(what string, a answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[what] = a
}

// took returns what was asked since the last call.
func (s *server) took() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	return asked
}

func options(s *server) Options {
	return Options{
		URL: s.URL + "/", Origin: origin,
		Credentials: func(context.Context) (Credentials, error) { return Credentials{User: "hpc", Token: "a.b.c\n"}, nil },
	}
}

// open opens the server, and forgets what that asked.
func open(t *testing.T, s *server) *Slurm {
	t.Helper()
	c, err := Open(t.Context(), options(s))
	if err != nil {
		t.Fatal(err)
	}
	s.took()
	return c
}

// job is one as the server lists it.
func job(id int, key slurmbridge.Key, state string, more string) string {
	return fmt.Sprintf(`{"job_id": %d, "name": %q, "job_state": [%q], "state_reason": "None", "priority": {"set": true, "number": 4294}, "submit_time": {"set": true, "number": %d}%s}`,
		id, key, state, 1700000000+id, more)
}

const held = `, "state_reason": "JobHeldUser", "priority": {"set": true, "number": 0}`

func list(jobs ...string) answer {
	return answer{body: `{"jobs": [` + strings.Join(jobs, ",") + `], "meta": {}, "errors": [], "warnings": []}`}
}

func refusal(status, number int, words string) answer {
	return answer{status: status, body: fmt.Sprintf(`{"errors": [{"error_number": %d, "error": %q, "description": "it failed"}]}`, number, words)}
}

func TestListAndFind(t *testing.T) {
	s := newServer(t, map[string]answer{"GET /slurm/jobs/": list(
		job(19, keyOf(1), "RUNNING", ""), job(17, keyOf(2), "PENDING", held), job(18, "assay-feedc0de-0123456789abcdef-1", "RUNNING", ""), job(20, "somebody's", "RUNNING", ""),
		job(21, keyOf(1), "RUNNING", `, "user_name": "mallory"`),
	)})
	c := open(t, s)
	ids := func(jobs []slurmbridge.Job, err error) []string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, j := range jobs {
			out = append(out, j.ID)
		}
		return out
	}
	if got := ids(c.List(t.Context())); !slices.Equal(got, []string{"17", "19"}) {
		t.Errorf("List: %v, want our own, the oldest first", got)
	}
	if got := ids(c.Find(t.Context(), keyOf(1), keyOf(3))); !slices.Equal(got, []string{"19"}) {
		t.Errorf("Find: %v, want 19", got)
	}
	if got := ids(c.Find(t.Context())); got != nil {
		t.Errorf("Find of nothing: %v", got)
	}
	if got, want := s.took(), []string{"GET /slurm/v0.0.42/jobs/", "GET /slurm/v0.0.42/jobs/"}; !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q: a request each", got, want)
	}
	if got := ids(c.All(t.Context())); !slices.Equal(got, []string{"17", "18", "19"}) {
		t.Errorf("All: %v, want those of every origin, and of this user alone", got)
	}
	for name, want := range map[string]string{"User-Agent": "assay", "X-Slurm-User-Name": "hpc", "X-Slurm-User-Token": "a.b.c", "Accept": "application/json"} {
		if got := s.headers.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// What a failed look means: never anything about a job.
func TestFailures(t *testing.T) {
	both := func(err error) string {
		return fmt.Sprint(errors.Is(err, slurmbridge.ErrUnreachable), errors.Is(err, slurmbridge.ErrCredentials), errors.Is(err, slurmbridge.ErrRefused))
	}
	const plain, credentials = "true false false", "true true false"
	for reason, c := range map[string]struct {
		answer answer
		kind   string
		words  string
	}{
		"no token":        {answer{status: 401, body: "Authentication failure"}, credentials, "slurmrestd: HTTP 401 Unauthorized: Authentication failure"},
		"an old token":    {refusal(511, 1007, "Protocol authentication error"), credentials, "slurmrestd: Protocol authentication error"},
		"an old one, new": {refusal(401, 6001, "Authentication credential expired"), credentials, "slurmrestd: Authentication credential expired"},
		"slurmctld away":  {refusal(502, 1800, "Unable to contact slurm controller (connect failure)"), plain, "slurmrestd: Unable to contact slurm controller (connect failure)"},
		"a proxy":         {answer{status: 504, body: "<html>\n<b>Gateway</b>"}, plain, "slurmrestd: HTTP 504 Gateway Timeout: <html> <b>Gateway</b>"},
		"a redirect":      {answer{status: 302, header: map[string]string{"Location": "https://login.example/"}}, plain, "slurmrestd: HTTP 302 Found: it points to https://login.example/"},
		"another version": {answer{status: 404, body: "Unable find requested URL."}, plain, "slurmrestd: HTTP 404 Not Found: Unable find requested URL."},
		"half an answer":  {answer{body: list(job(17, keyOf(1), "RUNNING", "")).body[:40]}, plain, "the site does not answer: slurmrestd: the answer was cut"},
		"an error in 200": {refusal(200, 1804, "Backing off"), plain, "slurmrestd: Backing off"},
		"another answer":  {answer{body: "<html>"}, plain, "the site does not answer: slurmrestd: invalid character '<' looking for beginning of value"},
	} {
		t.Run(reason, func(t *testing.T) {
			s := newServer(t, nil)
			slurm := open(t, s)
			s.put("GET /slurm/jobs/", c.answer)
			jobs, err := slurm.List(t.Context())
			if both(err) != c.kind || fmt.Sprint(err) != c.words || jobs != nil {
				t.Errorf("%v, %v (%s); want %s (%s)", jobs, err, both(err), c.words, c.kind)
			}
		})
	}
}

func TestContexts(t *testing.T) {
	s := newServer(t, nil)
	c := open(t, s)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := c.List(ctx); !errors.Is(err, slurmbridge.ErrUnreachable) || !strings.Contains(err.Error(), "enough") {
		t.Errorf("%v, want ErrUnreachable and the cause", err)
	}
	s.Close()
	if _, err := c.List(t.Context()); !errors.Is(err, slurmbridge.ErrUnreachable) || errors.Is(err, slurmbridge.ErrCredentials) {
		t.Errorf("nobody there: %v, want ErrUnreachable", err)
	}
}

// A server that does not answer at all is given up.
func TestTimeout(t *testing.T) {
	stop := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-stop }))
	defer silent.Close()
	defer close(stop)
	o := options(&server{Server: silent})
	o.Timeout = 20 * time.Millisecond
	if _, err := Open(t.Context(), o); !errors.Is(err, slurmbridge.ErrUnreachable) || !strings.Contains(err.Error(), "no answer within 20ms") {
		t.Errorf("%v, want ErrUnreachable after 20 ms", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	s := newServer(t, nil)
	for words, change := range map[string]func(*Options){
		"it needs 8 hexadecimal digits": func(o *Options) { o.Origin = "0123" },
		"give http or https":            func(o *Options) { o.URL = "slurm-api.lxp.lu" },
		"holds more than a host":        func(o *Options) { o.URL = "https://me:secret@slurm-api.lxp.lu" },
		"a user name and a token":       func(o *Options) { o.Credentials = nil },
		"none is in PEM":                func(o *Options) { o.CA = []byte("no certificate") },
		"the address of slurmrestd":     func(o *Options) { o.URL = "http://a b" },
	} {
		o := options(s)
		change(&o)
		if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%v, want %q", err, words)
		}
	}
}

func TestTLS(t *testing.T) {
	s := newServer(t, nil)
	secure := httptest.NewTLSServer(s)
	defer secure.Close()
	o := options(s)
	o.URL = secure.URL
	if _, err := Open(t.Context(), o); !errors.Is(err, slurmbridge.ErrUnreachable) {
		t.Errorf("a server that nobody vouches for: %v, want ErrUnreachable", err)
	}
	o.CA = pemOf(secure.Certificate())
	if _, err := Open(t.Context(), o); err != nil {
		t.Errorf("with its CA: %v", err)
	}
}

func TestRelease(t *testing.T) {
	for reason, c := range map[string]struct {
		job, post answer
		asked     int
		err       string
	}{
		"a held job":            {list(job(17, keyOf(1), "PENDING", held)), list(), 2, ""},
		"one that runs":         {list(job(17, keyOf(1), "RUNNING", "")), list(), 1, ""},
		"one that has ended":    {list(job(17, keyOf(1), "FAILED", "")), list(), 1, ""},
		"one of another origin": {list(job(17, "assay-feedc0de-0123456789abcdef-1", "PENDING", held)), list(), 1, ""},
		"one of another user":   {list(job(17, keyOf(1), "PENDING", held+`, "user_name": "mallory"`)), list(), 1, ""},
		"one of somebody":       {list(job(17, "theirs", "PENDING", held)), list(), 1, ""},
		"one that nobody knows": {refusal(404, 2017, "Invalid job id specified"), list(), 1, ""},
		"one that ends now":     {list(job(17, keyOf(1), "PENDING", held)), refusal(500, 2021, "Job/step already completing or completed"), 2, ""},
		"one that may not":      {list(job(17, keyOf(1), "PENDING", held)), refusal(500, 2002, "Access/permission denied"), 2, "slurmrestd: Access/permission denied"},
		"an outage":             {answer{status: 502}, list(), 1, "slurmrestd: HTTP 502 Bad Gateway"},
	} {
		t.Run(reason, func(t *testing.T) {
			s := newServer(t, map[string]answer{"GET /slurm/job/17": c.job, "POST /slurm/job/17": c.post})
			err := open(t, s).Release(t.Context(), "17")
			if got := strings.TrimPrefix(fmt.Sprint(err), "<nil>"); got != c.err {
				t.Errorf("%v, want %q", err, c.err)
			}
			// The first requests agree on a version.
			if asked := s.took(); len(asked) != c.asked || c.asked == 2 && s.bodies["POST /slurm/job/17"] != `{"hold":false}` {
				t.Errorf("asked %q with %q, want %d requests", asked, s.bodies, c.asked)
			}
		})
	}
}

// Of a heterogeneous job every component is released, the leader last.
func TestReleaseHeterogeneous(t *testing.T) {
	part := func(id int, more string) string {
		return job(id, keyOf(1), "PENDING", more+`, "het_job_id": {"set": true, "number": 17}`)
	}
	s := newServer(t, map[string]answer{
		"GET /slurm/job/17": list(part(17, held), part(18, held), part(19, "")), "POST /slurm/job/17": list(),
		"GET /slurm/job/18":  list(part(18, held)),
		"POST /slurm/job/18": refusal(502, 1800, "Unable to contact slurm controller"),
	})
	c := open(t, s)
	if err := c.Release(t.Context(), "17"); !errors.Is(err, slurmbridge.ErrUnreachable) {
		t.Errorf("%v, want ErrUnreachable", err)
	}
	s.put("POST /slurm/job/18", list())
	if err := c.Release(t.Context(), "17"); err != nil {
		t.Error(err)
	}
	want := []string{"GET /slurm/v0.0.42/job/17", "POST /slurm/v0.0.42/job/18", "GET /slurm/v0.0.42/job/17", "POST /slurm/v0.0.42/job/18", "POST /slurm/v0.0.42/job/17"}
	if diff := cmp.Diff(want, s.took()); diff != "" {
		t.Error(diff)
	}
	if err := c.Release(t.Context(), "18"); err != nil || len(s.took()) != 1 {
		t.Errorf("a component is no job of its own: %v", err)
	}
}

// Each request has its turn: a site's limit is one of requests, and a release is several.
func TestRequestsHaveTurns(t *testing.T) {
	s := newServer(t, map[string]answer{
		"GET /slurm/job/17":  list(job(17, keyOf(1), "PENDING", held+`, "het_job_id": {"set": true, "number": 17}`), job(18, keyOf(1), "PENDING", held+`, "het_job_id": {"set": true, "number": 17}`)),
		"POST /slurm/job/17": list(), "POST /slurm/job/18": list(),
	})
	c := open(t, s)
	s.took()
	turns := 0
	ctx := slurmbridge.WithTurns(t.Context(), func(context.Context) error { turns++; return nil })
	if err := c.Release(ctx, "17"); err != nil {
		t.Fatal(err)
	}
	if asked := s.took(); len(asked) != 3 || turns != len(asked) {
		t.Errorf("%d turns for the requests %v", turns, asked)
	}
	refused := errors.New("not now")
	err := c.Release(slurmbridge.WithTurns(t.Context(), func(context.Context) error { return refused }), "17")
	if asked := s.took(); !errors.Is(err, refused) || len(asked) > 0 {
		t.Errorf("without a turn: %v, requests %v", err, asked)
	}
}

func TestCancel(t *testing.T) {
	for reason, c := range map[string]struct {
		job, gone answer
		asked     []string
	}{
		"a job that runs":       {list(job(17, keyOf(1), "RUNNING", "")), list(), []string{"GET /slurm/v0.0.42/job/17", "DELETE /slurm/v0.0.42/job/17"}},
		"one that ends now":     {list(job(17, keyOf(1), "RUNNING", "")), refusal(500, 2021, "Job/step already completing or completed"), []string{"GET /slurm/v0.0.42/job/17", "DELETE /slurm/v0.0.42/job/17"}},
		"one that has ended":    {list(job(17, keyOf(1), "COMPLETED", "")), list(), []string{"GET /slurm/v0.0.42/job/17"}},
		"one of another":        {list(job(17, "assay-feedc0de-0123456789abcdef-1", "RUNNING", "")), list(), []string{"GET /slurm/v0.0.42/job/17"}},
		"one nobody knows":      {refusal(404, 2017, "Invalid job id specified"), list(), []string{"GET /slurm/v0.0.42/job/17"}},
		"a part, not the whole": {list(job(17, keyOf(1), "RUNNING", `, "het_job_id": {"set": true, "number": 16}`)), list(), []string{"GET /slurm/v0.0.42/job/17"}},
	} {
		t.Run(reason, func(t *testing.T) {
			s := newServer(t, map[string]answer{"GET /slurm/job/17": c.job, "DELETE /slurm/job/17": c.gone})
			if err := open(t, s).Cancel(t.Context(), "17"); err != nil {
				t.Error(err)
			}
			if diff := cmp.Diff(c.asked, s.took()); diff != "" {
				t.Error(diff)
			}
		})
	}
	s := newServer(t, nil)
	c := open(t, s)
	for _, id := range []string{"", "x", "../jobs", "17?signal=9", "-1"} {
		if err := c.Cancel(t.Context(), id); err != nil || len(s.took()) > 0 {
			t.Errorf("Cancel(%q): %v; want nothing asked", id, err)
		}
	}
}

func TestPast(t *testing.T) {
	past := `{"job_id": 17, "name": "` + string(keyOf(1)) + `", "state": {"current": ["COMPLETED"]}, "time": {"submission": 1700000000, "start": 1700000001, "end": 1700000002}}`
	s := newServer(t, map[string]answer{"GET /slurmdb/jobs/": list(past)})
	c := open(t, s)
	jobs, err := c.Past(t.Context(), time.Unix(1699999999, 0), keyOf(1), keyOf(2))
	if err != nil || len(jobs) != 1 || jobs[0].Phase != slurmbridge.Succeeded || jobs[0].ID != "17" {
		t.Errorf("%+v, %v; want job 17", jobs, err)
	}
	want := []string{"GET /slurmdb/v0.0.42/jobs/?disable_truncate_usage_time=true&job_name=" + string(keyOf(1)) + "%2C" + string(keyOf(2)) + "&skip_steps=true&submit_time=uts1699999999"}
	if diff := cmp.Diff(want, s.took()); diff != "" {
		t.Error(diff)
	}
	if q := pastQuery("v0.0.39", time.Unix(1699999999, 0), []slurmbridge.Key{keyOf(1)}); len(q) != 3 || q.Has("disable_truncate_usage_time") {
		t.Errorf("%v: v0.0.39 refuses what it does not know", q)
	}
	many := make([]slurmbridge.Key, 2*keysPerRequest+1)
	for i := range many {
		many[i] = keyOf(i)
	}
	if jobs, err := c.Past(t.Context(), time.Time{}, many...); err != nil || len(s.took()) != 3 || len(jobs) != 3 {
		t.Errorf("%d jobs of three requests, %v", len(jobs), err)
	}
	if jobs, err := c.Past(t.Context(), time.Time{}); err != nil || len(jobs) > 0 || len(s.took()) > 0 {
		t.Errorf("no key: %v, %v", jobs, err)
	}
}

// That accounting does not answer has four causes, of which two look the same.
func TestPastFails(t *testing.T) {
	down := refusal(502, 7000, "Unable to connect to database")
	for reason, c := range map[string]struct {
		ping, db, ctld answer
		want           []error
		not            []error
	}{
		"none here": {answer{body: strings.Replace(ping, "storage/slurmdbd", "storage/none", 1)}, down, list(), []error{slurmbridge.ErrNoAccounting}, []error{slurmbridge.ErrUnreachable}},
		"no slurmdb": {answer{body: "{\"meta\": {}}"}, answer{status: 404, body: "Unable find requested URL."}, list(),
			[]error{slurmbridge.ErrNoAccounting}, []error{slurmbridge.ErrUnreachable}},
		"it is down": {answer{body: ping}, down, list(), []error{slurmbridge.ErrUnreachable}, []error{slurmbridge.ErrNoAccounting, slurmbridge.ErrCredentials}},
		"the token is old": {answer{body: ping}, down, refusal(511, 1007, "Protocol authentication error"),
			[]error{slurmbridge.ErrUnreachable, slurmbridge.ErrCredentials}, []error{slurmbridge.ErrNoAccounting}},
	} {
		t.Run(reason, func(t *testing.T) {
			s := newServer(t, map[string]answer{"GET /slurm/ping/": c.ping, "GET /slurmdb/jobs/": c.db, "GET /slurm/licenses/": c.ctld})
			_, err := open(t, s).Past(t.Context(), time.Time{}, keyOf(1))
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("%v, want %v", err, want)
				}
			}
			for _, not := range c.not {
				if errors.Is(err, not) {
					t.Errorf("%v is %v too", err, not)
				}
			}
		})
	}
}

// probe is what a work folder says.
type probe struct{ err error }

func (p probe) Probe(context.Context, string) error { return p.err }

func TestProbe(t *testing.T) {
	s := newServer(t, map[string]answer{"GET /slurm/licenses/": {body: `{"licenses": []}`}})
	c := open(t, s)
	if err := (Prober{Slurm: c, Files: probe{}}).Probe(t.Context(), "/w"); err != nil {
		t.Error(err)
	}
	if err := (Prober{Slurm: c, Files: probe{slurmbridge.ErrWorkDir}}).Probe(t.Context(), "/w"); !errors.Is(err, slurmbridge.ErrWorkDir) {
		t.Errorf("%v, want the folder's", err)
	}
	s.put("GET /slurm/licenses/", refusal(511, 1007, "Protocol authentication error"))
	if err := (Prober{Slurm: c, Files: probe{}}).Probe(t.Context(), "/w"); !errors.Is(err, slurmbridge.ErrCredentials) {
		t.Errorf("%v, want ErrCredentials", err)
	}
}

// fields are those of a JSON object.
func fields(t *testing.T, text string) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal([]byte(text), &out); err != nil {
		t.Fatal(err)
	}
	return out
}
