package rundir

import (
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Image is a container image.
type Image struct {
	URI string `json:"uri"`
	// Digest of an image from a registry; for one that is a file of the site it is the file's SHA-256, and checked before
	// the server starts.
	Digest string `json:"digest,omitempty"`
	// SIF is the file to run, in the site's store: that of an image from a registry.
	SIF string `json:"sif,omitempty"`
	// Binds are what the container sees of the node beside the folder of the rank.
	Binds []Bind `json:"binds,omitempty"`
	// GPUs says that the container needs the node's GPUs and their driver; so does a service whose Resources have GPUs.
	GPUs bool `json:"gpus,omitempty"`
}

// Bind is an absolute path of the node that a container sees under the same name.
type Bind struct {
	Path     string `json:"path"`
	Writable bool   `json:"writable,omitempty"`
}

// ImagesDir is the folder of a work folder that holds the images of all runs: a store that every control plane of the
// user shares. An image is there when its record is; the record is written last.
//
//	<hex>.sif    the image, <hex> being the 64 digits of its digest
//	<hex>.json   the ImageRecord
//	<hex>.lock   a symbolic link that says who pulls it; see internal/node
const ImagesDir = "images"

// ImageRecord is <hex>.json: what lies beside it, and where it came from.
type ImageRecord struct {
	Version int `json:"version"`
	// URI as it was asked for.
	URI string `json:"uri"`
	// Digest that was asked for, which the registry's content has: sha256: and 64 digits. Two pulls of one digest make
	// two files that differ, so SHA256 is another thing: that of the SIF, of Size bytes.
	Digest string `json:"digest"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	// Time of the pull, and the version of the program that made it.
	Time    time.Time `json:"time"`
	Runtime string    `json:"runtime"`
}

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// digestHex are the 64 digits of a digest; "" for what is none.
func digestHex(digest string) string {
	hex, ok := strings.CutPrefix(digest, "sha256:")
	if !ok || !hexDigest.MatchString(hex) {
		return ""
	}
	return hex
}

// StoredImage is where a store holds the image of a digest, and ImageRecordOf where its record is.
func StoredImage(workDir, digest string) string {
	return filepath.Join(workDir, ImagesDir, strings.TrimPrefix(digest, "sha256:")+".sif")
}

// ImageRecordOf is the path of the record of a stored image.
func ImageRecordOf(sif string) string { return strings.TrimSuffix(sif, ".sif") + ".json" }

// FromRegistry says that an image is not a file of the site: it has to be pulled before it can run.
func FromRegistry(uri string) bool { return !strings.HasPrefix(uri, "/") }

// ParseImageRecord reads the record of a stored image. One that is not whole is an error: the image is then not there.
func ParseImageRecord(b []byte) (*ImageRecord, error) {
	const file = "image record"
	var r ImageRecord
	if err := parse(file, b, &r); err != nil {
		return nil, err
	}
	switch {
	case digestHex(r.Digest) == "":
		return nil, fmt.Errorf("%s: digest %q: it is sha256: and 64 digits", file, r.Digest)
	case !hexDigest.MatchString(r.SHA256):
		return nil, fmt.Errorf("%s: sha256 %q: it is 64 digits", file, r.SHA256)
	case r.Size <= 0:
		return nil, fmt.Errorf("%s: a size of %d bytes", file, r.Size)
	}
	return &r, nil
}

// UsedImage is the image that a server ran in, as provenance.json tells it: the digest of the recipe, and the file.
type UsedImage struct {
	URI    string `json:"uri"`
	Digest string `json:"digest,omitempty"`
	// SIF is the file, of Size bytes. SHA256 is "" where nobody has looked.
	SIF    string `json:"sif,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Size   int64  `json:"size,omitempty"`
}

// ParseUsedImage reads the image out of a provenance.json; nil for a server that ran in none.
func ParseUsedImage(b []byte) (*UsedImage, error) {
	var p struct {
		Image *UsedImage `json:"image"`
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return nil, fmt.Errorf("%s: %w", ProvenanceFile, err)
	}
	return p.Image, nil
}

// ImagePull is an image that a job puts into the store, unless it is there.
type ImagePull struct {
	// URI and Digest of the image; of a tag in the URI nothing is made.
	URI    string `json:"uri"`
	Digest string `json:"digest"`
	// SIF is the absolute path that it gets.
	SIF string `json:"sif"`
	// Insecure says that its registry speaks plain HTTP.
	Insecure bool `json:"insecure,omitempty"`
}

// Check refuses what could put something else where an image belongs.
func (p ImagePull) Check() error {
	hex := digestHex(p.Digest)
	switch {
	case !FromRegistry(p.URI) || !strings.Contains(p.URI, "://"):
		return fmt.Errorf("image %q: only what comes from a registry is pulled", p.URI)
	case hex == "":
		return fmt.Errorf("image %s: digest %q: it is sha256: and 64 digits", p.URI, p.Digest)
	case !filepath.IsAbs(p.SIF) || filepath.Clean(p.SIF) != p.SIF || filepath.Base(p.SIF) != hex+".sif":
		return fmt.Errorf("image %s: %q is no path of a store for its digest", p.URI, p.SIF)
	}
	return nil
}

// checkImages checks what a plan pulls.
func (p *Plan) checkImages() error {
	var errs []error
	for _, pull := range p.Images {
		errs = append(errs, pull.Check())
	}
	return errors.Join(errs...)
}
