package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Service is one server under test. Ask kubectl for bsvc: the plain word means the core kind.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=bsvc,categories=bench
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name of a Service has at most 63 characters"
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.contains('.') && !(self.metadata.name in ['secrets', 'claim'])",message="the name of a Service is that of a folder in its run; use dashes for dots, and neither secrets nor claim, which the run needs itself"
// +kubebuilder:printcolumn:name="Engine",type=string,JSONPath=`.status.engine`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Repeat",type=integer,JSONPath=`.status.repeat`
// +kubebuilder:printcolumn:name="Endpoint",type=string,JSONPath=`.status.endpoint`
// +kubebuilder:printcolumn:name="Job",type=string,priority=1,JSONPath=`.status.job`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Service struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the server to run.
	// +required
	Spec ServiceSpec `json:"spec"`
	// status is how it goes.
	// +optional
	Status ServiceStatus `json:"status,omitempty"`
}

// ServiceSpec is a server to run, and where, if no Benchmark owns it.
type ServiceSpec struct {
	ServiceParameters `json:",inline"`
	// site names the Site in this namespace that the service runs on. A Service that a Benchmark owns has none.
	// +optional
	Site Name `json:"site,omitempty"`
	// idleTimeout ends a service of its own when no client ran and no controller was alive for this long.
	// +optional
	// +kubebuilder:default="15m"
	IdleTimeout Duration `json:"idleTimeout,omitempty"`
	// suspend stops the controller from starting anything; what runs goes on.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// ServiceParameters describe a server: exactly one engine, its resources, and how to tell that it is well.
//
// +kubebuilder:validation:XValidation:rule="[has(self.command), has(self.llmsim), has(self.minio), has(self.vllm)].filter(x, x).size() == 1",message="name exactly one engine of command, llmsim, minio, vllm"
// +kubebuilder:validation:XValidation:rule="!has(self.replicas) || self.replicas == 1 || !has(self.minio)",message="MinIO is one store, so give it nodes instead of replicas",fieldPath=".replicas"
// +kubebuilder:validation:XValidation:rule="!has(self.llmsim) || !has(self.image)",message="llmsim is built in and takes no image",fieldPath=".image"
// +kubebuilder:validation:XValidation:rule="!has(self.metrics) || !has(self.metrics.targets) || self.metrics.targets.all(t, !has(t.portName) || (has(self.command) ? has(self.command.ports) && self.command.ports.exists(q, q.name == t.portName) : t.portName == 'http'))",message="a target names a port that the service does not have",fieldPath=".metrics.targets"
type ServiceParameters struct {
	// command runs any command line.
	// +optional
	Command *CommandEngine `json:"command,omitempty"`
	// llmsim runs the built-in simulator of an OpenAI-compatible server.
	// +optional
	LLMSim *LLMSimEngine `json:"llmsim,omitempty"`
	// minio runs the object store MinIO.
	// +optional
	MinIO *MinIOEngine `json:"minio,omitempty"`
	// vllm runs the inference server vLLM.
	// +optional
	VLLM *VLLMEngine `json:"vllm,omitempty"`
	// image is the container that the server runs in; without it the server runs on the node itself.
	// +optional
	Image *Image `json:"image,omitempty"`
	// resources are what the service asks of the batch system.
	// +optional
	Resources Resources `json:"resources,omitempty"`
	// readiness is how long the service may take to get ready, and who asks whether it is.
	// +optional
	Readiness Readiness `json:"readiness,omitempty"`
	// metrics are scraped while the service runs, beside those that the engine names.
	// +optional
	Metrics Metrics `json:"metrics,omitempty"`
	// replicas are how many servers of this kind run, each on resources.nodes of its own. The workers of each client are dealt
	// out over them, and the service is ready when all are. An object store has one: it is spread over nodes.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=64
	// +kubebuilder:default=1
	Replicas int32 `json:"replicas,omitempty"`
	// stopTimeout is the time between asking the server to end and killing it.
	// +optional
	// +kubebuilder:default="10s"
	StopTimeout Duration `json:"stopTimeout,omitempty"`
}

// Readiness is how long a service may take to get ready, and who asks whether it is.
type Readiness struct {
	// timeout from the start of the server to the last probe that passes.
	// +optional
	// +kubebuilder:default="5m"
	Timeout Duration `json:"timeout,omitempty"`
	// interval between two rounds of probes.
	// +optional
	// +kubebuilder:default="200ms"
	Interval Duration `json:"interval,omitempty"`
	// logTimeout is how long the log of a server that is not ready yet may stand still. Then the service fails with the last
	// line and reason LogStalled, and the GPUs of processes that wait for each other for ever are free long before the timeout.
	// A server that reads a large model may be silent for minutes; without logTimeout it may be so until the timeout.
	// +optional
	LogTimeout Duration `json:"logTimeout,omitempty"`
	// tunnel asks the service from outside its site as well, through the SSH connection of the Site: once it is ready in its
	// job, and then every 30 seconds. The answer is the condition Reachable of the Service. Nothing of a run waits for it: load
	// begins without a controller. What is asked is the path of the service's first HTTP probe at its first port, without
	// credentials, so that an answer that asks for them (401, 403) is as good; without such a probe the port is opened, and
	// nothing sent.
	// +optional
	Tunnel bool `json:"tunnel,omitempty"`
}

// Metrics are scraped while a service runs.
type Metrics struct {
	// interval between two scrapes of a target, at least 10ms.
	// +optional
	// +kubebuilder:default="1s"
	Interval Duration `json:"interval,omitempty"`
	// targets beside those that the engine names; llmsim, minio and vllm have one of their own that is called server.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Targets []MetricTarget `json:"targets,omitempty"`
	// crossChecks compare counters of the server with what the clients counted, over each repeat and beside those that the
	// engine names. A difference is a warning in the result.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	CrossChecks []CrossCheck `json:"crossChecks,omitempty"`
}

// CrossCheck compares a counter of the server with a total of all clients that load it.
type CrossCheck struct {
	// target names the target that the counter is read from.
	// +required
	Target Name `json:"target"`
	// metric is the name of the counter; its series are added up.
	// +required
	// +kubebuilder:validation:Pattern=`^[a-zA-Z_:][a-zA-Z0-9_:]*$`
	// +kubebuilder:validation:MaxLength=256
	Metric string `json:"metric"`
	// labels that a series must have to count.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Labels []MetricLabel `json:"labels,omitempty"`
	// total of the clients: requests; input_tokens and output_tokens of inference; bytes_read, bytes_written, PutObject,
	// GetObject, HeadObject, DeleteObject, ListObjectsV2 and CreateBucket of s3, set-up and clean-up included.
	// +required
	// +kubebuilder:validation:Enum=requests;input_tokens;output_tokens;bytes_read;bytes_written;PutObject;GetObject;HeadObject;DeleteObject;ListObjectsV2;CreateBucket
	Total string `json:"total"`
	// tolerance is the largest relative difference that is no warning; without it the two must be equal.
	// +optional
	Tolerance Decimal `json:"tolerance,omitempty"`
}

// MetricLabel is a label of a series.
type MetricLabel struct {
	// name of the label.
	// +required
	// +kubebuilder:validation:Pattern=`^[a-zA-Z_][a-zA-Z0-9_]*$`
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name"`
	// value of the label.
	// +required
	// +kubebuilder:validation:MaxLength=256
	Value string `json:"value"`
}

// MetricTarget is an endpoint in Prometheus's text format.
//
// +kubebuilder:validation:XValidation:rule="has(self.port) != has(self.portName)",message="name exactly one of port, portName"
type MetricTarget struct {
	// name of the target in the results.
	// +required
	Name Name `json:"name"`
	// portName names a port of the service.
	// +optional
	PortName Name `json:"portName,omitempty"`
	// port is a fixed port on the service's node.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
	// path of the metrics.
	// +optional
	// +kubebuilder:default="/metrics"
	// +kubebuilder:validation:Pattern=`^/[^ \n]*$`
	// +kubebuilder:validation:MaxLength=512
	Path string `json:"path,omitempty"`
	// settle is how old the numbers may be that the target gives; the last scrape of a repeat waits so long, and the first one
	// after a probe that asks for a token or runs a command.
	// +optional
	Settle Duration `json:"settle,omitempty"`
}

// ServiceStatus is how a service goes.
type ServiceStatus struct {
	// observedGeneration is the generation of the spec that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are Ready and Monitored, Reachable where readiness.tunnel asks for it, and while true Reconciling and Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=12
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// engine is the kind of engine.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Engine string `json:"engine,omitempty"`
	// phase is a word for people: Waiting, Starting, Ready, Draining, Ended, Failed.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Phase string `json:"phase,omitempty"`
	// job is the SlurmJob that the service runs in.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Job string `json:"job,omitempty"`
	// endpoint is host:port of the service's first port.
	// +optional
	// +kubebuilder:validation:MaxLength=320
	Endpoint string `json:"endpoint,omitempty"`
	// gpus says whether the servers see the GPUs that their steps were given: Verified, Wrong, or Unverified with the
	// reason; empty where the service asks for none.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	GPUs string `json:"gpus,omitempty"`
	// endpoints are those of all replicas, in their order, where there are several.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=320
	Endpoints []string `json:"endpoints,omitempty"`
	// repeat is the repeat that the service serves, from 1.
	// +optional
	Repeat int32 `json:"repeat,omitempty"`
}

// ServiceList is a list of Services.
//
// +kubebuilder:object:root=true
type ServiceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Service `json:"items"`
}
