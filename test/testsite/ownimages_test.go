//go:build e2e

package testsite

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
	"assay.bench/test/site"
	"assay.bench/test/user"
)

// ownServices are Services that no Benchmark made, each out of an image of another kind, which its own job pulls before it
// starts the server: out of a registry, a layout in a folder, and a library. Where there is no such image, that is said.
func ownServices(t *testing.T, s *site.Site, programs string) {
	registry := imageOf(t, s, "own", treeOf(t, programs, []byte("of a registry")))
	layout := imageOf(t, s, "layout", treeOf(t, programs, []byte("of a layout")))
	folder := layoutOf(t, s, layout)
	address, library := libraryOf(t, s.SIF(treeOf(t, programs, []byte("of a library")), "library.sif"))
	images := map[string]v1alpha1.Image{
		"registry": {URI: "docker://" + registry.name, Digest: registry.digest},
		"layout":   {URI: "oci://" + folder, Digest: layout.digest},
		"library":  {URI: "library://" + address + "/assay/tests/server:v1", Digest: library},
	}
	const none = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	lacking := map[string]v1alpha1.Image{
		"no-layout":  {URI: images["layout"].URI, Digest: none},
		"no-library": {URI: images["library"].URI, Digest: none},
	}

	p := newPlane(t, s, "ssh")
	texts := []string{siteText("slurm", s.Get("WORK"), p.door("ssh")) + fmt.Sprintf("  images: {insecureRegistries: [%q, %q]}\n", s.Get("REGISTRY"), address)}
	for _, some := range []map[string]v1alpha1.Image{images, lacking} {
		for name, image := range some {
			texts = append(texts, fmt.Sprintf(ownService, name, image.URI, image.Digest))
		}
	}
	p.apply(texts...)
	for name, image := range images {
		p.u.Must("assay", "kubectl", "wait", "--for=condition=Ready", "bsvc/"+name, "--timeout", user.Within.String())
		checkRecord(t, s, image)
	}
	for name, image := range lacking {
		want := fmt.Sprintf("the registry has no %s (%s) with this digest", image.URI, none)
		if name == "no-layout" {
			want = fmt.Sprintf("the OCI layout %s: it has no image with the digest %s", folder, none)
		}
		var b v1alpha1.Service
		p.until(name+" ends", func() bool {
			p.get(kinds+"services/"+name, &b)
			return is(b.Status.Conditions, v1alpha1.ConditionStalled) != ""
		}, func() any { return b.Status })
		reason, said := is(b.Status.Conditions, v1alpha1.ConditionStalled), message(b.Status.Conditions, v1alpha1.ConditionStalled)
		if reason != "True ImageUnknown" || !strings.Contains(said, want) {
			t.Errorf("%s: %s, %q, want ImageUnknown and %q", name, reason, said, want)
		}
	}
	p.u.Must("assay", "kubectl", "delete", "bsvc", "--all", "--timeout", user.Within.String())
}

// ownService is one by name, image and digest.
const ownService = `apiVersion: assay.bench/v1alpha1
kind: Service
metadata: {name: %s}
spec:
  site: slurm
  image: {uri: %q, digest: %q}
  command:
    argv: [/bin/server, llmsim, --model, m, --host, $(HOST), --port, $(PORT)]
    ports: [{name: http}]
    probes: [{model: {name: m}}]
  resources: {cpusPerTask: 1, memory: 1Gi}
`

// checkRecord looks at what the store says of an image.
func checkRecord(t *testing.T, s *site.Site, image v1alpha1.Image) {
	t.Helper()
	sif := rundir.StoredImage(s.Get("WORK"), image.Digest)
	b, err := os.ReadFile(rundir.ImageRecordOf(sif))
	if err != nil {
		t.Error(err)
		return
	}
	r, err := rundir.ParseImageRecord(b)
	if err != nil || r.URI != image.URI || r.Digest != image.Digest || r.SHA256 == "" {
		t.Errorf("the store says %+v, %v; want it of %+v", r, err, image)
	}
}

// layoutOf makes an OCI layout on the site out of an image of its registry. It names another image as well, which is not
// there: a layout may hold many.
func layoutOf(t *testing.T, s *site.Site, img registryImage) string {
	t.Helper()
	folder := filepath.Join(s.Get("SHARE"), "layout")
	blobs := filepath.Join(folder, "blobs", "sha256")
	if err := os.MkdirAll(blobs, 0o755); err != nil {
		t.Fatal(err)
	}
	address, name, _ := strings.Cut(img.name, "/")
	get := func(kind, digest string) (content []byte, mediaType string) {
		t.Helper()
		res, err := http.Get("http://" + address + "/v2/" + name + "/" + kind + "/" + digest)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		content, err = io.ReadAll(res.Body)
		if err == nil {
			err = os.WriteFile(filepath.Join(blobs, strings.TrimPrefix(digest, "sha256:")), content, 0o644)
		}
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s %s: %s, %v", kind, digest, res.Status, err)
		}
		return content, res.Header.Get("Content-Type")
	}
	content, mediaType := get("manifests", img.digest)
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int64  `json:"size"`
	}
	var manifest struct {
		Config descriptor
		Layers []descriptor
	}
	if err := json.Unmarshal(content, &manifest); err != nil {
		t.Fatal(err)
	}
	for _, d := range append(manifest.Layers, manifest.Config) {
		get("blobs", d.Digest)
	}
	index, err := json.Marshal(map[string]any{"schemaVersion": 2, "manifests": []descriptor{
		{mediaType, "sha256:" + strings.Repeat("1", 64), 1}, {mediaType, img.digest, int64(len(content))},
	}})
	err = cmp.Or(err, os.WriteFile(filepath.Join(folder, "index.json"), index, 0o644),
		os.WriteFile(filepath.Join(folder, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`), 0o644))
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// libraryOf is a library with one image, under the name that its digest gives it. It speaks as much of the protocol as
// Apptainer asks for.
func libraryOf(t *testing.T, sif string) (address, digest string) {
	t.Helper()
	content, err := os.ReadFile(sif)
	if err != nil {
		t.Fatal(err)
	}
	sum := fmt.Sprintf("%x", sha256.Sum256(content))
	name := "/assay/tests/server:sha256." + sum
	library := http.NewServeMux()
	library.HandleFunc("GET /v1/images"+name, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"data": {"hash": "sha256.%s", "size": %d, "uploaded": true}}`, sum, len(content))
	})
	library.HandleFunc("GET /v1/imagefile"+name, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		_, _ = w.Write(content) // who does not read on sees it
	})
	server := httptest.NewServer(library)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://"), "sha256:" + sum
}
