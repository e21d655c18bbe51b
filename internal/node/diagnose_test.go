package node

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"assay.bench/internal/rundir"
)

// excerpt of a log, the beginning of the line that is quoted of it, and a line that looks alike and is none.
type excerptOf struct{ log, quote, not string }

// serverExcerpts are logs as the servers write them, by the reason that they have to give.
func serverExcerpts() map[string]excerptOf {
	out := map[string]excerptOf{}
	for _, list := range []map[string]excerptOf{containerExcerpts(), gpuExcerpts(), modelExcerpts(), otherExcerpts()} {
		maps.Copy(out, list)
	}
	return out
}

func containerExcerpts() map[string]excerptOf {
	return map[string]excerptOf{
		"ImageUnauthorized": {
			"FATAL:   Unable to handle docker://r.example/a uri: failed to get checksum for docker://r.example/a: reading manifest latest in r.example/a: unauthorized: authentication required",
			"FATAL: Unable to handle", "INFO:    unauthorized requests: 0",
		},
		"ImageMissing": {
			"FATAL:   While checking container encryption: could not open image /scratch/vllm.sif: failed to retrieve path for /scratch/vllm.sif: lstat /scratch/vllm.sif: no such file or directory",
			"FATAL: While checking container encryption", "WARNING: could not open image cache: no such file or directory",
		},
		"ProgramMissing": {
			"INFO:    Could not find any nv files on this host!\nFATAL:   \"vllm\": executable file not found in $PATH",
			`FATAL: "vllm": executable file not found`, "sh: vllm: not found",
		},
		"RegistryUnreachable": {
			"FATAL:   While making image from oci registry: error fetching image to cache: failed to get checksum for docker://registry.example/a: pinging container registry registry.example: Get \"https://registry.example/v2/\": dial tcp: lookup registry.example: no such host",
			"FATAL: While making image", "INFO:    pinging container registry registry.example",
		},
		"ImageBroken": {
			"FATAL:   While checking container encryption: could not open image /scratch/a.sif: image format not recognized",
			"FATAL: While checking container encryption: could not open image /scratch/a.sif: image format", "image format not recognized: image/avif",
		},
		"NoUserNamespace": {
			"ERROR  : Could not write info to setgroups: Permission denied\nERROR  : Failed to create user namespace: not allowed to create user namespace",
			"ERROR : Failed to create user namespace", "INFO: user namespaces are enabled",
		},
		"ImageMount": {
			"FATAL:   container creation failed: mount hook function failure: mount /proc/self/fd/3->/var/lib/apptainer/mnt/session/rootfs error: while mounting image /proc/self/fd/3: squashfuse_ll exited with status 1: fuse: failed to open /dev/fuse: Permission denied",
			"FATAL: container creation failed", "INFO:    Cleanup error: while stopping driver for /var/lib/apptainer/mnt/session/rootfs: squashfuse_ll exited: On calling fusermount posix_spawn failed: No such file or directory",
		},
		"BindMissing": {
			"FATAL:   container creation failed: mount hook function failure: mount /data->/data error: while mounting /data: mount source /data doesn't exist",
			"FATAL: container creation failed: mount hook", "WARNING: mount source unknown",
		},
	}
}

func gpuExcerpts() map[string]excerptOf {
	return map[string]excerptOf{
		"GPUMemory": {
			"(EngineCore_DP0 pid=253) ERROR 11-02 09:00:01 [core.py:708] ValueError: Free memory on device (12.18/39.39 GiB) on startup is less than desired GPU memory utilization (0.92, 36.24 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.\n" +
				"(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
			"(EngineCore_DP0 pid=253) ERROR 11-02 09:00:01 [core.py:708] ValueError: Free memory on device", "INFO: Free memory on device: 39.1 GiB",
		},
		"KVCacheTooSmall": {
			"INFO 06-02 05:17:17 [gpu_worker.py:227] Available KV cache memory: 1.25 GiB\n" +
				"ERROR 06-02 05:17:18 [core.py:387] ValueError: To serve at least one request with the models's max seq len (40960), (10.00 GiB KV cache is needed, which is larger than the available KV cache memory (1.25 GiB). Based on the available memory, Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.",
			"ERROR 06-02 05:17:18 [core.py:387] ValueError: To serve at least one request", "INFO [kv_cache_utils.py] GPU KV cache size: 229,376 tokens",
		},
		"GPUOutOfMemory": {
			"Traceback (most recent call last):\ntorch.OutOfMemoryError: CUDA out of memory. Tried to allocate 224.00 MiB. GPU 0 has a total capacity of 39.39 GiB of which 152.31 MiB is free.",
			"torch.OutOfMemoryError: CUDA out of memory", "INFO: to avoid running out of memory on CUDA devices, see the docs",
		},
		"DriverTooOld": {
			"RuntimeError: The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver",
			"RuntimeError: The NVIDIA driver", "INFO: NVIDIA driver version 550.54.15",
		},
		"GPUUnsupported": {
			"RuntimeError: CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be asynchronously reported at some other API call",
			"RuntimeError: CUDA error: no kernel image", "INFO: kernel image cache is available",
		},
		"DataType": {
			"ValueError: Bfloat16 is only supported on GPUs with compute capability of at least 8.0. Your Tesla V100-SXM2-32GB GPU has compute capability 7.0.",
			"ValueError: Bfloat16 is only", "INFO: casting torch.float32 to torch.bfloat16",
		},
		"NoGPU": {
			"INFO:    Could not find any nv files on this host!\nRuntimeError: Failed to infer device type, please set the environment variable `VLLM_LOGGING_LEVEL=DEBUG`",
			"RuntimeError: Failed to infer", "INFO:    Could not find any nv files on this host!",
		},
	}
}

func modelExcerpts() map[string]excerptOf {
	return map[string]excerptOf{
		"TensorParallelSize": {
			"pydantic_core._pydantic_core.ValidationError: 1 validation error for VllmConfig\n  Value error, Total number of attention heads (12) must be divisible by tensor parallel size (8).",
			"Value error, Total number", "INFO: tensor parallel size is 8",
		},
		"ContextTooLong": {
			"ValueError: User-specified max_model_len (8192) is greater than the derived max_model_len (max_position_embeddings=2048 or model_max_length=None in model's config.json).",
			"ValueError: User-specified", "INFO: Using max model len 2048",
		},
		"ModelGated": {
			"OSError: You are trying to access a gated repo.\nMake sure to have access to it at https://huggingface.co/google/gemma-3-1b-pt.\n401 Client Error. (Request ID: Root=1-689eeb63)",
			"OSError: You are trying to access a gated repo.", "INFO: gated MLP with SiLU",
		},
		"ModelOffline": {
			"OSError: We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.\nCheck your internet connection or see how to run the library in offline mode",
			"OSError: We couldn't connect", "INFO: see https://huggingface.co for models",
		},
		"ModelMissing": {
			"OSError: nobody/opt-125m is not a local folder and is not a valid model identifier listed on 'https://huggingface.co/models'",
			"OSError: nobody/opt-125m", "INFO: loading config.json of facebook/opt-125m",
		},
		"RemoteCode": {
			"ValueError: The repository for a/b contains custom code which must be executed to correctly load the model. You can inspect the repository content at https://hf.co/a/b.\nPlease pass the argument `trust_remote_code=True` to allow custom code to be run.",
			"Please pass the argument", "non-default args: {'trust_remote_code': False}",
		},
		"ModelUnsupported": {
			"ValueError: Model architectures ['FooForCausalLM'] are not supported for now. Supported architectures: dict_keys(['OPTForCausalLM'])",
			"ValueError: Model architectures", "INFO: Resolved architecture: OPTForCausalLM",
		},
		"ModelBroken": {
			"  with safe_open(st_file, framework=\"pt\") as f:\nsafetensors_rust.SafetensorError: Error while deserializing header: HeaderTooLarge",
			"safetensors_rust.SafetensorError", "INFO: Loading safetensors checkpoint shards: 100% Completed",
		},
		"Tokenizer": {
			"OSError: Can't load tokenizer for '/models/a'. If you were trying to load it from 'https://huggingface.co/models', make sure you don't have a local directory with the same name.",
			"OSError: Can't load tokenizer", "WARNING: Using a slow tokenizer. This might cause a significant slowdown",
		},
	}
}

func otherExcerpts() map[string]excerptOf {
	return map[string]excerptOf{
		"SharedMemory": {
			"ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).",
			"ERROR: Unexpected bus error", "INFO: vLLM message queue uses shared memory",
		},
		"RayResources": {
			"ValueError: The number of required GPUs exceeds the total number of available GPUs in the placement group.",
			"ValueError: The number of required GPUs", "INFO: placement group with 8 GPUs is ready",
		},
		"NCCL": {
			"torch.distributed.DistBackendError: NCCL error in: /pytorch/torch/csrc/distributed/c10d/NCCLUtils.cpp:77, unhandled system error, NCCL version 2.26.2\nncclSystemError: System call (e.g. socket, malloc) or external library call failed or device error.",
			"torch.distributed.DistBackendError: NCCL error", "INFO [pynccl.py:63] vLLM is using nccl==2.26.2",
		},
		"PeersNotFound": {
			"torch.distributed.DistNetworkError: The client socket has timed out after 600000ms while trying to connect to (mel2001, 29500).",
			"torch.distributed.DistNetworkError", "INFO: client socket closed",
		},
		"PortInUse": {
			"ERROR: [Errno 98] error while attempting to bind on address ('0.0.0.0', 8000): address already in use",
			"ERROR: [Errno 98]", "INFO: this address is already known",
		},
		"QuotaExceeded": {
			"OSError: [Errno 122] Disk quota exceeded: '/home/users/u1/.cache/huggingface/hub'",
			"OSError: [Errno 122]", "INFO: quota 90 % used",
		},
		"DiskFull": {
			"FATAL:   While performing build: while creating squashfs: create command failed: exit status 1: Write failed because No space left on device",
			"FATAL: While performing build", "INFO: 12 GiB of space left on the device",
		},
		"CacheNotWritable": {
			"PermissionError: [Errno 13] Permission denied: '/root/.triton'", "PermissionError:", "INFO: permission to /scratch granted",
		},
		"ImageIncomplete": {
			"ModuleNotFoundError: No module named 'flashinfer'", "ModuleNotFoundError", "INFO: module flashinfer is not used",
		},
		"DriveFormat": {
			"ERROR Unable to use the drive /data: Drive /data: found backend type fs, expected xl or xl-single: Invalid arguments specified",
			"ERROR Unable to use the drive /data", "INFO: Formatting 1st pool, 1 set(s), 4 drives per set.",
		},
		"DriveIsRoot": {
			"Error: Drive `/mnt/d4` is part of root drive, will not be used (*errors.errorString)\n       8: internal/logger/logger.go:259:logger.LogIf()\nERROR Unable to initialize backend: drive not found",
			"Error: Drive `/mnt/d4` is part", "INFO: root drive is /dev/sda",
		},
		"DriveOffline": {
			"ERROR Unable to initialize backend: drive not found", "ERROR Unable to initialize backend", "Status:         4 Online, 0 Offline.",
		},
		"DriveAccess": {
			"FATAL Unable to initialize backend: file access denied", "FATAL Unable to initialize backend", "API: GetObject access denied for key",
		},
		"CredentialInvalid": {
			"FATAL Unable to validate credentials inherited from the shell environment: Invalid credentials: access key length should be at least 3, and secret key length at least 8 characters",
			"FATAL Unable to validate credentials", "WARNING: Detected default credentials 'minioadmin:minioadmin'",
		},
		"BadArguments": {
			"usage: vllm [-h] [-v] {chat,complete,serve}\nvllm: error: unrecognized arguments: --tensor-size 2", "vllm: error: unrecognized arguments: --tensor-size 2", "INFO: args: Namespace(model='a')",
		},
		engineFailed: {
			"(EngineCore_DP0 pid=7) ERROR 11-02 [core.py:708] FooError: the thing broke\n(EngineCore_DP0 pid=7) ERROR 11-02 [core.py:708] BarError: so this could not go on\n(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}",
			"(EngineCore_DP0 pid=7) ERROR 11-02 [core.py:708] FooError: the thing broke", "INFO: Engine core initialization took 4.2 seconds",
		},
	}
}

// Each of the failures that are known is found in a log that tells of it, and not where a line only looks alike.
func TestKnownFailures(t *testing.T) {
	excerpts := serverExcerpts()
	for _, f := range serverFailures() {
		e, ok := excerpts[f.reason]
		if !ok {
			t.Errorf("%s has no excerpt of a log", f.reason)
			continue
		}
		delete(excerpts, f.reason)
		d, found := diagnose(serverFailures(), "INFO: the server begins\n"+e.log+"\nthe end")
		if !found || d.reason != f.reason || !strings.HasPrefix(d.quote, e.quote) {
			t.Errorf("found %v, %s, which quotes %q; want %s with %q", found, d.reason, d.quote, f.reason, e.quote)
		}
		if d, found := diagnose(serverFailures(), e.not); found {
			t.Errorf("%s: %q is taken for %s", f.reason, e.not, d.reason)
		}
		if got := camel(f.reason); got != f.reason {
			t.Errorf("%q is no reason of a condition", f.reason)
		}
	}
	for reason := range excerpts {
		t.Errorf("there is an excerpt for %s, and no failure", reason)
	}
}

// camel is what a condition takes of a reason.
func camel(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, s)
}

func TestServersThatAreSlow(t *testing.T) {
	cases := map[string]struct{ log, want string }{
		"loads":    {"Loading safetensors checkpoint shards:  12% Completed | 1/8 [03:11<22:17, 191.02s/it]", "it still loads the model: raise readiness.timeout"},
		"compiles": {"INFO [backends.py:541] Dynamo bytecode transform time: 4.02 s", "it still compiles: raise readiness.timeout"},
		"hangs":    {"INFO 11-02 [pynccl.py:63] vLLM is using nccl==2.26.2", "it waits for the processes that it works with: set NCCL_DEBUG=INFO"},
		"drives":   {"Waiting for a minimum of 2 drives to come online (elapsed 5m)", "it waits for its drives: see that each folder"},
		"broken":   {"ERROR: [Errno 13] Permission denied: '/root/.cache/vllm'", "the server may not write"},
		"nothing":  {"INFO: Application startup complete.", ""},
	}
	for name, c := range cases {
		got, ok := whySlow(c.log, c.log)
		if ok != (c.want != "") || !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: %v, %q; want %q", name, ok, got, c.want)
		}
	}
}

// What Slurm says of a step counts for a rank that ended without a word, what other ranks say does not.
func TestStepFailures(t *testing.T) {
	cases := map[string]struct{ reason, log, want string }{
		"OverMemoryKill": {"slurmstepd looks every few seconds", "slurmstepd-mel2001: error: StepId=1980002.0 exceeded memory limit (211791872 > 209715200), being killed\nsrun: Exceeded job memory limit\nslurmstepd-mel2001: error: *** STEP 1980002.0 ON mel2001 CANCELLED AT 2026-11-30T11:46:25 ***", "OutOfMemory"},
		"the kernel":     {"as slurmstepd tells it in the end", "slurmstepd: error: Detected 1 oom_kill event in StepId=41.0. Some of the step tasks have been OOM Killed.\nsrun: error: mel2001: task 0: Out Of Memory", "OutOfMemory"},
		"no step":        {"", "srun: error: Unable to create step for job 41: Memory required by task is not available", "StepRefused"},
		"no folder":      {"", "slurmstepd: error: couldn't chdir to `/work/x': No such file or directory: going to /tmp instead", "StepLaunch"},
		"another's":      {"the service's own sentence quotes its log", "sim/0: OutOfMemory: exceeded memory limit, being killed", rundir.ExitReasonError},
		"nothing":        {"", "srun: Job step's nodes are ready", rundir.ExitReasonError},
	}
	for name, c := range cases {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, rundir.JobLogFile), []byte("begin\n"+c.log+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		end := stepEnding(dir, rundir.ExitReasonError, "it ended", rundir.Resources{MemoryMiB: 2048})
		asked := strings.Contains(end.message, "it asked for 2048 MiB on each node")
		if end.reason != c.want || !strings.Contains(end.message, "it ended") || asked != (c.want == rundir.ExitReasonOutOfMemory) {
			t.Errorf("%s: %s: %s: %s; want %s", name, c.reason, end.reason, end.message, c.want)
		}
	}
	if end := stepEnding(t.TempDir(), rundir.ExitReasonError, "it ended", rundir.Resources{}); end.message != "it ended" {
		t.Errorf("without a job.log: %q", end.message)
	}
}

func TestOOMFiles(t *testing.T) {
	cases := map[string]struct {
		cgroup string
		want   []string
	}{
		"version 1": {"9:cpuset:/\n5:memory:/slurm/uid_1000/job_41/step_0/task_0\n0::/init\n", []string{
			"/sys/fs/cgroup/memory/slurm/uid_1000/job_41/step_0/task_0/memory.oom_control", "/sys/fs/cgroup/init/memory.events"}},
		"version 2": {"0::/system.slice/slurmstepd.scope/job_41/step_0\n", []string{"/sys/fs/cgroup/system.slice/slurmstepd.scope/job_41/step_0/memory.events"}},
		"nothing":   {"", nil},
	}
	for name, c := range cases {
		if diff := cmp.Diff(c.want, oomFiles(c.cgroup)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
	}
	for content, want := range map[string]int64{
		"oom_kill_disable 0\nunder_oom 0\noom_kill 3\n": 3, "low 0\nhigh 0\nmax 12\noom 1\noom_kill 1\noom_group_kill 0\n": 1, "oom_kill -4\n": 0, "oom_kill x\n": 0, "": 0,
	} {
		if got := parseOOMKills(content); got != want {
			t.Errorf("%q: %d, want %d", content, got, want)
		}
	}
}

func FuzzDiagnose(f *testing.F) {
	for _, e := range serverExcerpts() {
		f.Add(e.log)
		f.Add(e.not)
	}
	f.Fuzz(func(t *testing.T, log string) {
		for _, known := range [][]failure{serverFailures(), stepFailures(), slowStarts()} {
			d, found := diagnose(known, log)
			if !found {
				continue
			}
			if strings.Contains(d.quote, "\n") || len(d.quote) > quoteBytes+len("…") || utf8.ValidString(log) && !utf8.ValidString(d.quote) {
				t.Errorf("it quotes %q", d.quote)
			}
			if again, ok := diagnose(known, "a line before\n"+log); !ok || again.reason != d.reason {
				t.Errorf("with a line before it is %v, %s; alone it is %s", ok, again.reason, d.reason)
			}
		}
		parseOOMKills(log)
	})
}
