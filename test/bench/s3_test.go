//go:build bench

package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"assay.bench/internal/load"
	"assay.bench/internal/workloads/s3"
	"assay.bench/test/user"
)

// objectStore compares what our client uses of a processor with what minio-go does, which is the client inside warp: each
// reads or writes one object after the other on a core of its own, at a MinIO on another one.
func objectStore(t *testing.T, r *rows, s size) {
	server := startMinIO(t)
	drop := s3Job{Server: server, Prefix: "large", Objects: 8, Size: 8 << 20, Length: s.s3, Discard: true}
	verify, put, small := drop, drop, drop
	verify.Discard = false
	put.Prefix, put.Put, put.Objects = "put", true, 0
	small.Prefix, small.Objects, small.Size, small.Discard = "small", 256, 4<<10, false
	drop.store(t)
	small.store(t)

	const perGB = "CPU-s/GB"
	large := alternately(t, s.repeats, drop, verify, drop.baseline())
	r.ratioAtMost("S3 GET of 8 MiB, content not verified: the client, beside minio-go", perGB, 0.35, cpuPerGB(large[0]), cpuPerGB(large[2]))
	r.ratioAtMost("S3 GET of 8 MiB, content verified: the client, beside minio-go", perGB, 0.6, cpuPerGB(large[1]), cpuPerGB(large[2]))
	writes := alternately(t, s.repeats, put, put.baseline())
	r.ratioAtMost("S3 PUT of 8 MiB, unsigned: the client, beside minio-go with its SHA-256", perGB, 0.35, cpuPerGB(writes[0]), cpuPerGB(writes[1]))
	little := alternately(t, s.repeats, small, small.baseline())
	r.ratioAtMost("S3 GET of 4 KiB, content verified: the client, beside minio-go", "CPU-µs", 0.55, cpuPerOperation(little[0]), cpuPerOperation(little[1]))
}

// alternately runs jobs one after the other, forwards and backwards in turn, so that none is always the first: what each
// used, by job and repeat.
func alternately(t *testing.T, repeats int, jobs ...s3Job) [][]s3Report {
	t.Helper()
	out := make([][]s3Report, len(jobs))
	for n := range repeats {
		for i := range jobs {
			if n%2 == 1 {
				i = len(jobs) - 1 - i
			}
			out[i] = append(out[i], jobs[i].run(t))
		}
	}
	return out
}

// baseline is the same work by minio-go.
func (j s3Job) baseline() s3Job {
	j.Baseline = true
	return j
}

// store makes the bucket and the data set of a job, and returns who may remove it. The data set is empty for one that
// writes.
func (j s3Job) store(t *testing.T) *s3.Workload {
	t.Helper()
	w, err := j.workload(load.NewTimerClock())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Store(t.Context()); err != nil {
		t.Fatal(err)
	}
	return w
}

// run runs the client of a job in a process of its own, on a core of its own. A client ends with an error at the first
// answer that is not as it should be; that the store holds what was written is checked here.
func (j s3Job) run(t *testing.T) s3Report {
	t.Helper()
	var written *s3.Workload
	if j.Put {
		written = j.store(t)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	order, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), program, s3ClientArg)
	cmd.Env = []string{"GOMAXPROCS=1"}
	var out, words bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(order), &out, &words
	core := user.Cores(t)[0]
	user.StartedOn(t, []int{core}, func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	user.Own(t, cmd.Process.Pid, core)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("%s: %v\n%s", j, err, words.Bytes())
	}
	var report s3Report
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%s: %v: %q", j, err, out.Bytes())
	}
	if report.Operations < 1 || report.Bytes != report.Operations*j.Size {
		t.Fatalf("%s: %d operations with %d bytes", j, report.Operations, report.Bytes)
	}
	t.Logf("%s: %d operations, %v", j, report.Operations, report.CPU)
	if j.Put {
		j.remove(t, written, report)
	}
	return report
}

// remove deletes what a job wrote, and counts it.
func (j s3Job) remove(t *testing.T, w *s3.Workload, report s3Report) {
	t.Helper()
	calls, err := w.Remove(t.Context(), report.Manifest)
	if err != nil {
		t.Fatal(err)
	}
	if found := calls["DeleteObject"] - 1; found != report.Operations { // one is the mark
		t.Fatalf("%s: the store holds %d objects, want %d", j, found, report.Operations)
	}
}

func (j s3Job) String() string {
	client, work := "assay", "GET"
	if j.Baseline {
		client = "minio-go"
	}
	if j.Put {
		work = "PUT"
	}
	return fmt.Sprintf("%s, %s of %d bytes, verified %t", client, work, j.Size, !j.Put && !j.Baseline && !j.Discard)
}

func cpuPerGB(reports []s3Report) []float64 {
	out := make([]float64, len(reports))
	for i, r := range reports {
		out[i] = r.CPU.Seconds() / (float64(r.Bytes) / 1e9)
	}
	return out
}

// cpuPerOperation is in µs.
func cpuPerOperation(reports []s3Report) []float64 {
	out := make([]float64, len(reports))
	for i, r := range reports {
		out[i] = r.CPU.Seconds() / float64(r.Operations)
	}
	return micro(out)
}
