package node

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/rundir"
)

func TestParseGPUs(t *testing.T) {
	cases := map[string]struct {
		reason, out string
		mask        gpuMask
		want        []string
	}{
		"two": {"as a driver prints them", `GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-0b6ba1a2-1f7a-9e55-2b5e-7a4d7f1a5c01)
`, gpuMask{}, []string{"GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77", "GPU-0b6ba1a2-1f7a-9e55-2b5e-7a4d7f1a5c01"}},
		"divided": {"the parts stand for the first GPU; the second one is whole", `CUDA_VISIBLE_DEVICES=0
GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aa)
  MIG 3g.40gb     Device  0: (UUID: MIG-11)
  MIG 1g.10gb     Device  1: (UUID: MIG-GPU-aa/9/0)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bb)
`, gpuMask{true, "0"}, []string{"MIG-11", "MIG-GPU-aa/9/0", "GPU-bb"}},
		"an empty mask": {"is not the same as none", "CUDA_VISIBLE_DEVICES=\n", gpuMask{true, ""}, nil},
		"no mask":       {"", "CUDA_VISIBLE_DEVICES\nGPU 0: A (UUID: GPU-aa)\n", gpuMask{}, []string{"GPU-aa"}},
		"none":          {"", "No devices found.\n", gpuMask{}, nil},
		"noise":         {"a profile that talks", "Welcome (UUID: x)\nMIG\nGPU 0: A (UUID: \n", gpuMask{}, nil},
	}
	for name, c := range cases {
		mask, got := parseGPUs([]byte(c.out))
		if diff := cmp.Diff(c.want, got); diff != "" || mask != c.mask {
			t.Errorf("%s: %s: mask %+v, want %+v; -want +got:\n%s", name, c.reason, mask, c.mask, diff)
		}
	}
}

func FuzzParseGPUs(f *testing.F) {
	f.Add("CUDA_VISIBLE_DEVICES=0,GPU-b\nGPU 0: A (UUID: GPU-aa)\n  MIG 1g.5gb Device 0: (UUID: MIG-11)\nGPU 1: A (UUID: GPU-bb)\n")
	f.Fuzz(func(t *testing.T, out string) {
		mask, list := parseGPUs([]byte(out))
		seen := mask.visible(list)
		if !mask.set && !slices.Equal(seen, list) {
			t.Errorf("without a mask %q leaves %q", list, seen)
		}
		if c := compareGPUs(list, seen, mask); (c.State == rundir.GPUVerified) != (len(without(list, seen)) == 0 && len(without(seen, list)) == 0) {
			t.Errorf("given %q, seen %q: %+v", list, seen, c)
		}
	})
}

func TestGPUMask(t *testing.T) {
	list := []string{"GPU-aa11", "GPU-bb22", "MIG-cc33"}
	cases := map[string]struct {
		reason string
		mask   gpuMask
		want   []string
	}{
		"unset":         {"all of them", gpuMask{}, list},
		"empty":         {"none of them", gpuMask{set: true}, nil},
		"numbers":       {"in their order", gpuMask{true, "1, 0"}, []string{"GPU-bb22", "GPU-aa11"}},
		"a UUID":        {"may be shortened", gpuMask{true, "GPU-bb"}, []string{"GPU-bb22"}},
		"a part":        {"has a UUID of its own", gpuMask{true, "MIG-cc33"}, []string{"MIG-cc33"}},
		"too high":      {"CUDA stops at the first that is wrong", gpuMask{true, "0,7,1"}, []string{"GPU-aa11"}},
		"-1":            {"is how one asks for none", gpuMask{true, "-1,0"}, nil},
		"NoDevFiles":    {"is what Slurm writes for none", gpuMask{true, "NoDevFiles"}, nil},
		"another's":     {"it is what the server is told to use", gpuMask{true, "GPU-dd44"}, []string{"GPU-dd44"}},
		"a part's half": {"only UUIDs are shortened", gpuMask{true, "aa11"}, nil},
	}
	for name, c := range cases {
		if diff := cmp.Diff(c.want, c.mask.visible(list)); diff != "" {
			t.Errorf("%s: %s: -want +got:\n%s", name, c.reason, diff)
		}
	}
}

// nvidiaSMI writes a stand-in that lists two GPUs, and an apptainer that cleans the environment as the real one does.
func nvidiaSMI(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, script := range map[string]string{
		"nvidia-smi": `#!/bin/sh
[ "$1" = -L ] || exit 9
for i in 0 1; do echo "GPU $i: NVIDIA A100-SXM4-40GB (UUID: GPU-0000$i)"; done
`,
		"apptainer": `#!/bin/sh
[ "$1" = --version ] && { echo "apptainer version 1.3.6"; exit 0; }
while [ "${1##*/}" != server.sif ]; do shift; done
shift
exec env -i PATH="$PATH" $(env | sed -n 's/^APPTAINERENV_\([A-Z_]*=\)/\1/p') "$@"
`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A server is started with the devices of its step and no others, in a container and without one.
func TestGPUsAreChecked(t *testing.T) {
	t.Parallel()
	const one, two = "GPU-00000", "GPU-00001"
	cases := map[string]struct {
		reason, mask string
		env          []rundir.EnvVar
		bare, none   bool
		want         rundir.GPUCheck
		message      []string
	}{
		"the step's": {
			reason: "--cleanenv drops the mask, and it gets in all the same", mask: "1",
			want: rundir.GPUCheck{State: rundir.GPUVerified, Given: []string{two}, Seen: []string{two}},
		},
		"another's": {
			reason: "a recipe that names a device", mask: "1", env: []rundir.EnvVar{{Name: gpuMaskName, Value: "0"}},
			want: rundir.GPUCheck{State: rundir.GPUWrong, Given: []string{two}, Seen: []string{one}}, message: []string{
				"the server would use " + one + ", which its step was not given, and the server does not see " + two, `CUDA_VISIBLE_DEVICES is "0" there`, "leave CUDA_VISIBLE_DEVICES out"},
		},
		"one of two": {
			reason: "half of what was paid for", mask: "0,1", env: []rundir.EnvVar{{Name: gpuMaskName, Value: one}},
			want: rundir.GPUCheck{State: rundir.GPUWrong, Given: []string{one, two}, Seen: []string{one}}, message: []string{"the server does not see " + two},
		},
		"bare": {
			reason: "without a container the same holds", mask: "1", env: []rundir.EnvVar{{Name: gpuMaskName, Value: "0"}}, bare: true,
			want: rundir.GPUCheck{State: rundir.GPUWrong, Given: []string{two}, Seen: []string{one}}, message: []string{one, two},
		},
		"no nvidia-smi": {
			reason: "a state, not an error", mask: "1", none: true,
			want: rundir.GPUCheck{State: rundir.GPUUnverified, Message: "nvidia-smi is not in the PATH of HOST"},
		},
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			f.sim()
			s, dir := &f.plan.Services[0], nvidiaSMI(t)
			if c.none {
				if err := os.Remove(filepath.Join(dir, "nvidia-smi")); err != nil {
					t.Fatal(err)
				}
			}
			f.env = []string{"PATH=" + dir + ":/usr/bin:/bin", gpuMaskName + "=" + c.mask}
			s.Resources.GPUsPerNode, s.Env = 1, slices.Concat(c.env, []rundir.EnvVar{{Name: asEnv, Value: "assay-node"}})
			if !c.bare {
				sif := filepath.Join(dir, "server.sif")
				if err := os.WriteFile(sif, []byte("SIF"), 0o600); err != nil {
					t.Fatal(err)
				}
				s.Image = &rundir.Image{URI: sif}
				s.Argv = append([]string{os.Args[0]}, s.Argv[1:]...)
			}
			code := f.wait(f.start())
			c.want.Message = strings.ReplaceAll(c.want.Message, "HOST", host)
			got := f.status("sim").GPUs
			if got == nil {
				t.Fatalf("%s: the status tells nothing of the GPUs", c.reason)
			}
			if c.want.State == rundir.GPUWrong {
				c.want.Message = got.Message
			}
			if diff := cmp.Diff(&c.want, got); diff != "" {
				t.Errorf("%s: -want +got:\n%s", c.reason, diff)
			}
			f.checkGPUEnd(code, c.message)
		})
	}
}

// checkGPUEnd checks how the run ended, and that the provenance tells what came of the check.
func (f *fixture) checkGPUEnd(code int, message []string) {
	f.t.Helper()
	if started := len(f.events("sim", "ServerStarted")); (code == rundir.ExitOK) != (message == nil) || started > 0 != (message == nil) {
		f.t.Errorf("exit code %d, %d servers started", code, started)
	}
	exit := f.exit("sim", 1)
	if wrong := exit.Reason == rundir.ExitReasonWrongGPU; wrong != (message != nil) {
		f.t.Errorf("reason %s: %s", exit.Reason, exit.Message)
	}
	for _, want := range message {
		if !strings.Contains(exit.Message, want) {
			f.t.Errorf("message %q lacks %q", exit.Message, want)
		}
	}
	b, err := os.ReadFile(filepath.Join(f.rankDir("sim", 0), rundir.ProvenanceFile))
	if err != nil {
		f.t.Fatal(err)
	}
	var p provenance
	if err := json.Unmarshal(b, &p); err != nil {
		f.t.Fatal(err)
	}
	if diff := cmp.Diff(f.status("sim").GPUs, p.GPUs.Check); diff != "" {
		f.t.Errorf("the provenance says otherwise: -status +provenance:\n%s", diff)
	}
}
