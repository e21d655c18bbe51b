package node

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"assay.bench/internal/rundir"
)

func isLibrary(uri string) bool { return strings.HasPrefix(uri, "library://") }

// pullSource is what Apptainer takes for an image and its digest. The tag is left out, for Apptainer refuses both at
// once. A library names the digest where others have the tag; a layout in a folder knows no digests, so it gets one that
// holds nothing else.
func pullSource(pull rundir.ImagePull, scratch string) (string, error) {
	scheme, rest, _ := strings.Cut(pull.URI, "://")
	switch scheme {
	case "docker":
		return scheme + "://" + withoutTag(rest) + "@" + pull.Digest, nil
	case "library":
		return scheme + "://" + withoutTag(rest) + ":" + strings.Replace(pull.Digest, ":", ".", 1), nil
	case "oci":
		layout, err := narrowLayout(rest, pull.Digest, scratch)
		return "oci:" + layout, err
	}
	return "", endf(rundir.ExitReasonPullFailed, "%s: nothing is pulled from %s: use docker, oci or library", pull.URI, scheme)
}

func withoutTag(name string) string {
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		return name[:colon]
	}
	return name
}

// narrowLayout makes an OCI layout with the one manifest of a digest, out of a layout that may have more.
func narrowLayout(from, digest, scratch string) (string, error) {
	b, err := os.ReadFile(filepath.Join(from, "index.json"))
	if err != nil {
		return "", endf(rundir.ExitReasonImageUnknown, "%s is no OCI layout: %v", from, err)
	}
	manifest, err := manifestOf(b, digest)
	if err != nil {
		return "", endf(rundir.ExitReasonImageUnknown, "the OCI layout %s: %v", from, err)
	}
	to := filepath.Join(scratch, "layout")
	index := fmt.Appendf(nil, `{"schemaVersion":2,"manifests":[%s]}`, manifest)
	if err := os.Mkdir(to, 0o700); err != nil {
		return "", err
	}
	for name, content := range map[string][]byte{"index.json": index, "oci-layout": []byte(`{"imageLayoutVersion":"1.0.0"}`)} {
		if err := os.WriteFile(filepath.Join(to, name), content, 0o600); err != nil {
			return "", err
		}
	}
	return to, os.Symlink(filepath.Join(from, "blobs"), filepath.Join(to, "blobs"))
}

// manifestOf finds the manifest of a digest in the index of an OCI layout.
func manifestOf(index []byte, digest string) (json.RawMessage, error) {
	var i struct {
		Manifests []json.RawMessage `json:"manifests"`
	}
	if err := json.Unmarshal(index, &i); err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	for _, m := range i.Manifests {
		var d struct {
			Digest string `json:"digest"`
		}
		if json.Unmarshal(m, &d) == nil && d.Digest == digest {
			return m, nil
		}
	}
	return nil, fmt.Errorf("it has no image with the digest %s", digest)
}
