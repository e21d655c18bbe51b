//go:build e2e

package testsite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/conformance"
	"assay.bench/slurmbridge/rest"
	"assay.bench/slurmbridge/wire"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// Slurmrestd passes the suite of all transports, with accounting and without. It carries no files: those go over SSH, as
// the tokens come.
func TestRESTConforms(t *testing.T) {
	t.Parallel()
	program, each := nodeProgram(t), map[string]func(*testing.T){}
	for _, name := range []string{site.Slurm2411, site.Slurm2411Plain} {
		each[name] = func(t *testing.T) {
			s := site.Up(t, name)
			host := login(t, s)
			node := staged(t, s, host, program)
			left := without("dial", "a Site of slurmrestd dials with the host of its files", "noise", "an answer over HTTP has nothing beside it")
			conformance.RunShared(t, left, func(t *testing.T) conformance.Harness {
				wires, files := &faultyHTTP{}, host.Files(node)
				open := func(t *testing.T, origin string) slurmbridge.Jobs {
					t.Helper()
					slurm := openREST(t, s.Get("REST_URL"), host, origin, wires)
					t.Cleanup(func() { endAll(t, slurm) })
					return struct {
						*rest.Slurm
						rest.Prober
					}{slurm, rest.Prober{Slurm: slurm, Files: host}}
				}
				return siteHarness(t, placeOf(t, s), open, host, files, conformance.Faults{
					LoseReply: wires.loseReply, Truncate: wires.truncate, Outage: wires.setOutage,
				})
			})
		}
	}
	user.AtOnce(t, each)
}

// openREST opens slurmrestd with tokens that scontrol makes.
func openREST(t *testing.T, url string, runner slurmbridge.Runner, origin string, wires http.RoundTripper) *rest.Slurm {
	t.Helper()
	slurm, err := rest.Open(t.Context(), rest.Options{
		URL: url, Origin: origin, Transport: wires,
		Credentials: func(context.Context) (rest.Credentials, error) { return rest.Credentials{User: "hpc"}, nil },
		Refresh:     func(ctx context.Context) (string, error) { return token(ctx, runner, "600") },
	})
	if err != nil {
		t.Fatal(err)
	}
	return slurm
}

// token is one that is valid for some seconds.
func token(ctx context.Context, runner slurmbridge.Runner, seconds string) (string, error) {
	out, err := runner.Run(ctx, slurmbridge.Command{Argv: []string{"scontrol", "token", "lifespan=" + seconds}})
	if err != nil {
		return "", err
	}
	return wire.ParseToken(out.Stdout)
}

// faultyHTTP is what lies between us and slurmrestd, and can err.
type faultyHTTP struct {
	// newest is the newest version that the site seems to have; "" for what it has.
	newest string

	mu             sync.Mutex
	outage         bool
	lose, truncats int
}

func (f *faultyHTTP) loseReply()        { f.set(func() { f.lose++ }) }
func (f *faultyHTTP) truncate()         { f.set(func() { f.truncats++ }) }
func (f *faultyHTTP) setOutage(on bool) { f.set(func() { f.outage = on }) }

func (f *faultyHTTP) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// RoundTrip makes a request and spoils its answer.
func (f *faultyHTTP) RoundTrip(req *http.Request) (*http.Response, error) {
	f.mu.Lock()
	outage := f.outage
	f.mu.Unlock()
	if outage {
		return nil, errors.New("an outage")
	}
	if v := strings.Split(req.URL.Path, "/"); f.newest != "" && len(v) > 2 && v[2] > f.newest {
		return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Request: req}, nil
	}
	res, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.lose > 0 && strings.HasSuffix(req.URL.Path, "/job/submit"):
		f.lose--
		res.Body.Close()
		return nil, errors.New("the answer is lost")
	case f.truncats > 0 && strings.HasSuffix(req.URL.Path, "/jobs/"):
		f.truncats--
		return cutBody(res)
	}
	return res, nil
}

// cutBody leaves two thirds of an answer, and lets them look whole.
func cutBody(res *http.Response) (*http.Response, error) {
	text, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		return nil, fmt.Errorf("the answer to be cut: %w", err)
	}
	res.Body = io.NopCloser(bytes.NewReader(text[:len(text)*2/3]))
	return res, nil
}
