package plan

import (
	"cmp"
	"errors"
	"fmt"
	"path"

	"k8s.io/apimachinery/pkg/api/resource"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
)

// largestObject is what one PUT may store, by the S3 API.
const largestObject = 5 << 30

// setS3 maps the workload of an object store.
func (b builder) setS3(out *rundir.Client, w *v1alpha1.S3Workload) error {
	size, err := objectSize(w.Size)
	if err != nil {
		return v1alpha1.At("s3.size", err)
	}
	mix := rundir.S3Mix{Put: int(w.Mix.Put), Get: int(w.Mix.Get), Head: int(w.Mix.Head), Delete: int(w.Mix.Delete)}
	if mix == (rundir.S3Mix{}) {
		mix = rundir.S3Mix{Put: 1, Get: 1}
	}
	if mix.Delete > mix.Put {
		return v1alpha1.At("s3.mix.delete", fmt.Errorf("%d deletes for %d writes: there is never more to delete than was written", mix.Delete, mix.Put))
	}
	out.S3 = &rundir.S3{
		Bucket: cmp.Or(w.Bucket, "assay"), Region: cmp.Or(w.Region, "us-east-1"), Prefix: b.prefix(out.Name, w.Prefix),
		Mix: mix, Objects: int(cmp.Or(w.Objects, 64)), Size: size,
		Payload: cmp.Or(w.Payload, rundir.PayloadUnsigned), Discard: w.Content == v1alpha1.ContentDiscard,
	}
	return nil
}

// prefix is one that no other client, run, attempt or control plane writes below.
func (b builder) prefix(client, before string) string {
	return path.Join(before, "assay", b.Origin, b.Job.Namespace, b.run.Owner, b.run.Name, fmt.Sprintf("%s.%d", b.Job.Name, b.Attempt), client)
}

// objectSize maps a distribution of sizes.
func objectSize(s v1alpha1.ObjectSize) (rundir.Size, error) {
	out := rundir.Size{Distribution: rundir.SizeUniform}
	var bounds [2]v1alpha1.Quantity
	var field string
	switch {
	case s.Uniform != nil:
		field, bounds = "uniform", [2]v1alpha1.Quantity{s.Uniform.Min, s.Uniform.Max}
	case s.LogNormal != nil:
		field, bounds = "logNormal", [2]v1alpha1.Quantity{s.LogNormal.Min, s.LogNormal.Max}
	default:
		n, err := byteCount(s.Fixed)
		out.Min, out.Max = n, n
		return out, atField("fixed", err)
	}
	for i, into := range []*int64{&out.Min, &out.Max} {
		n, err := byteCount(bounds[i])
		if err != nil {
			return out, v1alpha1.At(field+[]string{".min", ".max"}[i], err)
		}
		*into = n
	}
	if out.Min > out.Max {
		return out, v1alpha1.At(field+".min", fmt.Errorf("%s is above max, %s", bounds[0], bounds[1]))
	}
	if s.LogNormal != nil {
		return logNormal(out, s.LogNormal)
	}
	return out, nil
}

func logNormal(out rundir.Size, l *v1alpha1.LogNormalSize) (rundir.Size, error) {
	out.Distribution = rundir.SizeLogNormal
	var err error
	if out.Median, err = byteCount(l.Median); err == nil && out.Median < 1 {
		err = errors.New("it is at least 1 byte")
	}
	if err != nil {
		return out, v1alpha1.At("logNormal.median", err)
	}
	if out.Median < out.Min || out.Median > out.Max {
		return out, v1alpha1.At("logNormal.median", fmt.Errorf("%s is not from min to max, %s to %s", l.Median, l.Min, l.Max))
	}
	if out.Sigma, err = l.Sigma.Float(); err == nil && (out.Sigma <= 0 || out.Sigma > 5) {
		err = fmt.Errorf("%q is not above 0 and at most 5", string(l.Sigma))
	}
	return out, atField("logNormal.sigma", err)
}

func atField(field string, err error) error {
	if err == nil {
		return nil
	}
	return v1alpha1.At(field, err)
}

// byteCount reads the size of an object.
func byteCount(q v1alpha1.Quantity) (int64, error) {
	v, err := resource.ParseQuantity(string(q))
	if err != nil {
		return 0, fmt.Errorf("%q: use an amount of bytes such as 8Mi", string(q))
	}
	n, whole := v.AsInt64()
	switch {
	case !whole || n < 0:
		return 0, fmt.Errorf("%q is no whole number of bytes", string(q))
	case n > largestObject:
		return 0, fmt.Errorf("%q is more than 5Gi, which is what one request may store", string(q))
	}
	return n, nil
}
