package app

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"assay.bench/controllers/site"
	"assay.bench/internal/app/state"
	"assay.bench/slurmbridge"
)

// life says whether a control plane is at work.
type life string

const (
	alive life = "alive"
	dead  life = "dead"
	// silent is one of another host that has not written for a while: only a longer look tells whether it is dead.
	silent life = "silent"
	// unknown is one of which there is nothing but jobs.
	unknown life = "unknown"
)

// origin is a control plane of this user, with all that was found of it.
type origin struct {
	// short are the first digits, which keys hold; full is the id, "" where only keys tell of it.
	short, full string
	life        life
	// words are for people.
	words string
	// folder is its state, where that is on this host.
	folder *state.Folder
	// local are its jobs on this host, places the sites where it has a mark or jobs.
	local  []slurmbridge.Job
	places []*place
	// unasked are its sites that did not answer: there may be jobs of it.
	unasked []string
	// doubt is why the digits do not say whose a job is.
	doubt string
}

// place is what an origin has at a site.
type place struct {
	reach *reach
	// at is the origin's mark there; marked says that there is one, seen at the site's time clock.
	at     site.Origin
	marked bool
	clock  time.Time
	jobs   []slurmbridge.Job
	// leases are what the jobs there had been told when a longer look began; nil without one.
	leases map[string]bool
}

// survey is what runs where, for every control plane of this user.
type survey struct {
	origins []*origin
	// troubles are the sites that could not be asked.
	troubles []trouble
	reaches  []*reach
}

// trouble is a site that could not be asked, and why.
type trouble struct {
	Site  string `json:"site"`
	Error string `json:"error"`
	door  string
}

// close ends what is open to sites.
func (s *survey) close() {
	for _, r := range s.reaches {
		r.close()
	}
}

// answerOfSite is how long a site may take to tell what runs there.
const answerOfSite = 30 * time.Second

// look finds every control plane of this user: those with a state folder on this host, and those that have jobs or a mark
// at a site that one of these or a recipe knows.
func look(ctx context.Context, o *OS, recipes []string) (*survey, error) {
	sites, err := sitesIn(o, recipes)
	if err != nil {
		return nil, err
	}
	root, err := state.Root(o.Env, o.Home, o.UID)
	if err != nil {
		return nil, err
	}
	folders, err := state.List(root)
	if err != nil {
		return nil, err
	}
	clusters, err := state.Clusters(root)
	if err != nil {
		return nil, err
	}
	s := &survey{}
	for _, f := range slices.Concat(folders, clusters) {
		one := &origin{short: f.Short(), full: f.Info.Origin, folder: &f, life: lifeOfFolder(f), words: planeWords(f)}
		if one.local, err = localJobs(ctx, f); err != nil {
			return nil, err
		}
		s.origins = append(s.origins, one)
		sites = append(sites, sitesOf(o, f)...)
	}
	s.ask(ctx, o, distinct(sites))
	for _, one := range s.origins {
		if one.folder != nil {
			one.unasked = s.unasked(sitesOf(o, *one.folder))
		}
	}
	return s, nil
}

// unasked names the Sites that could not be asked.
func (s *survey) unasked(sites []knownSite) []string {
	var out []string
	for _, k := range sites {
		door, err := k.sameDoor()
		if err != nil || slices.ContainsFunc(s.troubles, func(t trouble) bool { return t.door == door }) {
			out = append(out, k.name)
		}
	}
	return out
}

func lifeOfFolder(f state.Folder) life {
	switch {
	case f.Info.Kind == state.KindManager:
		return unknown // only the cluster knows
	case f.Running():
		return alive
	}
	return dead
}

// distinct leaves one of the Sites that lead to the same place.
func distinct(sites []knownSite) []knownSite {
	var out []knownSite
	seen := map[string]bool{}
	for _, k := range sites {
		if door, err := k.sameDoor(); err == nil && !seen[door] {
			seen[door] = true
			out = append(out, k)
		}
	}
	return out
}

// answer is what a site told.
type answer struct {
	name  string
	door  string
	reach *reach
	marks originMarks
	jobs  []slurmbridge.Job
	err   error
}

// ask asks every site at the same time.
func (s *survey) ask(ctx context.Context, o *OS, sites []knownSite) {
	answers := make([]answer, len(sites))
	var all sync.WaitGroup
	for i, k := range sites {
		all.Go(func() { answers[i] = askSite(ctx, o, k) })
	}
	all.Wait()
	for _, a := range answers {
		if a.reach != nil {
			s.reaches = append(s.reaches, a.reach)
		}
		if a.err != nil {
			s.troubles = append(s.troubles, trouble{Site: a.name, Error: a.err.Error(), door: a.door})
			continue
		}
		s.add(o, a)
	}
}

func askSite(ctx context.Context, o *OS, k knownSite) answer {
	ctx, cancel := context.WithTimeout(ctx, answerOfSite)
	defer cancel()
	a := answer{name: k.name}
	if a.door, a.err = k.sameDoor(); a.err != nil {
		return a
	}
	if a.reach, a.err = openReach(ctx, o, k); a.err != nil {
		return a
	}
	// The marks go first: who has a job has made one before.
	if a.marks, a.err = a.reach.marks(ctx); a.err != nil {
		return a
	}
	var jobs everybody
	if jobs, a.err = a.reach.jobs(ctx, noOrigin); a.err == nil {
		a.jobs, a.err = jobs.All(ctx)
	}
	return a
}

// noOrigin is that of nobody: who asks with it ends nothing.
const noOrigin = "00000000000000000000000000000000"

// add sorts what a site told to the origins that it belongs to.
func (s *survey) add(o *OS, a answer) {
	for _, m := range a.marks.list {
		one := s.of(slurmbridge.Origin8(m.Origin))
		if one.full != "" && one.full != m.Origin {
			one.doubt = fmt.Sprintf("the control planes %s and %s have the same first digits", one.full, m.Origin)
			continue
		}
		one.full = m.Origin
		p := one.at(a)
		p.at, p.marked = m, true
		if one.folder == nil || one.folder.Info.Kind == state.KindManager {
			one.life, one.words = lifeOfMark(o, m, a.marks.clock, one.life)
		}
	}
	for _, j := range a.jobs {
		p := s.of(j.Key.Origin()).at(a)
		if !s.listed(a.reach, j) {
			p.jobs = append(p.jobs, j)
		}
	}
}

// of finds an origin by its digits, or makes one of which nothing is known yet.
func (s *survey) of(short string) *origin {
	for _, one := range s.origins {
		if one.short == short {
			return one
		}
	}
	one := &origin{short: short, life: unknown, words: "unknown"}
	s.origins = append(s.origins, one)
	return one
}

// listed says that a job is there already: two Sites may lead to one batch system with two work folders.
func (s *survey) listed(r *reach, j slurmbridge.Job) bool {
	for _, one := range s.origins {
		for _, p := range one.places {
			if p.reach != r && slices.ContainsFunc(p.jobs, func(k slurmbridge.Job) bool { return k.Key == j.Key && k.ID == j.ID }) {
				return true
			}
		}
	}
	return false
}

// at is what the origin has at the site that answered.
func (one *origin) at(a answer) *place {
	for _, p := range one.places {
		if p.reach == a.reach {
			return p
		}
	}
	p := &place{reach: a.reach, clock: a.marks.clock}
	one.places = append(one.places, p)
	return p
}

// silentAfter is how old the counter of a control plane's mark may be while it counts as alive.
const silentAfter = 3 * site.BeatEvery

// lifeOfMark says whether a control plane lives that has its state elsewhere. On this host its lock says so; on another
// one the counter that advances, by the clock of the site. What another site told before is not made worse.
func lifeOfMark(o *OS, m site.Origin, clock time.Time, before life) (life, string) {
	who := m.User + "@" + m.Host
	now := silent
	if f, here := stateOf(o, m); here {
		now = lifeOfFolder(f)
	} else if clock.Sub(time.Unix(m.Counter, 0)) <= silentAfter || before == alive {
		now = alive
	}
	words := fmt.Sprintf("%s, %s", who, now)
	if now == silent {
		words += " for " + clock.Sub(time.Unix(m.Counter, 0)).Round(time.Minute).String()
	}
	return now, strings.TrimSuffix(words, "0s")
}

// stateOf is the state folder that a mark names, where that is on this host. Two hosts may have one name: what is in the
// folder counts.
func stateOf(o *OS, m site.Origin) (state.Folder, bool) {
	if m.Host != o.Host || m.StateFolder == "" {
		return state.Folder{}, false
	}
	f, err := state.Open(m.StateFolder)
	return f, err == nil && f.Info.Origin == m.Origin
}

// live are the jobs that have not ended, of this host and of all places.
func (one *origin) live() int {
	n := countLive(one.local)
	for _, p := range one.places {
		n += countLive(p.jobs)
	}
	return n
}

func countLive(jobs []slurmbridge.Job) int {
	n := 0
	for _, j := range jobs {
		if !j.Over() {
			n++
		}
	}
	return n
}
