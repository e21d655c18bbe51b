// Package conformance says what this project expects of an object store: real servers and the one in memory pass the same
// suite.
package conformance

import (
	"context"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"assay.bench/internal/load"
	"assay.bench/internal/load/http1"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/s3"
)

// Test loads the store at a URL with each way to protect a body. What the calls are named and how often each is made is
// exact; afterwards nothing is left below the prefix.
func Test(t *testing.T, url string, credentials s3.Credentials) {
	t.Helper()
	for _, payload := range []string{rundir.PayloadUnsigned, rundir.PayloadSHA256, rundir.PayloadCRC32C} {
		t.Run(payload, func(t *testing.T) {
			w, closeClock := workload(t, url, payload, credentials)
			defer closeClock()
			whole(t, w)
		})
	}
	t.Run("a prefix that is taken", func(t *testing.T) {
		w, closeClock := workload(t, url, rundir.PayloadUnsigned, credentials)
		defer closeClock()
		if _, err := w.Store(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Store(t.Context()); err == nil || !strings.Contains(err.Error(), "which is not ours") {
			t.Errorf("a second claim of the prefix: %v", err)
		}
		if _, err := w.Remove(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

const (
	inFlight = 4
	requests = 90 // ten rounds of the mix
	seed     = 7
)

func workload(t *testing.T, url, payload string, credentials s3.Credentials) (w *s3.Workload, done func()) {
	t.Helper()
	clock, err := load.NewClock()
	if err != nil {
		t.Fatal(err)
	}
	w, err = s3.New(s3.Options{
		Plan: rundir.S3{
			Bucket: "conformance", Prefix: "assay/" + strings.ToLower(payload), Region: "us-east-1",
			Mix: rundir.S3Mix{Put: 2, Get: 4, Head: 2, Delete: 1}, Objects: 16, Payload: payload,
			Size: rundir.Size{Distribution: rundir.SizeUniform, Min: 0, Max: 300_000},
		},
		URL: url, Credentials: credentials, Seed: seed, InFlight: inFlight, Ranks: 1, Clock: clock,
		Timeouts: http1.Timeouts{First: 30 * time.Second, Idle: 30 * time.Second, Total: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	return w, func() { _ = clock.Close() } // a timer
}

// whole stores, loads and removes.
func whole(t *testing.T, w *s3.Workload) {
	t.Helper()
	calls, err := w.Store(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stored, all := w.Stored()
	want := s3.Calls{"ListObjectsV2": 1, "PutObject": all + 1}
	if calls["CreateBucket"] > 0 {
		want["CreateBucket"] = 1 // the first to come makes it
	}
	if stored != all || all == 0 || !maps.Equal(want, calls) {
		t.Errorf("%d of %d objects are stored with the calls %v, want %v", stored, all, calls, want)
	}
	drive(t.Context(), t, w)
	calls, err = w.Remove(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// A round of nine writes two and deletes one.
	left := all + 1 + requests/9*2 - requests/9
	if want := (s3.Calls{"ListObjectsV2": 2, "DeleteObject": left}); !maps.Equal(want, calls) {
		t.Errorf("removed with the calls %v, want %v", calls, want)
	}
	calls, err = w.Store(t.Context()) // it refuses a prefix that holds anything
	if err != nil || calls["CreateBucket"] > 0 {
		t.Errorf("after the clean-up: %v, calls %v: the prefix is empty and the bucket stays", err, calls)
	}
	if _, err := w.Remove(t.Context()); err != nil {
		t.Error(err)
	}
}

// drive makes the requests.
func drive(ctx context.Context, t *testing.T, w *s3.Workload) {
	t.Helper()
	clock, err := load.NewClock()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = clock.Close() }() // a timer
	run, err := load.New(load.Options{
		Ranks: 1, Seed: seed, Open: &load.OpenLoop{Rate: 10 * requests, Arrival: load.Constant, MaxInFlight: inFlight},
		Lengths: load.Lengths{Measure: time.Second / 10}, DrainTimeout: time.Minute, Clock: clock, Root: os.DirFS("/"),
	}, w)
	if err != nil {
		t.Fatal(err)
	}
	out, err := run.Run(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if out.All.Succeeded != requests {
		t.Errorf("%d of %d requests succeeded: %+v", out.All.Succeeded, requests, out.Errors)
	}
	for call, want := range map[string]int64{"PutObject": 20, "GetObject": 40, "HeadObject": 20, "DeleteObject": 10} {
		if got := out.Total(call).All; got != want {
			t.Errorf("%d calls of %s, want %d", got, call, want)
		}
	}
}
