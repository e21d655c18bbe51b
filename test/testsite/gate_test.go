//go:build e2e

package testsite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"assay.bench/test/site"
	"assay.bench/test/user"
)

// Points of a submit at which a gate stops it.
const (
	before = "before" // Slurm has not heard of it yet
	after  = "after"  // Slurm has the job, and the answer is not given yet
)

// gate stands before sbatch and slurmrestd and stops the next submit of a control plane where a test wants it. What it
// does is in files, for sbatch is run on the login node: "armed" names a point, NUMBER.here says that a submit is there,
// NUMBER.go lets it go on, and NUMBER.done says that Slurm has answered. While there is a file "lies", a submit that Slurm
// took is said to have timed out, and NUMBER.lied is made.
type gate struct {
	t   *testing.T
	dir string
	// known are the submits that reached has returned.
	known map[string]bool
}

// gatedSbatch takes the place of sbatch. It asks a job's name for the control plane, and leaves all but submits as they are.
const gatedSbatch = `#!/bin/bash
real=/usr/libexec/sbatch
[[ " $* " == *" --hold "* ]] || exec $real "$@"
script=$(cat && echo x) script=${script%%x} point='' origin=none
[[ ! $script =~ --job-name=assay-([0-9a-f]{8})- ]] || origin=${BASH_REMATCH[1]}
at='%s'/$origin/$$
mv "${at%%/*}/armed" $at.point 2>/dev/null && point=$(<$at.point)
stop() {
  [[ $point == "$1" ]] || return 0
  : >$at.here
  until [[ -e $at.go ]]; do read -rt 0.02 <> <(:); done
}
stop before
out=$(printf %%s "$script" | $real "$@")
code=$?
{ : >$at.done; } 2>/dev/null # not all control planes have a gate
stop after
if [[ -e ${at%%/*}/lies && $code == 0 ]]; then
  : >$at.lied
  echo 'sbatch: error: Batch job submission failed: Socket timed out on send/recv operation' >&2
  exit 1
fi
[[ -z $out ]] || printf '%%s\n' "$out"
exit $code
`

// gates puts gates before sbatch of a site, and returns the folder in which they are.
func gates(t *testing.T, s *site.Site) string {
	t.Helper()
	dir := filepath.Join(s.Get("STATE"), "tmp", "gates")
	program := filepath.Join(s.Get("SHARE"), "sbatch")
	err := errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(program, fmt.Appendf(nil, gatedSbatch, dir), 0o755))
	if err != nil {
		t.Fatal(err)
	}
	s.Root("mv", "/usr/bin/sbatch", "/usr/libexec/sbatch") // it is another program under another name
	s.Root("cp", program, "/usr/bin/sbatch")
	return dir
}

// gateOf is the gate of a control plane.
func gateOf(t *testing.T, gates, origin string) *gate {
	t.Helper()
	g := &gate{t: t, dir: filepath.Join(gates, origin), known: map[string]bool{}}
	err := os.Mkdir(g.dir, 0o755)
	if err == nil {
		err = os.Chmod(g.dir, 0o777) // hpc's sbatch and this process write there
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// arm has the next submit stop at a point.
func (g *gate) arm(point string) {
	g.t.Helper()
	path := filepath.Join(g.dir, "armed")
	err := os.WriteFile(path+".new", []byte(point), 0o644)
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// lie has submits answered wrongly, or not any more.
func (g *gate) lie(on bool) {
	g.t.Helper()
	path := filepath.Join(g.dir, "lies")
	var err error
	if on {
		err = os.WriteFile(path, nil, 0o644)
	} else if err = os.Remove(path); errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	if err != nil {
		g.t.Fatal(err)
	}
}

// lies is how many submits were answered wrongly.
func (g *gate) lies() int {
	g.t.Helper()
	found, err := filepath.Glob(filepath.Join(g.dir, "*.lied"))
	if err != nil {
		g.t.Fatal(err)
	}
	return len(found)
}

// reached waits until the next submit is at the point, and returns what lets it go on.
func (g *gate) reached() (open func()) {
	g.t.Helper()
	var at string
	user.Until(g.t, "a submit comes to the gate", func() bool {
		found, err := filepath.Glob(filepath.Join(g.dir, "*.here"))
		if err != nil {
			g.t.Fatal(err)
		}
		for _, path := range found {
			at = strings.TrimSuffix(path, ".here")
			if !g.known[at] {
				return true
			}
		}
		return false
	})
	g.known[at] = true
	return func() {
		if err := os.WriteFile(at+".go", nil, 0o644); err != nil {
			g.t.Error(err)
		}
	}
}

// finished waits until Slurm has answered every submit that was stopped.
func (g *gate) finished() {
	g.t.Helper()
	for at := range g.known {
		user.Until(g.t, "a stopped submit reaches Slurm", func() bool {
			_, err := os.Stat(at + ".done")
			return err == nil
		})
	}
}

var nameOfJob = regexp.MustCompile(`"name":"assay-([0-9a-f]{8})-`)

// restGate is what stands before slurmrestd: the gates of sbatch, for requests.
type restGate struct {
	t     *testing.T
	gates string
	count atomic.Int64
}

// gatedREST is the address of a proxy before slurmrestd.
func gatedREST(t *testing.T, s *site.Site, gates string) string {
	t.Helper()
	g := &restGate{t: t, gates: gates}
	submits := func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/job/submit") }
	return user.NewProxy(t, s.Get("REST_URL"), user.Fault{For: submits, Every: 1, Spoil: g.submit}).URL
}

// submit passes a request on, which goes its way though whoever sent it is gone.
func (g *restGate) submit(w http.ResponseWriter, r *http.Request, forward http.Handler) {
	body, err := io.ReadAll(r.Body)
	if err != nil { // whoever sent it was killed in the midst of it
		panic(http.ErrAbortHandler)
	}
	m := nameOfJob.FindSubmatch(body)
	if m == nil {
		g.t.Errorf("a submit of %d bytes without a name of ours", len(body))
		panic(http.ErrAbortHandler)
	}
	at := filepath.Join(g.gates, string(m[1]), "rest"+strconv.FormatInt(g.count.Add(1), 10))
	point := ""
	if os.Rename(filepath.Join(filepath.Dir(at), "armed"), at+".point") == nil {
		b, err := os.ReadFile(at + ".point")
		if err != nil {
			g.t.Error(err)
		}
		point = string(b)
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	g.stop(at, point, before)
	answer := httptest.NewRecorder()
	forward.ServeHTTP(answer, r.WithContext(context.WithoutCancel(r.Context())))
	g.note(at + ".done")
	g.stop(at, point, after)
	if _, err := os.Stat(filepath.Join(filepath.Dir(at), "lies")); err == nil && answer.Code == http.StatusOK {
		g.note(at + ".lied")
		user.Reply(http.StatusInternalServerError, "application/json",
			`{"errors": [{"description": "Batch job submission failed", "error_number": 5004, "error": "Socket timed out on send/recv operation", "source": "slurm_submit_batch_job()"}]}`,
		)(w, r, nil)
		return
	}
	maps.Copy(w.Header(), answer.Header())
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes()) // whoever asked may be gone
}

func (g *restGate) note(path string) {
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		g.t.Error(err)
	}
}

func (g *restGate) stop(at, point, here string) {
	if point != here {
		return
	}
	g.note(at + ".here")
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(at + ".go"); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-g.t.Context().Done():
			return
		}
	}
}
