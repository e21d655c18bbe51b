package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/site"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/cli"
	"assay.bench/slurmbridge/local"
	"assay.bench/slurmbridge/ssh"
)

// sshOpener runs Slurm's own programs on a login node. The files of the site go over the same connection.
func sshOpener(o *OS, opts managerOptions) site.Opener {
	return site.Opener{
		Name:    "ssh",
		Host:    sshUsesHost,
		Matches: func(s *v1alpha1.SiteSpec) bool { return s.Jobs.SSH != nil },
		Open: func(ctx context.Context, s *v1alpha1.Site, secrets site.Secrets) (site.Opened, error) {
			host, err := sshHost(ctx, o, s.Spec.Jobs.SSH, opts.allowHost, secrets)
			if err != nil {
				return site.Opened{}, err
			}
			opened, err := openOver(ctx, o, opts, s, host)
			if err != nil {
				return site.Opened{}, errors.Join(err, host.Close())
			}
			return opened, nil
		},
	}
}

// sshUsesHost says that a door takes something from the host of the control plane: files, an agent, or a connection that
// a person has opened there.
func sshUsesHost(s *v1alpha1.SiteSpec) bool {
	return loginUsesHost(s.Jobs.SSH) || s.Files.Local != nil
}

func loginUsesHost(d *v1alpha1.SSHDoor) bool {
	return d.ControlPath != "" || !namesAll(d) || d.PrivateKey.File != ""
}

// namesAll says that a door leaves nothing to the user's own ssh.
func namesAll(d *v1alpha1.SSHDoor) bool {
	return d.PrivateKey != nil && isWhole(&d.SSHHost) && (d.Jump == nil || isWhole(d.Jump))
}

func isWhole(h *v1alpha1.SSHHost) bool { return h.KnownHosts != "" && h.User != "" }

// settleAt makes our folders in a work folder behind a login node, and puts assay-node there, whose path it returns.
func settleAt(ctx context.Context, o *OS, opts managerOptions, workDir string, host *ssh.Host) (node string, err error) {
	if err := host.Probe(ctx, workDir); err != nil {
		return "", err
	}
	if err := host.OwnFolders(ctx, filepath.Dir(site.OriginFile(workDir, opts.origin)), filepath.Join(workDir, opts.origin)); err != nil {
		return "", err
	}
	arch, err := host.Arch(ctx)
	if err != nil {
		return "", err
	}
	program, err := nodeProgram(o, arch)
	if err != nil {
		return "", err
	}
	return host.Stage(ctx, workDir, program)
}

// openOver opens a site behind a login node: its own folders, assay-node, its files and its batch system.
func openOver(ctx context.Context, o *OS, opts managerOptions, s *v1alpha1.Site, host *ssh.Host) (site.Opened, error) {
	node, err := settleAt(ctx, o, opts, s.Spec.WorkDir, host)
	if err != nil {
		return site.Opened{}, err
	}
	slurm, err := cli.Open(ctx, cli.Options{Runner: host, Origin: opts.origin})
	if err != nil {
		return site.Opened{}, err
	}
	var files slurmbridge.Files = host.Files(node)
	if s.Spec.Files.Local != nil {
		files = local.Files{}
	}
	return site.Opened{
		Jobs: slurm, Files: files, Prober: cli.Prober{Slurm: slurm, Files: host}, Dialer: host, Node: node, Pace: slurmPace(slurm.Facts().Accounting, slurm.Facts().MinJobAge),
		Remembers: slurm.Facts().MinJobAge, Cluster: slurm.Facts().Cluster, Close: func() { _ = host.Close() }, // a connection that is closed anyway
	}, nil
}

// sshHost is the login node of a door. On a host that may be used, what the door leaves open is what the user's own ssh
// would take.
func sshHost(ctx context.Context, o *OS, d *v1alpha1.SSHDoor, allowHost bool, secrets site.Secrets) (*ssh.Host, error) {
	if d.ControlPath != "" { // ssh itself reads its configuration
		to := d.Host
		if d.User != "" {
			to = d.User + "@" + to
		}
		return ssh.OpenMaster(ssh.MasterOptions{Destination: to, ControlPath: atHome(o, d.ControlPath)})
	}
	options := ssh.Options{Target: ssh.Target{Host: d.Host}}
	if allowHost {
		resolved, err := ssh.Resolve(d.Host, sshConfig(o))
		switch {
		case err == nil:
			options = resolved.Options
		case !namesAll(d):
			return nil, err
		}
	}
	overlay(&options.Target, &d.SSHHost)
	if d.Jump != nil {
		jump, err := jumpTarget(o, d.Jump, allowHost)
		if err != nil {
			return nil, err
		}
		options.Jumps = []ssh.Target{jump}
	}
	if d.PrivateKey != nil {
		pem, err := privateKey(ctx, o, d.PrivateKey, secrets)
		if err != nil {
			return nil, err
		}
		options.Keys = []ssh.Key{{PEM: pem}}
		for i := range options.Jumps {
			if len(options.Jumps[i].Keys) == 0 {
				options.Jumps[i].Keys = options.Keys
			}
		}
	}
	return ssh.Open(options)
}

// jumpTarget is the host on the way to the login node.
func jumpTarget(o *OS, h *v1alpha1.SSHHost, allowHost bool) (ssh.Target, error) {
	target := ssh.Target{Host: h.Host}
	if allowHost {
		resolved, err := ssh.Resolve(h.Host, sshConfig(o))
		switch {
		case err == nil:
			target = resolved.Options.Target
		case !isWhole(h):
			return target, err
		}
	}
	overlay(&target, h)
	return target, nil
}

// overlay sets what a door names.
func overlay(t *ssh.Target, h *v1alpha1.SSHHost) {
	t.Port, t.User = cmp.Or(int(h.Port), t.Port), cmp.Or(h.User, t.User)
	if h.KnownHosts != "" {
		t.KnownHosts = []byte(h.KnownHosts)
	}
}

// privateKey reads the key of a door.
func privateKey(ctx context.Context, o *OS, k *v1alpha1.KeySource, secrets site.Secrets) ([]byte, error) {
	if k.SecretKeyRef != nil {
		return secrets(ctx, string(k.SecretKeyRef.Name), k.SecretKeyRef.Key)
	}
	pem, err := os.ReadFile(atHome(o, k.File))
	if err != nil {
		return nil, fmt.Errorf("%w: the private key: %w", slurmbridge.ErrCredentials, err)
	}
	return pem, nil
}

// sshConfig is what the user's own ssh would look at.
func sshConfig(o *OS) ssh.Config {
	c := ssh.Config{
		Home: o.Home, User: o.User, UID: o.UID, Hostname: o.Host, Agent: o.Env("SSH_AUTH_SOCK"), Read: os.ReadFile,
	}
	if text, err := os.ReadFile(filepath.Join(o.Home, ".ssh", "config")); err == nil || !errors.Is(err, fs.ErrNotExist) {
		c.Text = text
	}
	return c
}

// atHome is a path whose ~ is the user's folder.
func atHome(o *OS, path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(o.Home, rest)
	}
	return path
}
