//go:build e2e && soak

package testsite

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.bench/test/site"
)

// Every recipe runs through every door in every placement, and a table of how each ended stands at the end of the log.
func TestSoakDoors(t *testing.T) {
	programs := built(t)
	var table outcomes
	t.Cleanup(func() { t.Log(table.String()) })
	for _, way := range []struct{ site, transport string }{
		{site.Slurm2411, "cli"},
		{site.Slurm2411, "ssh"},
		{site.Slurm2411, "rest"},
		{site.Slurm2411Plain, "ssh"},
		{site.Slurm2205, "cli"},
		{site.Slurm2205, "ssh"},
	} {
		t.Run(way.site+" "+way.transport, func(t *testing.T) {
			t.Parallel()
			s := site.Up(t, way.site)
			s.Images()
			for _, d := range combinations(way.site, way.transport) {
				t.Run(d.recipe+" "+d.placement, func(t *testing.T) {
					start, word := time.Now(), "FAILED"
					defer func() {
						if t.Failed() {
							word = "FAILED"
						}
						table.add(fmt.Sprintf("%-16s %-4s %-13s %-13s %-13s %d s", d.site, d.transport, d.recipe, d.placement,
							word, int(time.Since(start).Seconds())))
					}()
					word = d.run(t, s.For(t), programs)
				})
			}
		})
	}
}

// combinations of a way to a site with both recipes and the three placements.
func combinations(name, transport string) []door {
	var out []door
	for _, recipe := range []string{"minio-s3", "vllm-opt-125m"} {
		for _, placement := range []string{plain, heterogeneous, separate} {
			out = append(out, door{name, transport, recipe, placement})
		}
	}
	return out
}

// outcomes are lines of a table.
type outcomes struct {
	mu    sync.Mutex
	lines []string
}

func (o *outcomes) add(line string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lines = append(o.lines, line)
}

func (o *outcomes) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return fmt.Sprintf("%d combinations\n%s", len(o.lines), strings.Join(o.lines, "\n"))
}
