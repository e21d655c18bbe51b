package v1alpha1

// MinIOEngine is the object store MinIO: a process on each of resources.nodes, which all together store objects on the
// drives of all nodes.
//
// The program is minio of the image, or of the node's PATH. Its root user and password are random, and new in each run.
// Clients talk to the process of the first node, which is ready when the cluster is.
//
// +kubebuilder:validation:XValidation:rule="!has(self.drives) || !has(self.driveFolders)",message="name drives, or the folders that they lie in, not both",fieldPath=".driveFolders"
type MinIOEngine struct {
	// drives is how many drives the process of each node serves, each a folder in the run's own. One drive in all keeps
	// objects as they are; four or more store them with erasure coding, for which MinIO wants a file system with direct I/O.
	// It refuses drives on the node's root device, unless env has MINIO_CI_CD with the value 1: do that to try things only.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	Drives int32 `json:"drives,omitempty"`
	// driveFolders are absolute paths on each node, such as the mount points of its disks: each gets one drive, in a folder
	// of its own that is removed at the end.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:Pattern=`^/[A-Za-z0-9._/-]*$`
	// +kubebuilder:validation:items:MaxLength=512
	DriveFolders []string `json:"driveFolders,omitempty"`
	// metrics is the version of the metric paths: V3 is live, V2 is known to older versions and ten seconds old, which
	// every repeat waits for at its end.
	// +optional
	// +kubebuilder:validation:Enum=V2;V3
	// +kubebuilder:default=V3
	Metrics string `json:"metrics,omitempty"`
	// metricsAccess says who may read the metrics: Token wants a token made of the root password, Public wants none.
	// +optional
	// +kubebuilder:validation:Enum=Token;Public
	// +kubebuilder:default=Token
	MetricsAccess string `json:"metricsAccess,omitempty"`
	// env is added to the environment of the program. Put no secret here.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Env []EnvVar `json:"env,omitempty"`
	// extraArgs come after the engine's own arguments and before the drives.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=1024
	ExtraArgs []string `json:"extraArgs,omitempty"`
}

// Versions of MinIO's metric paths, and who may read them.
const (
	MinIOMetricsV2     = "V2"
	MinIOMetricsV3     = "V3"
	MinIOMetricsToken  = "Token"
	MinIOMetricsPublic = "Public"
)

// VLLMEngine is the inference server vLLM, on resources.nodes.
//
// The program is vllm of the image, or of the node's PATH. It gets a random API key, new in each run. It is ready when its
// health route answers, it lists the model, and it has generated one token.
type VLLMEngine struct {
	// model is a name at Hugging Face, or the absolute path of a folder on the node, which the container then sees.
	// +required
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9/][A-Za-z0-9._/-]*$`
	// +kubebuilder:validation:MaxLength=512
	Model string `json:"model"`
	// servedModelName is the name that clients ask for; without it, model.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._/-]*$`
	// +kubebuilder:validation:MaxLength=256
	ServedModelName string `json:"servedModelName,omitempty"`
	// tensorParallelSize is the number of GPUs that share each layer. Times pipelineParallelSize it is the number of GPUs: on
	// one node at most resources.gpusPerNode, where that is set; on several, nodes × gpusPerNode.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	// +kubebuilder:default=1
	TensorParallelSize int32 `json:"tensorParallelSize,omitempty"`
	// pipelineParallelSize is the number of stages that the layers are divided into, each on tensorParallelSize GPUs.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	// +kubebuilder:default=1
	PipelineParallelSize int32 `json:"pipelineParallelSize,omitempty"`
	// distributedExecutor is how the processes of several nodes find each other: Native by vLLM's own launcher, for which
	// vLLM has to know --nnodes; Ray by a Ray cluster on the nodes of the service, for which the image has to hold ray. On
	// one node it means nothing.
	// +optional
	// +kubebuilder:validation:Enum=Native;Ray
	// +kubebuilder:default=Native
	DistributedExecutor string `json:"distributedExecutor,omitempty"`
	// maxModelLen is the largest sum of input and output tokens of a request; without it the model's own.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000000
	MaxModelLen int32 `json:"maxModelLen,omitempty"`
	// maxNumSeqs is the number of requests that are served at once; without it vLLM's own.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxNumSeqs int32 `json:"maxNumSeqs,omitempty"`
	// gpuMemoryUtilization is the share of a GPU's memory that vLLM takes, above 0 and at most 1; without it vLLM's own.
	// +optional
	GPUMemoryUtilization Decimal `json:"gpuMemoryUtilization,omitempty"`
	// dtype is the type of the weights; without it the model's own.
	// +optional
	// +kubebuilder:validation:Enum=auto;half;float16;bfloat16;float;float32
	DType string `json:"dtype,omitempty"`
	// cacheFolder is an absolute path on the node where models and compiled kernels are kept from run to run; without it
	// they are kept in the run's own folder. Models of Hugging Face are read from its folder hf.
	// +optional
	// +kubebuilder:validation:Pattern=`^/[A-Za-z0-9._/-]*$`
	// +kubebuilder:validation:MaxLength=512
	CacheFolder string `json:"cacheFolder,omitempty"`
	// download says whether vLLM may ask Hugging Face: Never reads only what is there, as compute nodes without Internet
	// must; Allow downloads what is missing. Without it, Allow for a model of Hugging Face where no cacheFolder could have
	// it, else Never.
	// +optional
	// +kubebuilder:validation:Enum=Never;Allow
	Download string `json:"download,omitempty"`
	// env is added to the environment of the program. Put no secret here.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Env []EnvVar `json:"env,omitempty"`
	// extraArgs come after the engine's own arguments of vllm serve.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=1024
	ExtraArgs []string `json:"extraArgs,omitempty"`
}

// How the processes of vLLM on several nodes find each other.
const (
	ExecutorNative = "Native"
	ExecutorRay    = "Ray"
)

// Whether vLLM may ask Hugging Face.
const (
	DownloadNever = "Never"
	DownloadAllow = "Allow"
)
