package sim

import (
	"fmt"
	"strings"
	"time"

	"assay.bench/internal/rundir"
)

// pullTakes is how long the pull of an image takes, before Options.Speed.
const pullTakes = 2 * time.Second

// pull plays the pulls of a plan, one after the other, and then what follows. An image that is in the store takes no time.
func (c *Cluster) pull(j *job, images []rundir.ImagePull, then func()) {
	if len(images) == 0 {
		then()
		return
	}
	img := images[0]
	if c.stored(img) {
		c.pull(j, images[1:], then)
		return
	}
	c.later(j, c.scaled(pullTakes), func() {
		switch reason := c.fail[img.URI]; {
		case j.ending != "" || j.lost: // nothing works on it any more
			return
		case reason != "":
			c.exitSoon(j, reason, fmt.Sprintf("%s: the simulation was told to fail here", img.URI), rundir.ExitFailed)
			return
		}
		c.store(img)
		c.pull(j, images[1:], then)
	})
}

// usedImage is what provenance.json tells of a service's image; nil for none.
func (c *Cluster) usedImage(s *rundir.Service) *rundir.UsedImage {
	if s == nil || s.Image == nil {
		return nil
	}
	out := &rundir.UsedImage{URI: s.Image.URI, Digest: s.Image.Digest, SIF: s.Image.SIF}
	b, _ := c.content(rundir.ImageRecordOf(s.Image.SIF))
	if r, err := rundir.ParseImageRecord(b); err == nil {
		out.SHA256, out.Size = r.SHA256, r.Size
	}
	return out
}

// stored says that the record of an image is there.
func (c *Cluster) stored(img rundir.ImagePull) bool {
	b, _ := c.content(rundir.ImageRecordOf(img.SIF))
	_, err := rundir.ParseImageRecord(b)
	return err == nil
}

func (c *Cluster) store(img rundir.ImagePull) {
	content := "a simulated image of " + img.URI
	c.files[img.SIF] = []byte(content)
	c.counts.Pulls++
	c.writeJSON(rundir.ImageRecordOf(img.SIF), rundir.ImageRecord{
		Version: rundir.Version, URI: img.URI, Digest: img.Digest, SHA256: strings.TrimPrefix(img.Digest, "sha256:"), Size: int64(len(content)),
		Time: c.now.UTC(), Runtime: "simulated",
	})
}
