// Package plan turns resources into what the node side executes: a rundir.Plan and a slurmbridge.Script. It is pure.
package plan

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// Input is one attempt of a SlurmJob, and the objects that it speaks of.
type Input struct {
	Job  *v1alpha1.SlurmJob
	Site *v1alpha1.Site
	// Services and Clients are the objects of the job's components and of its peers, in any order.
	Services []v1alpha1.Service
	Clients  []v1alpha1.LoadClient
	// Attempt from 1.
	Attempt int
	// Origin, WorkDir and Node are those of the site's door.
	Origin, WorkDir, Node string
	// Exclude are the nodes that the job must not get.
	Exclude []string
}

// Output is what an attempt needs before it is submitted.
type Output struct {
	Plan rundir.Plan
	// JSON is the content of plan.json, and Hash its SHA-256 in hexadecimal digits.
	JSON []byte
	Hash string
	// Script is the batch script; its Render gives the content of job.sh.
	Script slurmbridge.Script
	// Secrets are the credentials that the attempt gets a copy of.
	Secrets []Secret
	// Images are those of the site's store that the job needs or pulls.
	Images []StoredImage
}

// Secret is a credential to copy into an attempt.
type Secret struct {
	// File is the path below the attempt; the content is a rundir.Credential.
	File string
	// Name of the Secret object.
	Name string
	// Needs is what the workload sends of the credential, and nothing else; "" for whatever there is.
	Needs Needs
}

// Needs is a part of a credential.
type Needs string

// Parts of a credential.
const (
	// NeedsToken is what goes into a header of inference.
	NeedsToken Needs = "token"
	// NeedsPair is the user name and the password: the access key and the secret key of S3.
	NeedsPair Needs = "username and password"
)

// ComponentName is the folder of a component below an attempt: its label, or its own name where no Benchmark owns it.
func ComponentName(o interface {
	GetName() string
	GetLabels() map[string]string
}) string {
	return cmp.Or(o.GetLabels()[v1alpha1.LabelComponent], o.GetName())
}

// SecretName is the name of the Secret that holds a service's credential of a run.
func SecretName(service, run string) string { return service + "-" + run }

// RunDirectory is the folder of the job's run.
func RunDirectory(job *v1alpha1.SlurmJob, workDir, origin string) string {
	return rundir.Run(workDir, origin, job.Namespace, job.Spec.Run.Owner, job.Spec.Run.Name)
}

// AttemptDirectory is the folder of an attempt of the job.
func AttemptDirectory(job *v1alpha1.SlurmJob, workDir, origin string, attempt int) string {
	return rundir.Attempt(RunDirectory(job, workDir, origin), job.Name, attempt)
}

// Make plans an attempt. The same input gives the same bytes. An error names a field of a component and what to do.
// There is no plan that a node refuses.
func Make(in Input) (Output, error) {
	b := builder{Input: in, run: &in.Job.Spec.Run}
	p, err := b.plan()
	if err != nil {
		return Output{}, err
	}
	if err := p.Check(); err != nil {
		return Output{}, fmt.Errorf("plan of %s: %w", in.Job.Name, err)
	}
	content, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return Output{}, fmt.Errorf("plan of %s: %w", in.Job.Name, err)
	}
	content = append(content, '\n')
	script, err := b.script(p)
	if err != nil {
		return Output{}, err
	}
	sum := sha256.Sum256(content)
	return Output{Plan: p, JSON: content, Hash: hex.EncodeToString(sum[:]), Script: script, Secrets: b.secrets(), Images: b.imageRecords()}, nil
}

// builder plans one attempt.
type builder struct {
	Input
	run *v1alpha1.JobRun
}

func (b builder) plan() (rundir.Plan, error) {
	repeats := b.run.Repeats
	p := rundir.Plan{
		Version:       rundir.Version,
		Key:           string(slurmbridge.NewKey(b.Origin, string(b.Job.UID), b.Attempt)),
		Origin:        b.Origin,
		Namespace:     b.Job.Namespace,
		Owner:         b.run.Owner,
		Run:           b.run.Name,
		Job:           b.Job.Name,
		Attempt:       b.Attempt,
		RunDirectory:  RunDirectory(b.Job, b.WorkDir, b.Origin),
		Directory:     AttemptDirectory(b.Job, b.WorkDir, b.Origin, b.Attempt),
		Launcher:      b.launcher(),
		Seed:          uint64(b.run.Seed),
		TimeScale:     string(b.run.TimeScale),
		IdleTimeout:   rundir.Duration(b.run.IdleTimeout.Or(15 * time.Minute)),
		KeepServices:  b.run.KeepServices,
		DeleteObjects: b.run.DeleteObjects,
		Repeats: rundir.Repeats{
			First:   max(1, int(b.run.FirstRepeat)),
			Count:   max(1, int(repeats.Count)),
			Restart: string(cmp.Or(repeats.Restart, v1alpha1.RestartProcess)),
		},
	}
	p.Images = b.pulls()
	for _, ref := range b.Job.Spec.Components {
		if err := b.addComponent(&p, ref); err != nil {
			return p, err
		}
	}
	if err := b.addPeers(&p); err != nil {
		return p, err
	}
	if isSlurm(b.Site) {
		if err := b.place(&p); err != nil {
			return p, err
		}
	}
	limit, err := b.timeLimit()
	p.TimeLimit = rundir.Duration(limit)
	return p, err
}

// isSlurm says that the jobs of a site are Slurm's, on nodes of their own.
func isSlurm(site *v1alpha1.Site) bool {
	return site.Spec.Jobs.CLI != nil || site.Spec.Jobs.SSH != nil || site.Spec.Jobs.REST != nil
}

// launcher is how the components of a job start.
func (b builder) launcher() string {
	if isSlurm(b.Site) {
		return rundir.LaunchSrun
	}
	return rundir.LaunchProcess
}

// bind is where the servers of the site listen: where nobody else can reach them, or on the address of their node.
func (b builder) bind() string {
	if isSlurm(b.Site) {
		return cmp.Or(b.Site.Spec.Interface, rundir.BindNode)
	}
	return loopback
}

// addComponent puts one component of the job into the plan.
func (b builder) addComponent(p *rundir.Plan, ref v1alpha1.ComponentReference) error {
	if ref.Kind == "Service" {
		s, err := b.service(ref.Name)
		if err != nil {
			return err
		}
		planned, err := b.planService(s)
		if err != nil {
			return err
		}
		planned.Bind = b.bind()
		if img := planned.Image; img != nil && rundir.FromRegistry(img.URI) {
			img.SIF = rundir.StoredImage(b.WorkDir, img.Digest)
		}
		p.Services = append(p.Services, planned)
		p.AllServices = append(p.AllServices, rundir.Component{Name: planned.Name, Ranks: planned.Ranks, Group: planned.Group})
		return nil
	}
	c, err := b.client(ref.Name)
	if err != nil {
		return err
	}
	planned, err := b.planClient(c)
	if err != nil {
		return fmt.Errorf("client %s: %w", ComponentName(c), err)
	}
	p.Clients = append(p.Clients, planned)
	p.AllClients = append(p.AllClients, rundir.Component{Name: planned.Name, Ranks: planned.Ranks})
	return nil
}

// addPeers puts the components of the run that live in other jobs into the run-wide lists.
func (b builder) addPeers(p *rundir.Plan) error {
	for _, peer := range b.run.Peers {
		run := p.RunDirectory
		if peer.Owner != "" {
			run = rundir.Run(b.WorkDir, b.Origin, b.Job.Namespace, peer.Owner, cmp.Or(peer.Run, b.run.Name))
		}
		at := rundir.Component{Job: filepath.Join(run, peer.Job)}
		if peer.Kind == "Service" {
			s, err := b.service(peer.Name)
			if err != nil {
				return err
			}
			planned, err := b.planService(s)
			if err != nil {
				return err
			}
			at.Name, at.Ranks, at.Group = planned.Name, planned.Ranks, planned.Group
			p.AllServices = append(p.AllServices, at)
			continue
		}
		c, err := b.client(peer.Name)
		if err != nil {
			return err
		}
		at.Name, at.Ranks = ComponentName(c), int(max(1, c.Spec.Instances))
		p.AllClients = append(p.AllClients, at)
	}
	return nil
}

func (b builder) service(name string) (*v1alpha1.Service, error) {
	for i := range b.Services {
		if b.Services[i].Name == name {
			return &b.Services[i], nil
		}
	}
	return nil, fmt.Errorf("services.assay.bench %q does not exist in namespace %s", name, b.Job.Namespace)
}

func (b builder) client(name string) (*v1alpha1.LoadClient, error) {
	for i := range b.Clients {
		if b.Clients[i].Name == name {
			return &b.Clients[i], nil
		}
	}
	return nil, fmt.Errorf("loadclients.assay.bench %q does not exist in namespace %s", name, b.Job.Namespace)
}

// seed derives a component's seed from the run's and its name, so that components draw different numbers and the same
// recipe draws the same ones again.
func (b builder) seed(component string) uint64 {
	h := sha256.New()
	var run [8]byte
	binary.BigEndian.PutUint64(run[:], uint64(b.run.Seed))
	h.Write(run[:])
	h.Write([]byte(component))
	// 63 bits, so that the number fits the API's int64 when a recipe repeats it.
	return binary.BigEndian.Uint64(h.Sum(nil)) >> 1
}

// secrets lists the credentials that the attempt needs: its services' own, and those of its clients' targets.
func (b builder) secrets() []Secret {
	var out []Secret
	seen := map[string]bool{}
	add := func(file, name string, needs Needs) {
		if file != "" && !seen[file] {
			seen[file] = true
			out = append(out, Secret{File: filepath.Join(rundir.SecretsDir, file), Name: name, Needs: needs})
		}
	}
	for _, ref := range b.Job.Spec.Components {
		if ref.Kind == "Service" {
			if s, err := b.service(ref.Name); err == nil {
				add(ComponentName(s), SecretName(s.Name, b.run.Name), "")
			}
			continue
		}
		c, err := b.client(ref.Name)
		if err != nil {
			continue
		}
		if c.Spec.Target.Credentials != nil {
			needs := NeedsToken
			if c.Spec.S3 != nil {
				needs = NeedsPair
			}
			add(urlCredential(c), c.Spec.Target.Credentials.Name, needs)
		}
		if s, err := b.service(c.Spec.Target.Service); err == nil {
			add(ComponentName(s), SecretName(s.Name, b.runOf(s.Name)), "")
		}
	}
	return out
}

// runOf is the run that a service belongs to: the job's own, or its own where it is a peer of another owner.
func (b builder) runOf(service string) string {
	for _, peer := range b.run.Peers {
		if peer.Kind == "Service" && peer.Name == service && peer.Run != "" {
			return peer.Run
		}
	}
	return b.run.Name
}

// urlCredential is the file in secrets/ for the credentials of a client's URL.
func urlCredential(c *v1alpha1.LoadClient) string { return "target." + ComponentName(c) }
