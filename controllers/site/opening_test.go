package site

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/poll"
	"assay.bench/slurmbridge/sim"
)

func TestLeadsElsewhere(t *testing.T) {
	ssh := func(host, user, keys string) v1alpha1.SiteSpec {
		return v1alpha1.SiteSpec{WorkDir: "/w", Jobs: v1alpha1.JobsDoor{SSH: &v1alpha1.SSHDoor{SSHHost: v1alpha1.SSHHost{Host: host, User: user, KnownHosts: keys}}}}
	}
	sim := func(seed int64) v1alpha1.SiteSpec {
		return v1alpha1.SiteSpec{WorkDir: "/w", Jobs: v1alpha1.JobsDoor{Sim: &v1alpha1.SimDoor{Seed: seed}}}
	}
	moved := ssh("a", "me", "k")
	moved.WorkDir = "/x"
	often := sim(1)
	often.PollInterval = "5s"
	for reason, c := range map[string]struct {
		a, b v1alpha1.SiteSpec
		want bool
	}{
		"the host has got a new key":        {ssh("a", "me", "k"), ssh("a", "me", "l"), false},
		"another login node":                {ssh("a", "me", "k"), ssh("b", "", "k"), false},
		"another door to Slurm":             {ssh("a", "me", "k"), v1alpha1.SiteSpec{WorkDir: "/w", Jobs: v1alpha1.JobsDoor{REST: &v1alpha1.RESTDoor{User: "me"}}}, false},
		"asked less often":                  {sim(1), often, false},
		"another user's jobs":               {ssh("a", "me", "k"), ssh("a", "you", "k"), true},
		"another work folder":               {ssh("a", "me", "k"), moved, true},
		"another simulation":                {sim(1), sim(2), true},
		"no batch system any more, or none": {ssh("a", "me", "k"), v1alpha1.SiteSpec{WorkDir: "/w", Jobs: v1alpha1.JobsDoor{Local: &v1alpha1.LocalDoor{}}}, true},
	} {
		if got := doorSpecOf(&c.a).leadsElsewhere(doorSpecOf(&c.b)); got != c.want {
			t.Errorf("%s: elsewhere %t", reason, got)
		}
	}
}

// centre is some clusters behind login nodes, each of which lets in who has the key.
type centre struct {
	nodes map[string]*sim.Site
	names map[string]string
	key   string
	// shut counts the doors that were.
	shut int
}

// loggedIn is the door of a login node.
type loggedIn struct {
	*sim.Site
	of  *centre
	key []byte
}

// Probe is refused where the key is not the centre's any more.
func (l loggedIn) Probe(ctx context.Context, workDir string) error {
	if string(l.key) != l.of.key {
		return fmt.Errorf("%w: the key", slurmbridge.ErrCredentials)
	}
	return l.Site.Probe(ctx, workDir)
}

func (c *centre) open(ctx context.Context, s *v1alpha1.Site, secrets Secrets) (Opened, error) {
	door := s.Spec.Jobs.SSH
	if door.KnownHosts != "right" {
		return Opened{}, fmt.Errorf("%w: another key", slurmbridge.ErrHostKey)
	}
	key, err := secrets(ctx, "mel", "key")
	if err != nil {
		return Opened{}, err
	}
	site := loggedIn{c.nodes[door.Host], c, bytes.Clone(key)}
	if err := site.Probe(ctx, s.Spec.WorkDir); err != nil {
		return Opened{}, err
	}
	return Opened{Jobs: site, Files: site, Prober: site, Node: "/node", Cluster: c.names[door.Host], Pace: poll.Near(), Close: func() { c.shut++ }}, nil
}

// atCentre is a controller whose Site is open by login node a, where a job of ours runs.
func atCentre(t *testing.T) (*Kind, *centre, *v1alpha1.Site) {
	t.Helper()
	job := user()
	job.Status.Attempts = []v1alpha1.Attempt{{Number: 1, Submits: 1, State: v1alpha1.AttemptRunning}}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "mel"}, Data: map[string][]byte{"key": []byte("old")}}
	k, cluster, _ := kind(t, job, secret)
	another := sim.New(sim.Options{Now: k.Now}).Site(origin)
	here := cluster.Site(origin)
	c := &centre{
		nodes: map[string]*sim.Site{"a": here, "b": here, "c": another, "d": here},
		names: map[string]string{"a": "mel", "b": "mel", "c": "mel", "d": "luna"}, key: "old",
	}
	k.Openers = []Opener{{Name: "ssh", Matches: func(s *v1alpha1.SiteSpec) bool { return s.Jobs.SSH != nil }, Open: c.open}}
	site := simSite()
	site.Spec.Jobs = v1alpha1.JobsDoor{SSH: &v1alpha1.SSHDoor{SSHHost: v1alpha1.SSHHost{Host: "a", KnownHosts: "right"}}}
	if err := here.Submit(t.Context(), slurmbridge.NewKey(origin, string(job.UID), 1), slurmbridge.Script{Directory: "/work/1", Node: "/n", Parts: []slurmbridge.Part{{Nodes: 1}}}); err != nil {
		t.Fatal(err)
	}
	if seen := perform(t, k, site, Open{}, Probe{}, Beat{}); !seen.open || seen.live != 1 || seen.looks.failed != nil {
		t.Fatalf("want an open door, got %+v", seen)
	}
	return k, c, site
}

// jobsSeen are the jobs that are seen through the door of the Site.
func jobsSeen(t *testing.T, k *Kind) int {
	t.Helper()
	door, err := k.Registry.Door("default", "here")
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := door.Jobs.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return len(jobs)
}

// While jobs run the way to them may change, and nothing else: what leads elsewhere, or nowhere, leaves the old way open.
func TestAnotherWayToJobs(t *testing.T) {
	for reason, c := range map[string]struct {
		host, keys string
		// shut counts the doors that are shut: the old one, or the new one, or none where none was opened.
		shut int
		want string
	}{
		"a login node of the same site": {host: "b", keys: "right", shut: 1},
		"another cluster":               {host: "c", keys: "right", shut: 1, want: "it leads to another site than the one where the jobs are: /work/.origins/" + origin + ".json there is not what this control plane wrote"},
		"another cluster by its name":   {host: "d", keys: "right", shut: 1, want: "its cluster is luna, not mel"},
		"a host that is not that one":   {host: "b", keys: "wrong", want: "the host key is not the pinned one"},
	} {
		t.Run(reason, func(t *testing.T) {
			k, centre, site := atCentre(t)
			before, _ := k.Registry.Poller("default", "here")
			site.Spec.Jobs.SSH.Host, site.Spec.Jobs.SSH.KnownHosts = c.host, c.keys
			if seen := perform(t, k, site); seen.current || seen.elsewhere || seen.tried {
				t.Fatalf("before: %+v", seen)
			}
			seen := perform(t, k, site, Reopen{})
			after, _ := k.Registry.Poller("default", "here")
			if moved := c.want == ""; seen.current != moved || (before != after) != moved || seen.tried == moved || !seen.open {
				t.Errorf("after: %+v", seen)
			}
			if failed := fmt.Sprint(seen.looks.failed); c.want != "" && !strings.Contains(failed, c.want) || c.want == "" && seen.looks.failed != nil {
				t.Errorf("failed: %s, want %q", failed, c.want)
			}
			if centre.shut != c.shut {
				t.Errorf("%d doors were shut, want %d", centre.shut, c.shut)
			}
			if n := jobsSeen(t, k); n != 1 {
				t.Errorf("%d jobs are seen, want the one that runs", n)
			}
		})
	}
}

// An old mark is one that this control plane left at a site where it worked before.
func TestAnOldMarkProvesNothing(t *testing.T) {
	k, centre, site := atCentre(t)
	stale := Origin{}
	if _, err := stale.beat(t.Context(), slurmbridge.Door{Files: centre.nodes["c"], WorkDir: "/work", Origin: origin}, noon.Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	site.Spec.Jobs.SSH.Host = "c"
	if seen := perform(t, k, site, Reopen{}); !errors.Is(seen.looks.failed, errElsewhere) || seen.current {
		t.Errorf("it led to %+v", seen)
	}
}

// Whoever replaces a key where it lies needs to tell nobody.
func TestKeyIsReadAgain(t *testing.T) {
	k, centre, site := atCentre(t)
	now := noon
	step := func() *v1alpha1.Site {
		t.Helper()
		now = now.Add(time.Minute)
		seen := perform(t, k, site)
		d := decide(site.DeepCopy(), seen, now)
		for _, e := range d.Do {
			perform(t, k, site, e)
		}
		site.Status = d.Status
		return site
	}
	centre.key = "new"
	step()
	if got := condition(step(), v1alpha1.ConditionReady); got != "False CredentialsRefused" {
		t.Errorf("the key was rotated: %s", got)
	}
	if err := k.Client.Update(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "mel"}, Data: map[string][]byte{"key": []byte("new")}}); err != nil {
		t.Fatal(err)
	}
	step()
	if got := condition(step(), v1alpha1.ConditionReady); got != "True SiteAnswers" || jobsSeen(t, k) != 1 {
		t.Errorf("the Secret holds the new one: %s", got)
	}
}
