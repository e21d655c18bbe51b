//go:build bench

package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"golang.org/x/sys/unix"

	"assay.bench/internal/load"
	"assay.bench/internal/load/http1"
	"assay.bench/internal/rundir"
	"assay.bench/internal/workloads/s3"
	"assay.bench/test/user"
)

// s3ClientArg makes this program a client of an object store. Its job comes on standard input.
const s3ClientArg = "s3-client"

// s3Job is what a client does: it reads or writes objects of one size, one after the other, for some time.
type s3Job struct {
	Server user.Account
	Prefix string
	// Baseline is minio-go's client instead of ours.
	Baseline bool
	Put      bool
	// Discard leaves what our client reads unverified; minio-go's does always.
	Discard bool
	// Objects of Size bytes lie below Prefix, to be read.
	Objects int
	Size    int64
	Length  time.Duration
}

// s3Report is what a client did, and what it used of the processor meanwhile.
type s3Report struct {
	CPU               time.Duration
	Operations, Bytes int64
	// Manifest is what it has written.
	Manifest s3.Manifest
}

const bucket = "bench"

// s3Client runs one job.
func s3Client(in io.Reader, out io.Writer) error {
	var job s3Job
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return err
	}
	work := job.ours
	if job.Baseline {
		work = job.minioGo
	}
	report, err := work()
	if err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(report)
}

// processorTime is what this process has used of all cores, in the kernel too.
func processorTime() time.Duration {
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		panic(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// metered measures what a worker uses from its making to its end: all of the load, but not the result, which is packed
// once, however long the load was.
type metered struct {
	load.Workload
	used time.Duration
}

type meteredWorker struct {
	load.Worker
	meter *metered
}

func (m *metered) Worker(ctx context.Context, n int) (load.Worker, error) {
	w, err := m.Workload.Worker(ctx, n)
	m.used = -processorTime()
	return meteredWorker{w, m}, err
}

func (w meteredWorker) Close() {
	w.meter.used += processorTime()
	w.Worker.Close()
}

// workload is our client's, as a plan makes it.
func (j s3Job) workload(clock load.Clock) (*s3.Workload, error) {
	plan := rundir.S3{
		Bucket: bucket, Prefix: j.Prefix, Region: "us-east-1", Mix: rundir.S3Mix{Get: 1}, Objects: j.Objects, Discard: j.Discard,
		Size: rundir.Size{Distribution: rundir.SizeUniform, Min: j.Size, Max: j.Size}, Payload: rundir.PayloadUnsigned,
	}
	if j.Put {
		plan.Mix = rundir.S3Mix{Put: 1}
	}
	return s3.New(s3.Options{
		Plan: plan, URL: j.Server.URL, Seed: 1, InFlight: 1, Closed: true, Ranks: 1, Clock: clock,
		Credentials: s3.Credentials{AccessKey: j.Server.Access, SecretKey: j.Server.Secret},
		Timeouts:    http1.Timeouts{First: 30 * time.Second, Idle: 30 * time.Second, Total: time.Minute},
	})
}

// ours is the whole client of a load, with all that it records and its look at itself: one worker in a closed loop.
func (j s3Job) ours() (s3Report, error) {
	clock, err := load.NewClock()
	if err != nil {
		return s3Report{}, err
	}
	w, err := j.workload(clock)
	if err != nil {
		return s3Report{}, err
	}
	meter := &metered{Workload: w}
	run, err := load.New(load.Options{
		Ranks: 1, Seed: 1, Closed: &load.ClosedLoop{Concurrency: 1}, Lengths: load.Lengths{Measure: j.Length},
		Clock: clock, Root: os.DirFS("/"),
	}, meter)
	if err != nil {
		return s3Report{}, err
	}
	out, err := run.Run(context.Background())
	if err != nil {
		return s3Report{}, err
	}
	n, moved, calls := out.All.Succeeded, s3.BytesRead, "GetObject"
	if j.Put {
		moved, calls = s3.BytesWritten, "PutObject"
	}
	if out.All.Offered != n || out.All.Attempts != n || out.Total(calls).All != n || len(out.AllErrors) > 0 {
		return s3Report{}, fmt.Errorf("of %d requests %d succeeded, in %d calls: %+v", out.All.Offered, n, out.Total(calls).All, out.AllErrors)
	}
	return s3Report{CPU: meter.used, Operations: n, Bytes: out.Total(moved).All, Manifest: w.Manifest(false)}, nil
}

// minioGo is minio-go as warp sets it up, but for retries, which would hide failures, and with nothing around it: no counts
// and no latencies.
func (j s3Job) minioGo() (s3Report, error) {
	var report s3Report
	transport, err := minio.DefaultTransport(false)
	if err != nil {
		return report, err
	}
	transport.ReadBufferSize, transport.WriteBufferSize = 32<<10, 32<<10 // as warp has them
	client, err := minio.New(strings.TrimPrefix(j.Server.URL, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(j.Server.Access, j.Server.Secret, ""), Transport: transport, MaxRetries: 1,
	})
	if err != nil {
		return report, err
	}
	prepare := j.minioGet
	if j.Put {
		prepare = j.minioPut
	}
	once, err := prepare(client)
	if err != nil {
		return report, err
	}
	report.CPU = -processorTime()
	for end := time.Now().Add(j.Length); time.Now().Before(end); report.Operations++ {
		n, err := once(int(report.Operations))
		if err != nil {
			return report, err
		}
		report.Bytes += n
	}
	report.CPU += processorTime()
	if j.Put {
		report.Manifest = s3.Manifest{Begun: map[string][]uint64{"p/m": {uint64(report.Operations)}}}
	}
	return report, nil
}

// minioGet reads the objects that our client reads.
func (j s3Job) minioGet(client *minio.Client) (func(n int) (int64, error), error) {
	var keys []string
	for object := range client.ListObjects(context.Background(), bucket, minio.ListObjectsOptions{Prefix: j.Prefix + "/", Recursive: true}) {
		if object.Err != nil {
			return nil, object.Err
		}
		if object.Size == j.Size {
			keys = append(keys, object.Key)
		}
	}
	if len(keys) < j.Objects {
		return nil, fmt.Errorf("%d of %d objects are there", len(keys), j.Objects)
	}
	return func(n int) (int64, error) {
		object, err := client.GetObject(context.Background(), bucket, keys[n%len(keys)], minio.GetObjectOptions{})
		if err != nil {
			return 0, err
		}
		size, err := io.Copy(io.Discard, object)
		return size, errors.Join(err, object.Close())
	}, nil
}

// minioPut writes objects of which each has a key of its own, as our client does, and of the same form: others would not be
// removed.
func (j s3Job) minioPut(client *minio.Client) (func(n int) (int64, error), error) {
	content := make([]byte, j.Size)
	if _, err := rand.Read(content); err != nil {
		return nil, err
	}
	return func(n int) (int64, error) {
		info, err := client.PutObject(context.Background(), bucket, j.Prefix+"/p/m/"+strconv.Itoa(n), bytes.NewReader(content), j.Size, minio.PutObjectOptions{})
		return info.Size, err
	}, nil
}
