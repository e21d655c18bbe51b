package node

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"assay.bench/internal/rundir"
)

// provenance is provenance.json: where and with what a rank ran. All of it is captured, none of it is secret.
type provenance struct {
	Component string    `json:"component"`
	Rank      int       `json:"rank"`
	Key       string    `json:"key"`
	PlanHash  string    `json:"planHash"`
	Seed      uint64    `json:"seed"`
	Started   time.Time `json:"started"`
	PID       int       `json:"pid"`
	Argv      []string  `json:"argv"`

	Host      string            `json:"host"`
	Kernel    string            `json:"kernel"`
	OS        string            `json:"os,omitempty"`
	Arch      string            `json:"arch"`
	CPU       string            `json:"cpu,omitempty"`
	CPUs      int               `json:"cpus"`
	CPUMask   string            `json:"cpuMask,omitempty"`
	MemoryKiB int64             `json:"memoryKiB,omitempty"`
	Cgroup    map[string]string `json:"cgroup,omitempty"`

	Node  nodeBinary        `json:"node"`
	GPUs  gpuState          `json:"gpus"`
	Image *imageState       `json:"image,omitempty"`
	Slurm map[string]string `json:"slurm,omitempty"`
}

// nodeBinary is this program.
type nodeBinary struct {
	Path     string `json:"path"`
	SHA256   string `json:"sha256"`
	Version  string `json:"version"`
	Go       string `json:"go"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
}

// gpuState is what nvidia-smi says. State is Listed, NoProgram or Failed: none of them is an error.
type gpuState struct {
	State   string   `json:"state"`
	Message string   `json:"message,omitempty"`
	Fields  string   `json:"fields,omitempty"`
	GPUs    []string `json:"gpus,omitempty"`
	Visible string   `json:"visible,omitempty"`
	// Check compares them with what the server sees; nil where none asks for a GPU.
	Check *rundir.GPUCheck `json:"check,omitempty"`
}

// imageState is the image that a server ran in. Digest is the one that the recipe names; SHA256 is that of the SIF, where
// somebody has looked: at the pull, or before the start.
type imageState struct {
	rundir.UsedImage
	Runtime string `json:"runtime"`
}

// usedImage is what is known of an image's file.
func usedImage(img *rundir.Image) rundir.UsedImage {
	out := rundir.UsedImage{URI: img.URI, Digest: img.Digest}
	path, err := imageSource(img)
	if err != nil {
		return out // the server does not start, and says why
	}
	out.SIF = path
	if st, err := os.Stat(path); err == nil {
		out.Size = st.Size()
	}
	if img.SIF == "" {
		out.SHA256 = strings.TrimPrefix(img.Digest, "sha256:") // it was compared
	} else if record, err := storedImage(path); err == nil {
		out.SHA256 = record.SHA256
	}
	return out
}

// The questions for programs beside us take at most this long each.
const askTimeout = 5 * time.Second

const gpuFields = "uuid,name,driver_version,memory.total,mig.mode.current,clocks.max.sm,clocks.max.memory,power.limit"

// recordProvenance writes provenance.json.
func (r *rank) recordProvenance(ctx context.Context, image *rundir.Image) {
	defer close(r.provenance)
	p := r.gather(ctx, image)
	p.GPUs.Check = r.awaitGPUs(ctx)
	if err := writeJSON(filepath.Join(r.dir, rundir.ProvenanceFile), p); err != nil {
		r.log("ProvenanceFailed", "error", err)
		r.stop(asEnding(err))
	}
}

// awaitGPUs waits for what came of the check of the GPUs; nil when there is none, or when the rank ends before.
func (r *rank) awaitGPUs(ctx context.Context) *rundir.GPUCheck {
	if r.gpuCheck == nil {
		return nil
	}
	select {
	case check := <-r.gpuCheck:
		return &check
	case <-ctx.Done():
	}
	select {
	case check := <-r.gpuCheck: // both at once
		return &check
	default:
		return nil
	}
}

func (r *rank) gather(ctx context.Context, image *rundir.Image) provenance {
	find := pathLookup(r.world.getenv("PATH"))
	p := provenance{
		Component: r.name, Rank: r.number, Key: r.job.plan.Key, PlanHash: r.job.planHash, Seed: r.job.plan.Seed,
		Started: r.world.Now().UTC(), PID: r.world.PID, Argv: append([]string{r.world.Executable}, r.world.Args...),
		Host: r.world.Hostname, Kernel: kernel(), Arch: runtime.GOARCH, CPUs: runtime.NumCPU(),
		OS:        fileValue("/etc/os-release", "PRETTY_NAME", "="),
		CPU:       fileValue("/proc/cpuinfo", "model name", ":"),
		CPUMask:   fileValue("/proc/self/status", "Cpus_allowed_list", ":"),
		MemoryKiB: memory(), Cgroup: cgroupLimits(),
		Node: thisBinary(r.world.Executable), GPUs: r.gpus(ctx, find), Slurm: slurmEnv(r.world.Environ),
	}
	if image != nil {
		p.Image = &imageState{UsedImage: usedImage(image), Runtime: version(ctx, find, "apptainer")}
	}
	return p
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return ""
	}
	return unix.ByteSliceToString(u.Release[:])
}

// fileValue returns the value of the first line that begins with a key, or "".
func fileValue(path, key, sep string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		k, v, ok := strings.Cut(lines.Text(), sep)
		if ok && strings.TrimSpace(k) == key {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return ""
}

func memory() int64 {
	n, err := strconv.ParseInt(strings.TrimSuffix(fileValue("/proc/meminfo", "MemTotal", ":"), " kB"), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// cgroupLimits reads the limits of this process's own cgroup, of version 2 or 1; what is not there is left out.
func cgroupLimits() map[string]string {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil
	}
	out := map[string]string{}
	read := func(name, path string) {
		if b, err := os.ReadFile(path); err == nil {
			out[name] = strings.TrimSpace(string(b))
		}
	}
	for line := range strings.Lines(string(b)) {
		_, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		controllers, path, _ := strings.Cut(rest, ":")
		if controllers == "" {
			out["path"] = path
			for _, name := range []string{"cpu.max", "cpuset.cpus.effective", "memory.max"} {
				read(name, filepath.Join("/sys/fs/cgroup", path, name))
			}
			continue
		}
		for c := range strings.SplitSeq(controllers, ",") {
			dir := filepath.Join("/sys/fs/cgroup", c, path)
			switch c {
			case "cpu":
				read("cpu.cfs_quota_us", filepath.Join(dir, "cpu.cfs_quota_us"))
				read("cpu.cfs_period_us", filepath.Join(dir, "cpu.cfs_period_us"))
			case "cpuset":
				read("cpuset.cpus", filepath.Join(dir, "cpuset.cpus"))
			case "memory":
				read("memory.limit_in_bytes", filepath.Join(dir, "memory.limit_in_bytes"))
			}
		}
	}
	return out
}

func thisBinary(path string) nodeBinary {
	n := nodeBinary{Path: path, Version: Version(), Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				n.Revision = s.Value
			case "vcs.modified":
				n.Modified = s.Value == "true"
			}
		}
	}
	n.SHA256, _ = fileSHA256(path) // "" says that it cannot be read
	return n
}

// gpus asks nvidia-smi. A node without it, without GPUs or with a driver that does not answer is a state.
func (r *rank) gpus(ctx context.Context, find lookup) gpuState {
	s := gpuState{Visible: r.world.getenv(gpuMaskName)}
	program, err := find("nvidia-smi")
	if err != nil {
		s.State, s.Message = "NoProgram", "nvidia-smi is not in the PATH"
		return s
	}
	out, err := ask(ctx, program, "--query-gpu="+gpuFields, "--format=csv,noheader")
	if err != nil {
		s.State, s.Message = "Failed", strings.TrimSpace(err.Error()+" "+excerpt([]byte(out)))
		return s
	}
	s.State, s.Fields = "Listed", gpuFields
	s.GPUs = strings.Split(strings.TrimSpace(out), "\n")
	return s
}

func version(ctx context.Context, find lookup, name string) string {
	program, err := find(name)
	if err != nil {
		return "missing"
	}
	out, err := ask(ctx, program, "--version")
	if err != nil {
		return "unknown: " + err.Error()
	}
	return strings.TrimSpace(out)
}

func ask(ctx context.Context, program string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if ctx.Err() != nil {
		err = errors.New("no answer within " + askTimeout.String())
	}
	return string(out), err
}

// slurmEnv is the part of the environment that says where in Slurm a rank ran. The list is of names that hold no
// secret: SLURM_JWT, for one, is not in it.
func slurmEnv(environ []string) map[string]string {
	names := map[string]bool{}
	for n := range strings.FieldsSeq(`JOB_ID JOB_NAME JOB_NODELIST JOB_NUM_NODES JOB_PARTITION JOB_QOS JOB_ACCOUNT
		CLUSTER_NAME NTASKS PROCID LOCALID NODEID NODENAME STEP_ID STEP_NODELIST CPUS_PER_TASK CPUS_ON_NODE GPUS_ON_NODE
		JOB_GPUS STEP_GPUS MEM_PER_NODE RESTART_COUNT HET_SIZE JOB_START_TIME JOB_END_TIME CPU_BIND DISTRIBUTION`) {
		names["SLURM_"+n] = true
	}
	out := map[string]string{}
	for _, e := range environ {
		if k, v, _ := strings.Cut(e, "="); names[k] {
			out[k] = v
		}
	}
	return out
}
