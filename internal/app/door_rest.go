package app

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/site"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/cli"
	"assay.bench/slurmbridge/local"
	"assay.bench/slurmbridge/rest"
	"assay.bench/slurmbridge/wire"
)

// restOpener asks slurmrestd. The files of the site, and new tokens where they are asked for, go another way.
func restOpener(o *OS, opts managerOptions) site.Opener {
	return site.Opener{
		Name:    "rest",
		Host:    restUsesHost,
		Matches: func(s *v1alpha1.SiteSpec) bool { return s.Jobs.REST != nil },
		Open: func(ctx context.Context, s *v1alpha1.Site, secrets site.Secrets) (site.Opened, error) {
			share, err := openShare(ctx, o, opts, s, secrets)
			if err != nil {
				return site.Opened{}, err
			}
			slurm, err := rest.Open(ctx, restOptions(o, opts, s.Spec.Jobs.REST, share.runner, secrets))
			if err != nil {
				return site.Opened{}, errors.Join(err, share.close())
			}
			age, accounting := remembers(ctx, share.runner)
			return site.Opened{
				Jobs: askable(ctx, slurm, share.runner, opts.origin), Cluster: slurm.Facts().Cluster, Files: share.files,
				Prober: rest.Prober{Slurm: slurm, Files: share.prober}, Dialer: share.dialer, Token: slurm,
				Node: share.node, Pace: slurmPace(accounting, age), Remembers: age,
				Close: func() { _ = share.close() }, // a connection that is closed anyway
			}, nil
		},
	}
}

// askable is slurmrestd, and beside it the sbatch of a host of the site, which can be asked whether a job could ever run, as
// slurmrestd cannot. Where there is none, or one of another cluster, nobody is asked.
func askable(ctx context.Context, slurm *rest.Slurm, runner slurmbridge.Runner, origin string) slurmbridge.Jobs {
	sbatch, err := cli.Open(ctx, cli.Options{Runner: runner, Origin: origin})
	if err != nil {
		return slurm
	}
	if here, there := sbatch.Facts().Cluster, slurm.Facts().Cluster; here != there && here != "" && there != "" {
		return slurm
	}
	return struct {
		*rest.Slurm
		slurmbridge.Preflighter
	}{slurm, sbatch}
}

// restUsesHost says that a door takes something from the host of the control plane.
func restUsesHost(s *v1alpha1.SiteSpec) bool {
	token := s.Jobs.REST.Token
	return token != nil && token.File != "" || s.Files.SSH == nil || loginUsesHost(s.Files.SSH)
}

// share is a host that sees the file system of the nodes: a login node, or this one.
type share struct {
	files  slurmbridge.Files
	prober slurmbridge.Prober
	runner slurmbridge.Runner
	// dialer is nil for this host.
	dialer slurmbridge.Dialer
	// node is the path of assay-node there.
	node  string
	close func() error
}

// openShare makes our folders where the files of a site are.
func openShare(ctx context.Context, o *OS, opts managerOptions, s *v1alpha1.Site, secrets site.Secrets) (share, error) {
	if s.Spec.Files.SSH == nil {
		files := local.Files{}
		node, err := settleHere(ctx, o, opts, s.Spec.WorkDir, files)
		return share{files, files, cli.Local{Env: o.Env}, nil, node, func() error { return nil }}, err
	}
	host, err := sshHost(ctx, o, s.Spec.Files.SSH, opts.allowHost, secrets)
	if err != nil {
		return share{}, err
	}
	node, err := settleAt(ctx, o, opts, s.Spec.WorkDir, host)
	if err != nil {
		return share{}, errors.Join(err, host.Close())
	}
	return share{host.Files(node), host, host, host, node, host.Close}, nil
}

func restOptions(o *OS, opts managerOptions, d *v1alpha1.RESTDoor, runner slurmbridge.Runner, secrets site.Secrets) rest.Options {
	options := rest.Options{
		URL: d.URL, Origin: opts.origin, CA: []byte(d.CA), Now: o.Now, Cure: cure(d),
		Credentials: func(ctx context.Context) (rest.Credentials, error) {
			token, err := readToken(ctx, o, d.Token, secrets)
			return rest.Credentials{User: d.User, Token: string(token)}, err
		},
	}
	if d.Refresh != nil {
		options.Refresh = newTokens(runner, d.Refresh.Lifetime.Or(defaultTokenLife))
	}
	return options
}

// defaultTokenLife is that of TokenRefresh.lifetime.
const defaultTokenLife = 30 * time.Minute

// cure is what a person does about a token that is refused.
func cure(d *v1alpha1.RESTDoor) string {
	switch {
	case d.Refresh != nil || d.Token == nil:
		return "see whether \"scontrol token\" works on the host of the site's files, and gives tokens of the user that jobs.rest names"
	case d.Token.SecretKeyRef != nil:
		return fmt.Sprintf("put a new token into the key %s of the Secret %s, or let jobs.rest.refresh make them", d.Token.SecretKeyRef.Key, d.Token.SecretKeyRef.Name)
	}
	return fmt.Sprintf("put a new token into %s, or let jobs.rest.refresh make them", d.Token.File)
}

// readToken reads the token of a door; none where new ones are made. An API server that does not answer says nothing about
// the token.
func readToken(ctx context.Context, o *OS, k *v1alpha1.KeySource, secrets site.Secrets) ([]byte, error) {
	switch {
	case k == nil:
		return nil, nil
	case k.SecretKeyRef != nil:
		token, err := secrets(ctx, string(k.SecretKeyRef.Name), k.SecretKeyRef.Key)
		if err != nil && !errors.Is(err, slurmbridge.ErrCredentials) {
			err = fmt.Errorf("%w: %w", slurmbridge.ErrUnreachable, err)
		}
		return token, err
	}
	token, err := os.ReadFile(atHome(o, k.File))
	if err != nil {
		return nil, fmt.Errorf("%w: the token: %w", slurmbridge.ErrCredentials, err)
	}
	return token, nil
}

// newTokens has scontrol make a token. Nothing of what it prints but its complaints may go into a message.
func newTokens(runner slurmbridge.Runner, life time.Duration) func(context.Context) (string, error) {
	argv := []string{"scontrol", "token", "lifespan=" + strconv.Itoa(int(life/time.Second))}
	return func(ctx context.Context) (string, error) {
		out, err := runner.Run(ctx, slurmbridge.Command{Argv: argv, Env: []string{wire.EnvLocale}})
		if err != nil {
			return "", err
		}
		if out.Code != 0 {
			return "", fmt.Errorf("scontrol token: exit code %d: %.200s", out.Code, bytes.TrimSpace(out.Stderr))
		}
		return wire.ParseToken(out.Stdout)
	}
}

// unknownAge is taken for the time that an ended job is listed where nobody tells it: accounting is asked the sooner.
const unknownAge = 2 * time.Second

// remembers is how long the site lists an ended job, and whether it keeps accounts of it. Slurmrestd does not tell, but
// scontrol does, where the host of the files has one.
func remembers(ctx context.Context, runner slurmbridge.Runner) (age time.Duration, accounting bool) {
	out, err := runner.Run(ctx, slurmbridge.Command{Argv: []string{"scontrol", "show", "config"}, Env: []string{wire.EnvLocale}})
	if err != nil || out.Code != 0 {
		return unknownAge, true
	}
	config := wire.ParseConfig(out.Stdout)
	return cmp.Or(wire.Seconds(config["MinJobAge"]), unknownAge), config["AccountingStorageType"] != "accounting_storage/none"
}
