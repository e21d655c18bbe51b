package app

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/site"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/local"
	"assay.bench/slurmbridge/poll"
	"assay.bench/slurmbridge/sim"
)

// openers lists every kind of door.
func openers(o *OS, origin, jobsDir string) []site.Opener {
	return []site.Opener{localOpener(o, origin, jobsDir), simOpener(origin)}
}

// localOpener runs jobs as processes of this host, with their records in jobsDir.
func localOpener(o *OS, origin, jobsDir string) site.Opener {
	return site.Opener{
		Name:    "local",
		Host:    true,
		Matches: func(s *v1alpha1.SiteSpec) bool { return s.Jobs.Local != nil },
		Open: func(_ context.Context, s *v1alpha1.Site) (site.Opened, error) {
			host, err := local.Open(local.Options{StateDir: jobsDir, Origin: origin})
			if err != nil {
				return site.Opened{}, err
			}
			// Nothing of ours may be put into a folder that others can change.
			if err := host.Probe(context.Background(), s.Spec.WorkDir); err != nil {
				return site.Opened{}, err
			}
			for _, folder := range []string{filepath.Dir(site.OriginFile(s.Spec.WorkDir, origin)), filepath.Join(s.Spec.WorkDir, origin)} {
				if err := local.OwnFolder(folder); err != nil {
					return site.Opened{}, fmt.Errorf("%w: %w", slurmbridge.ErrWorkDir, err)
				}
			}
			node, err := stageNode(o, s.Spec.WorkDir)
			if err != nil {
				return site.Opened{}, err
			}
			return site.Opened{Jobs: host, Files: host, Prober: host, Node: node, Pace: poll.Near()}, nil
		},
	}
}

// clusters are the simulated clusters of a control plane, one for each Site; they live as long as the process.
type clusters struct {
	mu sync.Mutex
	by map[types.UID]*sim.Cluster
}

func (c *clusters) get(s *v1alpha1.Site) *sim.Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by[s.UID] == nil {
		c.by[s.UID] = sim.New(sim.Options{Seed: uint64(s.Spec.Jobs.Sim.Seed), Nodes: int(s.Spec.Jobs.Sim.Nodes)})
	}
	return c.by[s.UID]
}

// simOpener runs jobs on a simulated cluster.
func simOpener(origin string) site.Opener {
	all := &clusters{by: map[types.UID]*sim.Cluster{}}
	return site.Opener{
		Name:    "sim",
		Matches: func(s *v1alpha1.SiteSpec) bool { return s.Jobs.Sim != nil },
		Open: func(_ context.Context, s *v1alpha1.Site) (site.Opened, error) {
			door := all.get(s).Site(origin)
			node := filepath.Join(s.Spec.WorkDir, "bin", "assay-node")
			return site.Opened{Jobs: door, Files: door, Prober: door, Node: node, Pace: poll.Near()}, nil
		},
	}
}

// readFiles reads small files of a site: through the open door of this process, else on this host.
func (p *plane) readFiles(ctx context.Context, namespace, name string, paths ...string) (map[string][]byte, error) {
	var files slurmbridge.Files
	if p.registry != nil {
		door, err := p.registry.Door(namespace, name)
		if err != nil {
			return nil, err
		}
		files = door.Files
	}
	if files != nil {
		return files.Read(ctx, paths...)
	}
	out := map[string][]byte{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("the run's folder cannot be seen from this machine: %w", err)
		}
		out[path] = b
	}
	return out, nil
}
