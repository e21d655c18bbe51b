package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/site"
	"assay.bench/internal/app/recipe"
	"assay.bench/internal/app/state"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/cli"
	"assay.bench/slurmbridge/rest"
)

// knownSite is a Site with a batch system, and where its credentials are.
type knownSite struct {
	name    string
	spec    v1alpha1.SiteSpec
	secrets site.Secrets
}

// isSlurm says that a Site has a batch system of its own, whose jobs outlive this host.
func isSlurm(s *v1alpha1.SiteSpec) bool {
	return s.Jobs.CLI != nil || s.Jobs.SSH != nil || s.Jobs.REST != nil
}

// sitesOf are the Sites that a control plane has asked.
func sitesOf(o *OS, f state.Folder) []knownSite {
	var out []knownSite
	for _, s := range f.Info.Sites {
		k := knownSite{name: s.Name, secrets: secretsIn(o, f, s.Namespace)}
		if json.Unmarshal(s.Spec, &k.spec) == nil && isSlurm(&k.spec) {
			out = append(out, k)
		}
	}
	return out
}

// sitesIn are the Sites of recipes, with the Secrets that stand beside them.
func sitesIn(o *OS, files []string) ([]knownSite, error) {
	objects, err := parseFiles(o, files)
	if err != nil {
		return nil, err
	}
	var out []knownSite
	for _, object := range objects {
		s := &v1alpha1.Site{}
		if !isOurs(object, "Site") {
			continue
		}
		if err := convert(object.Unstructured, s); err != nil {
			return nil, usage(object.At("spec", err.Error()))
		}
		if isSlurm(&s.Spec) {
			out = append(out, knownSite{name: s.Name, spec: s.Spec, secrets: secretsBeside(objects, s.Namespace)})
		}
	}
	if len(files) > 0 && len(out) == 0 {
		return nil, usage(fmt.Errorf("%s: no Site with jobs.cli, jobs.ssh or jobs.rest in it", objects[0].File))
	}
	return out, nil
}

// secretsBeside reads Secrets of the same recipe.
func secretsBeside(objects []recipe.Object, namespace string) site.Secrets {
	return func(_ context.Context, name, key string) ([]byte, error) {
		for _, o := range objects {
			s := &corev1.Secret{}
			if o.GetKind() != "Secret" || o.GetName() != name || o.GetNamespace() != namespace || convert(o.Unstructured, s) != nil {
				continue
			}
			if text, ok := s.StringData[key]; ok {
				return []byte(text), nil
			}
			if b, ok := s.Data[key]; ok {
				return b, nil
			}
		}
		return nil, fmt.Errorf("%w: the recipe holds no Secret %s with the key %s: add it beside the Site", slurmbridge.ErrCredentials, name, key)
	}
}

// secretsIn reads Secrets of a control plane, each once: of one that is dead its API server is started for that.
func secretsIn(o *OS, f state.Folder, namespace string) site.Secrets {
	var mu sync.Mutex
	known := map[[2]string][]byte{}
	return func(ctx context.Context, name, key string) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		if b, ok := known[[2]string{name, key}]; ok {
			return b, nil
		}
		p, err := lookInto(ctx, o, f)
		if err != nil {
			return nil, err
		}
		var s corev1.Secret
		err = p.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &s)
		b, ok := s.Data[key]
		if err == nil && !ok {
			err = fmt.Errorf("it has no key %s", key)
		}
		if err != nil {
			err = fmt.Errorf("%w: the Secret %s of the control plane %s: %w", slurmbridge.ErrCredentials, name, f.Short(), err)
		}
		if err = errors.Join(err, p.stop()); err != nil {
			return nil, err
		}
		known[[2]string{name, key}] = b
		return b, nil
	}
}

// lookInto is a control plane whose objects can be read.
func lookInto(ctx context.Context, o *OS, f state.Folder) (*plane, error) {
	if f.Running() {
		return connect(f)
	}
	return openServer(ctx, o, f)
}

// everybody is a batch system in which the jobs of all origins of this user can be seen.
type everybody interface {
	slurmbridge.Jobs
	All(ctx context.Context) ([]slurmbridge.Job, error)
}

// reach is a way to a site for looking, and for ending what runs there: nothing is made there.
type reach struct {
	name    string
	workDir string
	// runner runs programs where the work folder is seen.
	runner slurmbridge.Runner
	// jobs opens the batch system for an origin.
	jobs  func(ctx context.Context, origin string) (everybody, error)
	close func()
}

// openReach opens the way to a site.
func openReach(ctx context.Context, o *OS, k knownSite) (*reach, error) {
	login := k.spec.Jobs.SSH
	if k.spec.Jobs.REST != nil {
		login = k.spec.Files.SSH
	}
	r := &reach{name: k.name, workDir: k.spec.WorkDir, runner: cli.Local{Env: o.Env}, close: func() {}}
	if login != nil {
		host, err := sshHost(ctx, o, login, true, k.secrets)
		if err != nil {
			return nil, err
		}
		r.runner, r.close = host, func() { _ = host.Close() } // a connection that is closed anyway
	}
	r.jobs = func(ctx context.Context, origin string) (everybody, error) {
		if d := k.spec.Jobs.REST; d != nil {
			return rest.Open(ctx, restOptions(o, managerOptions{origin: origin}, d, r.runner, k.secrets))
		}
		return cli.Open(ctx, cli.Options{Runner: r.runner, Origin: origin})
	}
	return r, nil
}

// sameDoor is equal for Sites that lead to the same jobs and files.
func (k knownSite) sameDoor() (string, error) {
	b, err := json.Marshal([]any{k.spec.Jobs, k.spec.Files, k.spec.WorkDir})
	return string(b), err
}
