// Package state keeps the folders of control planes: one for each, on local disk, named by its origin.
//
//	<root>/<origin8>/
//	  assay.json     what this control plane is: see Info
//	  plane/         the embedded API server and its kubeconfig
//	  jobs/          the records of local jobs
//	  work/          the work folder of the default local site
//	  assay.log      the log
//	<root>/clusters/<uid>/
//	  jobs/          the records of the local jobs of a cluster's assay manager, which keeps the rest in the cluster
package state

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"assay.bench/internal/controlplane/statedir"
	"assay.bench/slurmbridge"
)

// Kinds of control plane.
const (
	// KindRun belongs to one assay run.
	KindRun = "run"
	// KindUp stands until assay down.
	KindUp = "up"
	// KindManager is that of a cluster, with assay manager on this host.
	KindManager = "manager"
)

// Info says what a control plane is.
type Info struct {
	Origin  string    `json:"origin"`
	Kind    string    `json:"kind"`
	Context string    `json:"context,omitempty"`
	Created time.Time `json:"created"`
	// Host and PID of the process that made it or opened it last.
	Host string `json:"host"`
	PID  int    `json:"pid"`
	// Files and Output of a run, absolute, so that attach can finish it.
	Files  []string `json:"files,omitempty"`
	Output string   `json:"output,omitempty"`
	// Benchmarks of a run, as namespace/name.
	Benchmarks []string `json:"benchmarks,omitempty"`
	// Collected says that the results of a run are whole in Output.
	Collected bool `json:"collected,omitempty"`
	// WorkDirs are the work folders of local Sites that have one of their own. Below each is a folder of this origin.
	WorkDirs []string `json:"workDirs,omitempty"`
	// Sites are those whose batch system was asked: there may be jobs of this origin in it.
	Sites []Site `json:"sites,omitempty"`
}

// Site is a Site as it was when its door was last opened. It holds no credentials.
type Site struct {
	Namespace string          `json:"namespace"`
	Name      string          `json:"name"`
	Spec      json.RawMessage `json:"spec"`
}

// Folder is the state of one control plane.
type Folder struct {
	Path string
	Info Info
}

// Plane, Jobs, Work and Log are paths in the folder.
func (f Folder) Plane() string { return filepath.Join(f.Path, "plane") }

// Jobs holds the records of local jobs.
func (f Folder) Jobs() string { return filepath.Join(f.Path, "jobs") }

// Work is the work folder of the default local site.
func (f Folder) Work() string { return filepath.Join(f.Path, "work") }

// Works are all work folders on this host.
func (f Folder) Works() []string { return append([]string{f.Work()}, f.Info.WorkDirs...) }

// Log is the log of the control plane.
func (f Folder) Log() string { return filepath.Join(f.Path, "assay.log") }

// Kubeconfig is the way in for kubectl.
func (f Folder) Kubeconfig() string { return filepath.Join(f.Plane(), "kubeconfig") }

// Short is the origin's first 8 digits: how people name a control plane.
func (f Folder) Short() string { return slurmbridge.Origin8(f.Info.Origin) }

const infoFile = "assay.json"

// Root is where control planes of a user live: $XDG_STATE_HOME/assay, else ~/.local/state/assay; below /var/tmp when
// that is on a network file system, where etcd must not run.
func Root(env func(string) string, home string, uid int) (string, error) {
	return root(env, home, uid, onNetwork)
}

func root(env func(string) string, home string, uid int, onNetwork func(path string) bool) (string, error) {
	base := env("XDG_STATE_HOME")
	if base == "" {
		if home == "" {
			return "", errors.New("HOME is not set: set it, or XDG_STATE_HOME")
		}
		base = filepath.Join(home, ".local", "state")
	}
	if !filepath.IsAbs(base) {
		return "", fmt.Errorf("XDG_STATE_HOME=%s is not an absolute path", base)
	}
	if onNetwork(base) {
		return fmt.Sprintf("/var/tmp/assay-%d", uid), nil
	}
	return filepath.Join(base, "assay"), nil
}

// onNetwork looks at the nearest folder that exists.
func onNetwork(path string) bool {
	var s unix.Statfs_t
	for unix.Statfs(path, &s) != nil {
		parent := filepath.Dir(path)
		if parent == path {
			return false
		}
		path = parent
	}
	return isNetwork(s.Type)
}

// isNetwork knows the magic numbers of statfs(2), and those of Lustre, GPFS and BeeGFS.
func isNetwork(magic int64) bool {
	return slices.Contains([]int64{
		unix.NFS_SUPER_MAGIC, unix.SMB_SUPER_MAGIC, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC, unix.CEPH_SUPER_MAGIC,
		unix.AFS_SUPER_MAGIC, unix.V9FS_MAGIC, 0x0bd00bd0, 0x47504653, 0x19830326,
	}, magic)
}

// Create makes the folder of a new control plane with a random origin.
func Create(root string, info Info) (Folder, error) {
	var random [16]byte
	if _, err := rand.Read(random[:]); err != nil {
		return Folder{}, fmt.Errorf("random origin: %w", err)
	}
	info.Origin = hex.EncodeToString(random[:])
	f := Folder{Path: filepath.Join(root, slurmbridge.Origin8(info.Origin)), Info: info}
	if err := Prepare(root); err != nil {
		return f, err
	}
	if err := os.Mkdir(f.Path, 0o700); err != nil {
		return f, fmt.Errorf("state folder: %w", err)
	}
	return f, f.Save()
}

// Save writes assay.json by rename.
func (f Folder) Save() error {
	b, err := json.MarshalIndent(f.Info, "", "  ")
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	path := filepath.Join(f.Path, infoFile)
	if err := os.WriteFile(path+".new", append(b, '\n'), 0o600); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return nil
}

// Change changes what assay.json says now, which may be more than f knows: the process that has the control plane does
// so in several places. It returns the folder with what is stored then.
func (f Folder) Change(change func(*Info)) (Folder, error) {
	lock, err := os.Open(f.Path) // a folder can be locked as well as a file
	if err != nil {
		return f, fmt.Errorf("state folder: %w", err)
	}
	defer lock.Close() // gives the lock back
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return f, fmt.Errorf("state folder: lock: %w", err)
	}
	now, err := read(f.Path)
	if err != nil {
		return f, err
	}
	change(&now.Info)
	f.Info = now.Info
	return f, f.Save()
}

// AddWork notes a work folder, before anything is put there: what nobody knows of, nobody removes.
func (f Folder) AddWork(dir string) error {
	dir = filepath.Clean(dir)
	if dir == f.Work() {
		return nil
	}
	_, err := f.Change(func(i *Info) {
		if !slices.Contains(i.WorkDirs, dir) {
			i.WorkDirs = append(i.WorkDirs, dir)
		}
	})
	return err
}

// AddSite notes a Site, before there can be a job in it: a control plane that is dead tells nobody of its Sites.
func (f Folder) AddSite(s Site) error {
	_, err := f.Change(func(i *Info) {
		i.Sites = append(slices.DeleteFunc(i.Sites, func(old Site) bool { return old.Namespace == s.Namespace && old.Name == s.Name }), s)
	})
	return err
}

// Open reads the folder of a control plane. One in a root that others may use is refused.
func Open(path string) (Folder, error) {
	if err := private(filepath.Dir(path)); err != nil {
		return Folder{Path: path}, err
	}
	return read(path)
}

func read(path string) (Folder, error) {
	f := Folder{Path: path}
	b, err := os.ReadFile(filepath.Join(path, infoFile))
	if err != nil {
		return f, fmt.Errorf("state folder: %w", err)
	}
	if err := json.Unmarshal(b, &f.Info); err != nil {
		return f, fmt.Errorf("state folder %s: %w", path, err)
	}
	if slurmbridge.Origin8(f.Info.Origin) != filepath.Base(path) {
		return f, fmt.Errorf("state folder %s: assay.json speaks of origin %q", path, f.Info.Origin)
	}
	return f, nil
}

// List returns the control planes of a root, the oldest first. A folder that cannot be read is left out; a root that
// others may use is refused.
func List(root string) ([]Folder, error) {
	if _, err := os.Lstat(root); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := private(root); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	var out []Folder
	for _, e := range entries {
		if f, err := read(filepath.Join(root, e.Name())); err == nil {
			out = append(out, f)
		}
	}
	slices.SortFunc(out, func(a, b Folder) int { return a.Info.Created.Compare(b.Info.Created) })
	return out, nil
}

// Cluster is what a manager of a cluster keeps on this host. The UID of the cluster is its origin.
func Cluster(root, uid string) Folder {
	return Folder{Path: filepath.Join(root, "clusters", uid), Info: Info{Origin: uid, Kind: KindManager}}
}

// Clusters returns the clusters whose manager ran jobs on this host, by name. A root that others may use is refused.
func Clusters(root string) ([]Folder, error) {
	if _, err := os.Lstat(root); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err := private(root); err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(filepath.Join(root, "clusters"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("state folder: %w", err)
	}
	var out []Folder
	for _, e := range entries {
		if f := Cluster(root, e.Name()); len(f.Short()) == 8 { // else it is no UID
			out = append(out, f)
		}
	}
	return out, nil
}

// Find returns the control plane whose origin begins with the digits.
func Find(root, digits string) (Folder, error) {
	list, err := List(root)
	if err != nil {
		return Folder{}, err
	}
	var found []Folder
	for _, f := range list {
		if digits != "" && strings.HasPrefix(f.Info.Origin, digits) {
			found = append(found, f)
		}
	}
	switch len(found) {
	case 0:
		return Folder{}, fmt.Errorf("no control plane begins with %q: assay attach lists them", digits)
	case 1:
		return found[0], nil
	}
	return Folder{}, fmt.Errorf("%d control planes begin with %q: give more digits; assay attach lists them", len(found), digits)
}

// Standing returns the control plane of assay up with this context.
func Standing(root, context string) (f Folder, found bool, err error) {
	list, err := List(root)
	if err != nil {
		return Folder{}, false, err
	}
	for _, f := range list {
		if f.Info.Kind == KindUp && f.Info.Context == context {
			return f, true, nil
		}
	}
	return Folder{}, false, nil
}

// EnsureStanding returns the control plane of assay up with info's context, or makes it. Of two callers at once only one
// makes it.
func EnsureStanding(root string, info Info) (f Folder, made bool, err error) {
	if err := Prepare(root); err != nil {
		return Folder{}, false, err
	}
	lock, err := os.Open(root) // a folder can be locked as well as a file
	if err != nil {
		return Folder{}, false, fmt.Errorf("state folder: %w", err)
	}
	defer lock.Close() // gives the lock back
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return Folder{}, false, fmt.Errorf("state folder: lock: %w", err)
	}
	f, found, err := Standing(root, info.Context)
	if err != nil || found {
		return f, false, err
	}
	f, err = Create(root, info)
	return f, true, err
}

// Prepare makes a root with mode 0700, or checks that an existing one is ours alone.
func Prepare(root string) error {
	if err := os.MkdirAll(root, 0o700); err != nil {
		return fmt.Errorf("state folder: %w: set XDG_STATE_HOME to a folder on a local disk that you may write to", err)
	}
	return private(root)
}

// private refuses a root that is not ours alone: what stands in it is run as this user, and below /var/tmp anybody may
// have made it.
func private(root string) error {
	if err := statedir.Private(root); err != nil {
		return fmt.Errorf("%w; or set XDG_STATE_HOME to a folder of your own on a local disk", err)
	}
	return nil
}

// Remove deletes the folder of a control plane whose jobs are gone.
func (f Folder) Remove() error {
	if err := os.RemoveAll(f.Path); err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	return nil
}
