package s3

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/load"
	"assay.bench/internal/load/http1"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/s3/memory"
)

var phases = []load.Phase{load.Warmup, load.Measure, load.Cooldown}

func options(url string, mix rundir.S3Mix, size rundir.Size) Options {
	return Options{
		Plan: rundir.S3{
			Bucket: "bucket", Prefix: "run/load", Region: "us-east-1", Mix: mix, Objects: 8, Size: size, Payload: rundir.PayloadUnsigned,
		},
		URL: url, Credentials: Credentials{"key", "secret"}, Seed: 7, InFlight: 4, Ranks: 1, Clock: load.NewTimerClock(),
		Timeouts: http1.Timeouts{Total: 5 * time.Second},
	}
}

// once offers n requests over all ranks.
func once(t *testing.T, w *Workload, n int) *load.Result {
	t.Helper()
	root := fstest.MapFS{"proc/self/task/1/schedstat": {Data: []byte("0 0 0")}}
	run, err := load.New(load.Options{
		Rank: w.options.Rank, Ranks: w.options.Ranks, Seed: 7,
		Open:    &load.OpenLoop{Rate: 1000, Arrival: load.Constant, MaxInFlight: w.options.InFlight},
		Lengths: load.Lengths{Measure: time.Duration(n) * time.Millisecond}, Clock: w.options.Clock, Root: root,
	}, w)
	if err != nil {
		t.Fatal(err)
	}
	out, err := run.Run(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func counts(out *load.Result) map[string]int64 {
	all := map[string]int64{}
	for _, m := range out.Metrics {
		all[m.Name] = m.Count
	}
	return all
}

// What is offered arrives as it is offered, with every size and protection.
func TestMix(t *testing.T) {
	sizes := rundir.Size{Distribution: rundir.SizeUniform, Min: 1, Max: 200_000}
	for _, payload := range []string{rundir.PayloadUnsigned, rundir.PayloadSHA256, rundir.PayloadCRC32C} {
		for _, discard := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, discard %t", payload, discard), func(t *testing.T) {
				s, url := memory.New(t)
				o := options(url, rundir.S3Mix{Put: 3, Get: 4, Head: 2, Delete: 1}, sizes)
				o.Plan.Payload, o.Plan.Discard = payload, discard
				w, err := New(o)
				if err != nil {
					t.Fatal(err)
				}
				fill(s, w)
				stored := len(s.Objects)
				out := once(t, w, 200)
				if out.Measured.Succeeded != 200 || len(out.Errors) > 0 {
					t.Fatalf("%d of 200 succeeded: %+v", out.Measured.Succeeded, out.Errors)
				}
				got := counts(out)
				want := map[string]int64{"put": 60, "get": 80, "get_ttfb": 80, "head": 40, "delete": 20, "e2e": 200, "e2e_from_send": 200, "send_lag": 200}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				if len(s.Objects) != stored+60-20 {
					t.Errorf("the store holds %d objects, want %d", len(s.Objects), stored+60-20)
				}
				checkWritten(s, t, w)
			})
		}
	}
}

// checkWritten checks what the load wrote against its identity.
func checkWritten(s *memory.Store, t *testing.T, w *Workload) {
	t.Helper()
	for n := range uint64(60) {
		obj := w.offer.object(written, load.Measure, n)
		content, found := s.Objects[string(obj.appendKey(append([]byte(nil), w.root...)))]
		if !found {
			continue // deleted
		}
		if int64(len(content)) != obj.size {
			t.Errorf("object %d has %d bytes, want %d", n, len(content), obj.size)
		}
		if err := check(content, obj.identity, obj.size, 1<<20); err != nil {
			t.Errorf("object %d: %v", n, err)
		}
	}
}

// leaping is a clock that its user can move on.
type leaping struct {
	load.Clock
	by atomic.Int64
}

func (c *leaping) Now() int64 { return c.Clock.Now() + c.by.Load() }

// To hash a large object is a part of its write, however long it takes, and no delay of the client.
func TestHashingIsNoSendLag(t *testing.T) {
	const took = 20 * time.Second
	for _, payload := range []string{rundir.PayloadUnsigned, rundir.PayloadSHA256, rundir.PayloadCRC32C} {
		t.Run(payload, func(t *testing.T) {
			_, url := memory.New(t)
			clock := &leaping{Clock: load.NewTimerClock()}
			o := options(url, rundir.S3Mix{Put: 1}, fixed(8<<20))
			o.Plan.Payload, o.Clock, o.Timeouts = payload, clock, http1.Timeouts{}
			o.Wall = func() time.Time { // it is asked for the signature, which comes after the hash
				clock.by.Add(int64(took))
				return time.Unix(1_800_000_000, 0)
			}
			w, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			out := once(t, w, 1)
			if out.Measured.Succeeded != 1 {
				t.Fatalf("%+v", out.Errors)
			}
			most := map[string]time.Duration{}
			for _, m := range out.Metrics {
				most[m.Name] = time.Duration(m.Max)
			}
			if most[load.MetricSendLag] >= took/2 || most[Put] < took || most[load.MetricE2EFromSend] < took {
				t.Errorf("to hash took %v, send lag %v, write %v, from when it was sent %v", took, most[load.MetricSendLag], most[Put], most[load.MetricE2EFromSend])
			}
		})
	}
}

// Each fault is one entry of the taxonomy.
func TestFaults(t *testing.T) {
	const size = 100_000
	status := func(code int, words string) func(http.ResponseWriter, *http.Request, []byte) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, words)
			return true
		}
	}
	answer := func(change func([]byte) []byte) func(http.ResponseWriter, *http.Request, []byte) bool {
		return func(w http.ResponseWriter, _ *http.Request, content []byte) bool {
			memory.Give(w, change(append([]byte(nil), content...)))
			return true
		}
	}
	cut := func(w http.ResponseWriter, _ *http.Request, content []byte) bool {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content[:size/2])
		panic(http.ErrAbortHandler)
	}
	get, put, head := rundir.S3Mix{Get: 1}, rundir.S3Mix{Put: 1}, rundir.S3Mix{Head: 1}
	for name, c := range map[string]struct {
		mix    rundir.S3Mix
		spoil  func(http.ResponseWriter, *http.Request, []byte) bool
		kind   load.Kind
		code   int
		sample string
	}{
		"slow down":        {put, status(503, "<Error><Code>SlowDown</Code></Error>"), load.HTTP5xx, 503, "SlowDown: \n<Error><Code>SlowDown</Code>"},
		"full disk":        {put, status(507, "<Error><Code>XMinioStorageFull</Code></Error>"), load.HTTP5xx, 507, "XMinioStorageFull"},
		"wrong key":        {get, status(403, "<Error><Code>SignatureDoesNotMatch</Code></Error>"), load.HTTP4xx, 403, "SignatureDoesNotMatch"},
		"redirect":         {get, status(307, ""), load.HTTP4xx, 307, ""},
		"no content":       {get, status(204, ""), load.HTTP4xx, 204, ""},
		"flipped bit":      {get, answer(func(b []byte) []byte { b[77_777] ^= 2; return b }), load.Corrupt, 0, "at offset 73728: the block's CRC32C"},
		"shorter":          {get, answer(func(b []byte) []byte { return b[:size-1] }), load.Corrupt, 0, "Content-Length 99999 of an object of 100000 bytes"},
		"longer":           {get, answer(func(b []byte) []byte { return append(b, 1) }), load.Corrupt, 0, "Content-Length 100001"},
		"cut":              {get, cut, load.Truncated, 0, "closed the connection"},
		"HTML":             {get, status(200, "<html>"), load.Corrupt, 0, "Content-Length 6"},
		"another size":     {head, answer(func(b []byte) []byte { return b[:5] }), load.Corrupt, 0, "Content-Length 5 of an object of 100000 bytes"},
		"closed at once":   {put, func(http.ResponseWriter, *http.Request, []byte) bool { panic(http.ErrAbortHandler) }, load.Reset, 0, "closed the connection"},
		"overwritten":      {get, answer(func(b []byte) []byte { return whole(newContent(8), 1, size) }), load.Corrupt, 0, "of another object"},
		"foreign, as long": {get, answer(func(b []byte) []byte { return []byte(strings.Repeat("x", size)) }), load.Corrupt, 0, "someone else has overwritten"},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := memory.New(t)
			w, err := New(options(url, c.mix, fixed(size)))
			if err != nil {
				t.Fatal(err)
			}
			fill(s, w)
			s.Spoil = c.spoil
			out := once(t, w, 5)
			if out.Measured.Failed != 5 || len(out.Errors) != 1 {
				t.Fatalf("%d of 5 failed: %+v", out.Measured.Failed, out.Errors)
			}
			e := out.Errors[0]
			if e.Kind != string(c.kind) || e.Code != c.code || e.Count != 5 || !strings.Contains(e.Sample, c.sample) {
				t.Errorf("got %+v, want %s %d with %q", e, c.kind, c.code, c.sample)
			}
		})
	}
}

// An answer without a length that is too long is found, whether its content is checked or not.
func TestLongAnswersInChunks(t *testing.T) {
	for name, c := range map[string]struct {
		discard bool
		more    int
		sample  string
	}{
		"checked, a byte":    {false, 1, "the answer is longer than the object"},
		"checked, as much":   {false, 10_000, "the answer is longer than the object"},
		"discarded, a byte":  {true, 1, "10001 bytes of an object of 10000 bytes"},
		"discarded, as much": {true, 10_000, "20000 bytes of an object of 10000 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			s, url := memory.New(t)
			o := options(url, rundir.S3Mix{Get: 1}, fixed(10_000))
			o.Plan.Discard = c.discard
			w, err := New(o)
			if err != nil {
				t.Fatal(err)
			}
			fill(s, w)
			s.Spoil = func(w http.ResponseWriter, _ *http.Request, content []byte) bool {
				_ = http.NewResponseController(w).Flush() // from here on in chunks
				_, _ = w.Write(content)
				_, _ = w.Write(content[:c.more])
				return true
			}
			out := once(t, w, 5)
			if len(out.Errors) != 1 || out.Errors[0].Count != 5 || out.Errors[0].Kind != string(load.Corrupt) || !strings.Contains(out.Errors[0].Sample, c.sample) {
				t.Errorf("%d succeeded, errors %+v, want 5 corrupt with %q", out.Measured.Succeeded, out.Errors, c.sample)
			}
		})
	}
}

// One fault in a hundred is counted as that.
func TestFaultsAreCounted(t *testing.T) {
	s, url := memory.New(t)
	w, err := New(options(url, rundir.S3Mix{Get: 1}, fixed(10_000)))
	if err != nil {
		t.Fatal(err)
	}
	fill(s, w)
	n := 0
	s.Spoil = func(w http.ResponseWriter, _ *http.Request, _ []byte) bool {
		if n++; n%100 == 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	}
	out := once(t, w, 1000)
	if out.Measured.Succeeded != 990 || len(out.Errors) != 1 || out.Errors[0].Count != 10 || out.Errors[0].Code != 503 {
		t.Errorf("%d succeeded, errors %+v; want 990 and 10", out.Measured.Succeeded, out.Errors)
	}
	if len(s.Seen) != 1000 {
		t.Errorf("the server saw %d requests, want 1000: each attempt is one", len(s.Seen))
	}
}

func TestNewRefuses(t *testing.T) {
	good := options("http://host:9000", rundir.S3Mix{Get: 1}, fixed(1))
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for want, change := range map[string]func(*Options){
		`target "host:9000"`:                func(o *Options) { o.URL = "host:9000" },
		"use the URL of the endpoint alone": func(o *Options) { o.URL = "http://host:9000/bucket" },
		"add up to 0":                       func(o *Options) { o.Plan.Mix = rundir.S3Mix{} },
		"below 0":                           func(o *Options) { o.Plan.Mix.Put = -1 },
		"2 deletes for each 1 writes":       func(o *Options) { o.Plan.Mix = rundir.S3Mix{Put: 1, Delete: 2} },
		"no objects to read":                func(o *Options) { o.Plan.Objects = 0 },
		"a bucket and a prefix":             func(o *Options) { o.Plan.Prefix = "" },
		"sizes from 2 to 1":                 func(o *Options) { o.Plan.Size.Min = 2 },
		"size distribution":                 func(o *Options) { o.Plan.Size.Distribution = "" },
		"log-normal":                        func(o *Options) { o.Plan.Size.Distribution = rundir.SizeLogNormal },
		"payload":                           func(o *Options) { o.Plan.Payload = "" },
		"no secret key":                     func(o *Options) { o.Credentials.SecretKey = "" },
		"in flight":                         func(o *Options) { o.InFlight = 0 },
		"no clock":                          func(o *Options) { o.Clock = nil },
		"rank 2 of 2":                       func(o *Options) { o.Rank, o.Ranks = 2, 2 },
	} {
		o := good
		change(&o)
		if _, err := New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// fill stores what an offer needs beforehand.
func fill(s *memory.Store, w *Workload) {
	c := newContent(w.options.Seed)
	for _, phase := range phases {
		for _, set := range []set{dataSet, victims, spares} {
			for n := range w.offer.stored(set, phase) {
				obj := w.offer.object(set, phase, n)
				if rank, _, _ := w.offer.place(set, n); rank == uint64(w.options.Rank) {
					w.ledger.begin(obj)
					w.ledger.keep(obj)
				}
				s.Objects[string(obj.appendKey(append([]byte(nil), w.root...)))] = whole(c, obj.identity, obj.size)
			}
		}
	}
}
