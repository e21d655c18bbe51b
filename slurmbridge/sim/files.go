package sim

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"

	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// Read returns the files that exist.
func (s *Site) Read(ctx context.Context, paths ...string) (map[string][]byte, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, &c.counts.Read); err != nil {
		return nil, err
	}
	found := make(map[string][]byte, len(paths))
	for _, p := range paths {
		b, ok := c.content(p)
		switch {
		case ok:
			found[p] = b
		case c.isFolder(p):
			return nil, &fs.PathError{Op: "read", Path: p, Err: syscall.EISDIR}
		}
	}
	return found, nil
}

// isFolder says that a file is below the path.
func (c *Cluster) isFolder(p string) bool {
	below := c.resolve(p) + "/"
	for file := range c.files {
		if strings.HasPrefix(file, below) {
			return true
		}
	}
	return false
}

// Write makes or replaces files.
func (s *Site) Write(ctx context.Context, files map[string][]byte) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, &c.counts.Write); err != nil {
		return err
	}
	for p, b := range files {
		if !path.IsAbs(p) {
			return fmt.Errorf("write %q: it is not an absolute path", p)
		}
		c.files[c.resolve(p)] = append([]byte{}, b...) // an empty file is one too
	}
	for p := range files {
		if path.Base(p) == rundir.ControlFile {
			c.controlled(path.Dir(c.resolve(p)))
		}
	}
	return nil
}

// Open reads a file from an offset.
func (s *Site) Open(ctx context.Context, p string, offset int64) (io.ReadCloser, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.enter(ctx, &c.counts.Open); err != nil {
		return nil, err
	}
	b, ok := c.content(p)
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: p, Err: fs.ErrNotExist}
	}
	if offset < 0 {
		return nil, &fs.PathError{Op: "seek", Path: p, Err: fs.ErrInvalid}
	}
	return io.NopCloser(bytes.NewReader(b[min(offset, int64(len(b))):])), nil
}

// Probe accepts every absolute path: all of the cluster's file system is ours.
func (s *Site) Probe(ctx context.Context, workDir string) error {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	var probes int64
	if err := c.enter(ctx, &probes); err != nil {
		return err
	}
	if !path.IsAbs(workDir) {
		return fmt.Errorf("%w: %q is not an absolute path", slurmbridge.ErrWorkDir, workDir)
	}
	return nil
}

// Paths lists the files below a folder, in order.
func (c *Cluster) Paths(folder string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.advance(c.o.Now())
	below := path.Clean(folder) + "/"
	var out []string
	for p := range c.files {
		if strings.HasPrefix(p, below) {
			out = append(out, p)
		}
	}
	for dir := range c.ranks {
		if p := path.Join(dir, rundir.StatusFile); strings.HasPrefix(p, below) {
			out = append(out, p)
		}
	}
	slices.Sort(out)
	return out
}

// resolve follows current.
func (c *Cluster) resolve(p string) string {
	p = path.Clean(p)
	const via = "/" + rundir.CurrentLink
	for {
		i := strings.Index(p+"/", via+"/")
		if i < 0 {
			return p
		}
		target, ok := c.links[p[:i+len(via)]]
		if !ok {
			return p
		}
		p = p[:i] + "/" + target + p[i+len(via):]
	}
}

// content is a file as it is now. A status is written when it is read, for its heartbeat is a matter of time.
func (c *Cluster) content(p string) ([]byte, bool) {
	p = c.resolve(p)
	if path.Base(p) == rundir.StatusFile {
		if r := c.ranks[path.Dir(p)]; r != nil {
			return c.encode(c.statusOf(r)), true
		}
	}
	b, ok := c.files[p]
	return bytes.Clone(b), ok
}

func (c *Cluster) writeJSON(p string, v any) { c.files[path.Clean(p)] = c.encode(v) }

// encode writes our own types, which have nothing that JSON cannot write.
func (c *Cluster) encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("sim: %T: %v", v, err))
	}
	return append(b, '\n')
}

func (c *Cluster) appendLinef(p, format string, args ...any) {
	p = path.Clean(p)
	c.files[p] = append(c.files[p], c.now.UTC().Format("15:04:05.000 ")+fmt.Sprintf(format, args...)+"\n"...)
}
