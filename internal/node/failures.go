package node

import "assay.bench/internal/rundir"

// failure is one way in which a server ends that people meet again and again, as its log tells of it.
type failure struct {
	// reason is the word for it.
	reason string
	// signs are texts of one line of the log, in small letters: each sign is one text, or several that stand in one line,
	// joined by signAnd.
	signs []string
	// what went wrong, and what to try.
	what, try string
}

// signAnd joins the texts of a sign.
const signAnd = " … "

// serverFailures are in the order in which they are looked for: what causes others comes before them. A line that a
// server prints and lives on with must not be a sign; --nv without a driver, for one, only warns.
func serverFailures() []failure {
	var out []failure
	for _, list := range [][]failure{containerFailures(), gpuFailures(), modelFailures(), cooperationFailures(), hostFailures(), storageFailures(), lastFailures()} {
		out = append(out, list...)
	}
	return out
}

// containerFailures come before the server itself begins.
func containerFailures() []failure {
	return []failure{
		{
			"ImageUnauthorized", []string{"fatal: … unauthorized", "fatal: … requested access to the resource is denied", "fatal: … authentication required"},
			"the registry refuses to give the image to this user", "log in to it on the login node (apptainer registry login), or copy the image to a SIF",
		},
		{
			rundir.ExitReasonImageMissing, []string{"fatal: … manifest unknown", "fatal: … could not open image … no such file or directory", "fatal: … name unknown"},
			"the image is not there", "look at its name, tag and digest, or name a SIF on a file system that the nodes share",
		},
		{
			rundir.ExitReasonProgramMissing, []string{"fatal: … executable file not found in $path", "fatal: … stat / … no such file or directory"},
			"the image does not have the program", "name one that is in it, by its whole path: exec does not run the image's entry point",
		},
		{
			"RegistryUnreachable", []string{"fatal: … pinging container registry", "fatal: … error pinging", "fatal: … registry … no such host", "fatal: … registry … i/o timeout"},
			"the node does not reach the image's registry", "build a SIF where there is internet, and name it",
		},
		{
			"ImageBroken", []string{"fatal: … image format not recognized", "trying to read the squashfs image", "this version supports only"},
			"the image cannot be read", "build or copy it again, and compare its hash",
		},
		{
			"NoUserNamespace", []string{"create user namespace", "fatal: … user namespace", "fatal: … setuid … not installed"},
			"the node lets this user make no containers", "ask the site's staff for user namespaces, or for Apptainer with setuid, on this node",
		},
		{
			"ImageMount", []string{"squashfuse … fuse:", "fuse: device not found", "failed to open /dev/fuse", "fatal: … image driver mount failure"},
			"the node cannot mount the image", "ask the site's staff for squashfuse and /dev/fuse on this node, or make a folder of the image (apptainer build --sandbox) and name it",
		},
		{
			"BindMissing", []string{"fatal: … mount source … doesn't exist", "fatal: … unable to add … to mount list"},
			"the container is to see a folder that is not there", "look at image.binds, and that the folder is there on the compute nodes",
		},
	}
}

// gpuFailures are about devices, their memory and their driver.
func gpuFailures() []failure {
	return []failure{
		{
			"GPUMemory", []string{"free memory on device … less than desired gpu memory utilization"},
			"another program holds memory of the GPU that the server wants", "lower gpuMemoryUtilization, or ask for whole nodes (resources.exclusive) where GPUs are shared",
		},
		{
			"KVCacheTooSmall", []string{"larger than the maximum number of tokens that can be stored in kv cache", "kv cache is needed, which is larger than", "no available memory for the cache blocks"},
			"the KV cache has no room for one request of the greatest length", "lower maxModelLen, raise gpuMemoryUtilization, or share the model out over more GPUs (tensorParallelSize)",
		},
		{
			"GPUOutOfMemory", []string{"torch.outofmemoryerror", "torch.cuda.outofmemoryerror", "cuda out of memory", "cuda error: out of memory", "cublas_status_alloc_failed", "cuda_error_out_of_memory"},
			"the GPU's memory is too small for what the server put there", "lower gpuMemoryUtilization, maxModelLen or maxNumSeqs, share the model out over more GPUs (tensorParallelSize), or take a smaller one",
		},
		{
			"DriverTooOld", []string{"nvidia driver on your system is too old", "cuda driver version is insufficient", "forward compatibility was attempted on non supported", "provided ptx was compiled with an unsupported toolchain"},
			"the node's NVIDIA driver is older than the image needs", "take an image of an older CUDA; provenance.json has the driver's version",
		},
		{
			"GPUUnsupported", []string{"no kernel image is available for execution", "is not compatible with the current pytorch installation"},
			"the image holds no code for this kind of GPU", "take an image that was built for it, or nodes with another GPU (partition, constraint)",
		},
		{
			"DataType", []string{"bfloat16 is only supported on gpus with compute capability"},
			"the GPU cannot compute with the model's numbers", "set dtype to half",
		},
		{
			"NoGPU", []string{
				"no cuda gpus are available", "found no nvidia driver on your system", "failed to infer device type", "libcuda.so.1: cannot open shared object file", "no cuda-capable device is detected",
				"device_count() returned 0",
			},
			"the server finds no GPU", "ask for some (resources.gpusPerNode), on a partition whose nodes have them, with a driver",
		},
	}
}

// modelFailures are about what the server is to serve.
func modelFailures() []failure {
	return []failure{
		{
			"TensorParallelSize", []string{"attention heads … must be divisible by tensor parallel size", "not divisible by … tensor parallel", "larger than the number of available gpus", "is larger than the world size"},
			"the model cannot be shared out over that many GPUs", "choose a tensorParallelSize that divides the model's attention heads, and ask for as many GPUs",
		},
		{
			"ContextTooLong", []string{"user-specified max_model_len … is greater than the derived max_model_len"},
			"maxModelLen is longer than the model was made for", "lower maxModelLen, or leave it out",
		},
		{
			"ModelGated", []string{"access a gated repo", "cannot access gated repo", "gatedrepoerror", "access to model … is restricted", "401 client error … huggingface.co"},
			"the model is given only to accounts that have accepted its terms", "accept them with your account, download it where there is internet, and name its folder",
		},
		{
			"ModelOffline", []string{
				"couldn't connect to 'https://huggingface.co'", "couldn't connect to https://huggingface.co", "localentrynotfounderror", "outgoing traffic has been disabled", "offlinemodeisenabled", "offline mode is enabled",
				"failed to resolve 'huggingface.co'", "cannot find an appropriate cached snapshot folder", "cannot find the requested files in the",
			},
			"the model is not in the cache, and the node does not reach the place that it comes from", "download it before, into the folder that cacheFolder names, or name the model's own folder",
		},
		{
			"ModelMissing", []string{
				"repositorynotfounderror", "is not a local folder and is not a valid model identifier", "does not appear to have a file named config.json", "invalid repository id or local directory specified",
				"incorrect path_or_model_id", "hfvalidationerror", "cannot find any model weights with",
			},
			"there is no such model", "look at its name; a folder has to be there on the compute nodes, with config.json and the weights",
		},
		{
			"RemoteCode", []string{"trust_remote_code=true", "trust-remote-code … custom code"},
			"the model brings a program of its own, which is not run unasked", "read that program, then add --trust-remote-code to extraArgs",
		},
		{
			"ModelUnsupported", []string{"model architectures … not supported", "does not recognize this architecture", "unknown quantization method"},
			"this version of the server does not know the model's architecture", "take a newer image, or another model",
		},
		{
			"ModelBroken", []string{"safetensorerror", "error while deserializing header", "pytorchstreamreader failed", "git-lfs.github.com"},
			"a file of the model is not whole", "download it again, and compare the sizes: a pointer of Git LFS is no model",
		},
		{
			"Tokenizer", []string{"can't load tokenizer for", "tokenizer class … does not exist", "couldn't instantiate the backend tokenizer", "unable to load vocabulary", "default chat template is no longer allowed"},
			"the model's tokenizer cannot be used", "see that its files are beside the weights, take a newer image, or give it with --tokenizer or --chat-template in extraArgs",
		},
	}
}

// cooperationFailures are about processes that work together.
func cooperationFailures() []failure {
	return []failure{
		{
			"SharedMemory", []string{"insufficient shared memory", "no space left on device … /dev/shm", "/dev/shm … no space left on device", "unable to allocate shared memory", "unable to open shared memory object"},
			"the shared memory of the node (/dev/shm) is full or too small", "ask for whole nodes (resources.exclusive) and more memory, and have the site's staff look at what others left in /dev/shm",
		},
		{
			"RayResources", []string{"number of required gpus exceeds the total number of available gpus in the placement group", "number of available gpus in the cluster", "current node has no gpu available"},
			"Ray has fewer GPUs than the server wants", "see that resources.nodes times gpusPerNode is tensorParallelSize times the pipeline's stages",
		},
		{
			"NCCL", []string{"nccl error", "ncclsystemerror", "ncclunhandledcudaerror", "ncclinternalerror", "ncclremoteerror", "ncclinvalidusage", "watchdog caught collective operation timeout"},
			"the GPUs cannot talk to each other", "set NCCL_DEBUG=INFO in env to see why, and NCCL_SOCKET_IFNAME to the network that the nodes share, such as ib0",
		},
		{
			"PeersNotFound", []string{"diststoreerror", "distnetworkerror", "the client socket has timed out", "timed out … waiting for clients", "gloo connectfullmesh failed"},
			"the server's processes did not find each other", "set GLOO_SOCKET_IFNAME and NCCL_SOCKET_IFNAME in env to the network that the nodes share, such as ib0, and the Site's interface to the same",
		},
		{
			rundir.ExitReasonPortInUse, []string{"address already in use", "eaddrinuse", "port is already in use"},
			"another program has a port that the server wants", "give it a free one, or ask for whole nodes (resources.exclusive)",
		},
	}
}

// hostFailures are about the node and its file systems.
func hostFailures() []failure {
	return []failure{
		{
			"QuotaExceeded", []string{"disk quota exceeded", "edquot", "errno 122"},
			"your quota on a file system is used up", "remove what is not needed, or ask the site's staff for more; many file systems limit the number of files too",
		},
		{
			rundir.ExitReasonDiskFull, []string{"no space left on device", "enospc", "errno 28]", "drive path full", "minimum free drive threshold"},
			"a file system that the server writes to is full", "free some space, or name folders elsewhere; Apptainer unpacks in APPTAINER_TMPDIR, which is /tmp unless set",
		},
		{
			"CacheNotWritable", []string{"permission … .triton", "permission … .cache", "permission … /root/", "permission … numba", "permission … .config", "read-only file system", "no locator available for file"},
			"the server may not write where it wants to keep something", "name its cache folder in env, below $(DIR), and look at image.binds",
		},
		{
			"ImageIncomplete", []string{"modulenotfounderror:", "error while loading shared libraries", "version `glibc_", "importerror:", "a shared library is likely missing"},
			"the server lacks a library", "take the image of a whole release, or load the module that has it",
		},
	}
}

// storageFailures are MinIO's.
func storageFailures() []failure {
	return []failure{
		{
			"DriveFormat", []string{"found backend type … expected", "unsupported format", "unexpected format", "corrupted format", "corrupted backend format", "inconsistent drive", "xl format … unknown"},
			"a drive holds what another MinIO, or another layout, has written", "name empty folders in driveFolders: a benchmark never takes over old data",
		},
		{
			"DriveIsRoot", []string{"part of root drive, will not be used"},
			"a drive is on the disk of the node's system", "name folders of another file system in driveFolders, or one drive only",
		},
		{
			"DriveOffline", []string{"drive not found", "drive is faulty", "insufficient number of drives online", "drives to come online", "disk not found", "read failed. insufficient number of drives"},
			"too few of the drives can be used", "see that each folder of driveFolders is there, on every node, and can be written",
		},
		{
			"DriveAccess", []string{"drive access denied", "disk access denied", "unable to write to the backend", "backend: file access denied"},
			"a drive cannot be written", "name folders of your own in driveFolders; the container sees those that the recipe names and no other",
		},
		{
			"CredentialInvalid", []string{"invalid credentials … access key", "access key length should be", "unable to validate credentials"},
			"the server does not take its credential", "leave MINIO_ROOT_USER and MINIO_ROOT_PASSWORD out of env: every run gets a pair of its own",
		},
	}
}

// lastFailures say little by themselves: they are looked for last.
func lastFailures() []failure {
	return []failure{
		{
			"BadArguments", []string{"error: unrecognized arguments", "error: argument ", "invalid choice:", "flag provided but not defined", "incorrect usage", "error: the following arguments are required"},
			"the server does not know an argument that it gets", "look at extraArgs, and at what this version of it knows (--help)",
		},
		{
			engineFailed, []string{"engine core initialization failed", "enginecore failed to start", "engine core proc … died", "enginedeaderror"},
			"the engine within the server ended", "its log says more above; fewer GPUs or a smaller model show whether it is a matter of size",
		},
	}
}

// engineFailed is vLLM's: its last words only point to an error above them.
const engineFailed = "EngineFailed"

// stepFailures are what Slurm says in the log of the job, of a step that it has ended.
func stepFailures() []failure {
	return []failure{
		{
			rundir.ExitReasonOutOfMemory, []string{"exceeded memory limit … being killed", "oom_kill event", "oom-kill event", "exceeded job memory limit", "exceeded step memory limit", "oom killed"},
			"it used more memory than its job asked for", "raise resources.memory, or let it need less",
		},
		{
			"StepRefused", []string{"unable to create step for job", "requested node configuration is not available", "memory required by task is not available", "invalid generic resource", "more processors requested than permitted"},
			"Slurm did not start it within the job", "look at resources: a step gets no more than the job has",
		},
		{
			"StepLaunch", []string{"task launch for", "unable to confirm allocation", "couldn't chdir to", "execve(): "},
			"Slurm could not start it on its node", "see that the work folder and the program are there on the compute nodes",
		},
	}
}

// slowStarts are what a server says last that is not yet ready, and perhaps would be.
func slowStarts() []failure {
	return []failure{
		{
			"", []string{"loading safetensors checkpoint shards", "loading pt checkpoint shards", "loading model weights", "starting to load model"},
			"it still loads the model", "raise readiness.timeout to what the model's size takes at the speed of the file system; on Lustre --safetensors-load-strategy eager (extraArgs) reads large pieces",
		},
		{
			"", []string{"capturing cuda graph", "capturing cudagraph", "torch.compile", "compiling a graph", "dynamo bytecode transform"},
			"it still compiles", "raise readiness.timeout, name a cacheFolder that outlives the run, or add --enforce-eager to extraArgs, which makes it slower to serve",
		},
		{
			"", []string{"is using nccl", "ncclcomminitrank", "init_process_group", "rank … in world size", "distributed_init_method", "waiting for … to join"},
			"it waits for the processes that it works with", "set NCCL_DEBUG=INFO in env to see for what, and NCCL_SOCKET_IFNAME and GLOO_SOCKET_IFNAME to the network that the nodes share, such as ib0",
		},
		{
			"", []string{"waiting for … drives", "waiting for a minimum", "waiting for all other servers"},
			"it waits for its drives", "see that each folder of driveFolders is there, on every node, and can be written",
		},
	}
}
