package app

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/site"
	"assay.bench/internal/app/state"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/cli"
	"assay.bench/slurmbridge/local"
	"assay.bench/slurmbridge/poll"
	"assay.bench/slurmbridge/sim"
)

// openers lists every kind of door.
func openers(o *OS, opts managerOptions) []site.Opener {
	return []site.Opener{
		localOpener(o, opts), noted(cliOpener(o, opts), opts), noted(sshOpener(o, opts), opts), noted(restOpener(o, opts), opts), simOpener(opts.origin),
	}
}

// noted opens a door once it is noted that there is one.
func noted(door site.Opener, opts managerOptions) site.Opener {
	open := door.Open
	door.Open = func(ctx context.Context, s *v1alpha1.Site, secrets site.Secrets) (site.Opened, error) {
		if opts.noteSite != nil {
			spec, err := json.Marshal(s.Spec)
			if err == nil {
				err = opts.noteSite(state.Site{Namespace: s.Namespace, Name: s.Name, Spec: spec})
			}
			if err != nil {
				return site.Opened{}, err
			}
		}
		return open(ctx, s, secrets)
	}
	return door
}

// localOpener runs jobs as processes of this host, with their records in the folder of the control plane's jobs.
func localOpener(o *OS, opts managerOptions) site.Opener {
	return site.Opener{
		Name:    "local",
		Host:    site.Always,
		Matches: func(s *v1alpha1.SiteSpec) bool { return s.Jobs.Local != nil },
		Open: func(ctx context.Context, s *v1alpha1.Site, _ site.Secrets) (site.Opened, error) {
			host, err := local.Open(local.Options{StateDir: opts.jobsDir, Origin: opts.origin})
			if err != nil {
				return site.Opened{}, err
			}
			node, err := settleHere(ctx, o, opts, s.Spec.WorkDir, host)
			if err != nil {
				return site.Opened{}, err
			}
			return site.Opened{Jobs: host, Files: host, Prober: host, Node: node, Pace: poll.Near()}, nil
		},
	}
}

// cliOpener runs Slurm's own programs on this host. The work folder is one of this host, which the nodes see too.
func cliOpener(o *OS, opts managerOptions) site.Opener {
	return site.Opener{
		Name:    "cli",
		Host:    site.Always,
		Matches: func(s *v1alpha1.SiteSpec) bool { return s.Jobs.CLI != nil },
		Open: func(ctx context.Context, s *v1alpha1.Site, _ site.Secrets) (site.Opened, error) {
			slurm, err := cli.Open(ctx, cli.Options{Runner: cli.Local{Env: o.Env}, Origin: opts.origin})
			if err != nil {
				return site.Opened{}, err
			}
			files := local.Files{}
			node, err := settleHere(ctx, o, opts, s.Spec.WorkDir, files)
			if err != nil {
				return site.Opened{}, err
			}
			return site.Opened{
				Jobs: slurm, Files: files, Prober: cli.Prober{Slurm: slurm, Files: files}, Node: node, Pace: slurmPace(slurm.Facts().Accounting, slurm.Facts().MinJobAge), Remembers: slurm.Facts().MinJobAge, Cluster: slurm.Facts().Cluster,
			}, nil
		},
	}
}

// slurmPace is how often Slurm is asked. What it forgets before it was listed, only accounting could tell.
func slurmPace(accounting bool, remembers time.Duration) poll.Pace {
	if accounting {
		return poll.Remote()
	}
	return poll.Remote().Forgetful(remembers)
}

// settleHere makes our folders in a work folder of this host, and puts assay-node there, whose path it returns. Nothing of
// ours may be put into a folder that others can change.
func settleHere(ctx context.Context, o *OS, opts managerOptions, workDir string, host slurmbridge.Prober) (node string, err error) {
	if err := host.Probe(ctx, workDir); err != nil {
		return "", err
	}
	if err := ownFolders(workDir, opts); err != nil {
		return "", err
	}
	return stageNode(o, workDir)
}

// ownFolders notes a work folder, and makes those below it that belong to one user or to this control plane alone.
func ownFolders(workDir string, opts managerOptions) error {
	if opts.noteWork != nil {
		if err := opts.noteWork(workDir); err != nil {
			return err
		}
	}
	for _, folder := range []string{filepath.Dir(site.OriginFile(workDir, opts.origin)), filepath.Join(workDir, opts.origin)} {
		if err := local.OwnFolder(folder); err != nil {
			return fmt.Errorf("%w: %w", slurmbridge.ErrWorkDir, err)
		}
	}
	return nil
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
		Open: func(_ context.Context, s *v1alpha1.Site, _ site.Secrets) (site.Opened, error) {
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
