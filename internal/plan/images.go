package plan

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
)

// What a job that pulls images asks for, where the Site does not say. An image is packed by all CPUs that there are.
const (
	pullLimit = "30m"
	pullCPUs  = 4
)

// Images are those of some services that come from a registry, each digest once, in the order of the services.
func Images(services []*v1alpha1.ServiceParameters) []v1alpha1.PulledImage {
	var out []v1alpha1.PulledImage
	for _, s := range services {
		img := s.Image
		if img == nil || !rundir.FromRegistry(img.URI) {
			continue
		}
		if !slices.ContainsFunc(out, func(p v1alpha1.PulledImage) bool { return p.Digest == img.Digest }) {
			out = append(out, v1alpha1.PulledImage{URI: img.URI, Digest: img.Digest})
		}
	}
	return out
}

// BenchmarkImages are those of a benchmark's services that come from a registry.
func BenchmarkImages(bm *v1alpha1.Benchmark) []v1alpha1.PulledImage {
	var services []*v1alpha1.ServiceParameters
	for i := range bm.Spec.Services {
		services = append(services, &bm.Spec.Services[i].ServiceParameters)
	}
	return Images(services)
}

// needed are the images of the store that a job pulls, or that its services run in.
func (b builder) needed() []v1alpha1.PulledImage {
	if len(b.Job.Spec.Images) > 0 {
		return b.Job.Spec.Images
	}
	var services []*v1alpha1.ServiceParameters
	for _, ref := range b.Job.Spec.Components {
		if s, err := b.service(ref.Name); ref.Kind == "Service" && err == nil {
			services = append(services, &s.Spec.ServiceParameters)
		}
	}
	return Images(services)
}

// pulls are the images that the job puts into the store: all of its own, or those of a Service of its own, before which no
// other job pulls.
func (b builder) pulls() []rundir.ImagePull {
	if len(b.Job.Spec.Images) == 0 && !strings.HasPrefix(b.run.Owner, "service.") ||
		b.Site.Spec.Images.Pull == v1alpha1.PullNever {
		return nil
	}
	var out []rundir.ImagePull
	for _, img := range b.needed() {
		out = append(out, rundir.ImagePull{
			URI: img.URI, Digest: img.Digest, SIF: rundir.StoredImage(b.WorkDir, img.Digest),
			Insecure: slices.Contains(b.Site.Spec.Images.InsecureRegistries, registryOf(img.URI)),
		})
	}
	return out
}

// registryOf is the host of the registry that an image comes from, with its port.
func registryOf(uri string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return ""
	}
	return u.Host
}

// pullResources are those of a job that pulls images.
func pullResources(site *v1alpha1.Site) v1alpha1.Resources {
	r := merge(site.Spec.Images.Resources, site.Spec.Defaults.Client)
	r.Nodes, r.TimeLimit = 1, cmp.Or(site.Spec.Images.Resources.TimeLimit, pullLimit)
	r.CPUsPerTask = cmp.Or(r.CPUsPerTask, pullCPUs) // some centres refuse a job that does not say
	return r
}

// imageRecords are the paths of the records of the images that the job needs.
func (b builder) imageRecords() []StoredImage {
	var out []StoredImage
	for _, img := range b.needed() {
		sif := rundir.StoredImage(b.WorkDir, img.Digest)
		out = append(out, StoredImage{URI: img.URI, Digest: img.Digest, SIF: sif, Record: rundir.ImageRecordOf(sif)})
	}
	return out
}

// StoredImage is an image of the site's store that a job needs.
type StoredImage struct {
	URI, Digest string
	// SIF is its path, Record that of its rundir.ImageRecord.
	SIF, Record string
}

// String is for people.
func (i StoredImage) String() string { return fmt.Sprintf("%s (%s)", i.URI, i.Digest) }
