package rest

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"assay.bench/slurmbridge"
)

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}

// The newest version that both have is taken, once, and with what the server is.
func TestVersion(t *testing.T) {
	for reason, c := range map[string]struct {
		has  []string
		want string
	}{
		"Slurm 23.02":               {[]string{"v0.0.37", "v0.0.38", "v0.0.39"}, "v0.0.39"},
		"Slurm 24.11":               {[]string{"v0.0.40", "v0.0.41", "v0.0.42"}, "v0.0.42"},
		"Slurm 25.11":               {[]string{"v0.0.41", "v0.0.42", "v0.0.43", "v0.0.44"}, "v0.0.44"},
		"newer than we know of one": {[]string{"v0.0.44", "v0.0.45", "v0.0.46", "v0.0.47"}, "v0.0.45"},
	} {
		t.Run(reason, func(t *testing.T) {
			s := newServer(t, map[string]answer{"GET /slurm/jobs/": list()})
			s.versions = c.has
			slurm, err := Open(t.Context(), options(s))
			if err != nil {
				t.Fatal(err)
			}
			if f := slurm.Facts(); f.API != c.want || f.Version != "24.11.5" || f.Cluster != "meluxina" {
				t.Errorf("%+v, want %s", f, c.want)
			}
			s.took()
			var wg sync.WaitGroup
			for range 5 {
				wg.Go(func() {
					if _, err := slurm.List(t.Context()); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if asked := s.took(); len(asked) != 5 || slices.ContainsFunc(asked, func(a string) bool { return a != "GET /slurm/"+c.want+"/jobs/" }) {
				t.Errorf("asked %q", asked)
			}
		})
	}
}

func TestVersionTooOld(t *testing.T) {
	s := newServer(t, map[string]answer{"GET /openapi/v3": {body: `{"paths": {"/slurm/v0.0.36/ping": {}, "/slurm/v0.0.38/ping": {}}}`}})
	s.versions = nil
	_, err := Open(t.Context(), options(s))
	want := "has none of v0.0.39 to v0.0.45 of Slurm's API, only v0.0.36, v0.0.38: use another way to this site, or a newer Slurm (23.02 or later)"
	if !errors.Is(err, slurmbridge.ErrUnreachable) || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("%v, want %s", err, want)
	}
	s.put("GET /openapi/v3", answer{status: 404})
	if _, err := Open(t.Context(), options(s)); err == nil || !strings.HasSuffix(err.Error(), "look at the address") {
		t.Errorf("something else at the address: %v", err)
	}
}

// A server that was replaced by another Slurm is agreed with anew.
func TestVersionOfAReplacedServer(t *testing.T) {
	s := newServer(t, map[string]answer{"GET /slurm/jobs/": list(job(17, keyOf(1), "RUNNING", ""))})
	c := open(t, s)
	s.mu.Lock()
	s.versions = []string{"v0.0.43", "v0.0.44"}
	s.mu.Unlock()
	if jobs, err := c.List(t.Context()); !errors.Is(err, slurmbridge.ErrUnreachable) {
		t.Errorf("%v, %v; want ErrUnreachable once", jobs, err)
	}
	if jobs, err := c.List(t.Context()); err != nil || len(jobs) != 1 || c.Facts().API != "v0.0.44" {
		t.Errorf("%v, %v with %s; want the job with v0.0.44", jobs, err, c.Facts().API)
	}
}

// A server that wants a token, or is away, has not said that it lacks a version.
func TestVersionOfNoAnswer(t *testing.T) {
	s := newServer(t, nil)
	s.put("GET /slurm/v0.0.45/ping/", answer{status: 401, body: "Authentication failure"})
	if _, err := Open(t.Context(), options(s)); !errors.Is(err, slurmbridge.ErrCredentials) {
		t.Errorf("%v, want ErrCredentials", err)
	}
	s.put("GET /slurm/v0.0.45/ping/", answer{status: 503})
	if _, err := Open(t.Context(), options(s)); !errors.Is(err, slurmbridge.ErrUnreachable) || len(s.took()) != 2 {
		t.Errorf("%v, want ErrUnreachable after one request", err)
	}
}
