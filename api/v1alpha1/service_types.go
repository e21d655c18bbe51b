package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Service is one server under test. Ask kubectl for bsvc: the plain word means the core kind.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=bsvc,categories=bench
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
// +kubebuilder:validation:XValidation:rule="[has(self.command), has(self.llmsim)].filter(x, x).size() == 1",message="name exactly one engine of command, llmsim"
// +kubebuilder:validation:XValidation:rule="!has(self.llmsim) || !has(self.image)",message="llmsim is built in and takes no image",fieldPath=".image"
type ServiceParameters struct {
	// command runs any command line.
	// +optional
	Command *CommandEngine `json:"command,omitempty"`
	// llmsim runs the built-in simulator of an OpenAI-compatible server.
	// +optional
	LLMSim *LLMSimEngine `json:"llmsim,omitempty"`
	// image is the container that the command runs in; without it the command runs on the node itself.
	// +optional
	Image *Image `json:"image,omitempty"`
	// resources are what the service asks of the batch system.
	// +optional
	Resources Resources `json:"resources,omitempty"`
	// readiness is how long the service may take to get ready.
	// +optional
	Readiness Readiness `json:"readiness,omitempty"`
	// metrics are scraped while the service runs, beside those that the engine names.
	// +optional
	Metrics Metrics `json:"metrics,omitempty"`
	// stopTimeout is the time between asking the server to end and killing it.
	// +optional
	// +kubebuilder:default="10s"
	StopTimeout Duration `json:"stopTimeout,omitempty"`
}

// CommandEngine runs any command line.
//
// $(PORT), $(PORT_<NAME>), $(HOST) and the variables of env are replaced as in a Kubernetes container;
// $$(X) stands for a literal $(X).
//
// +kubebuilder:validation:XValidation:rule="!has(self.probes) || self.probes.all(p, !has(p.port) || (has(self.ports) && self.ports.exists(q, q.name == p.port)))",message="a probe names a port that is not in ports",fieldPath=".probes"
type CommandEngine struct {
	// argv is the program and its arguments; no shell is involved.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=128
	// +kubebuilder:validation:items:MaxLength=4096
	Argv []string `json:"argv"`
	// env is added to the environment of the program. Put no secret here: use credential.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Env []EnvVar `json:"env,omitempty"`
	// ports are taken by the node and handed to the program as $(PORT_<NAME>); the first is also $(PORT).
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Ports []Port `json:"ports,omitempty"`
	// probes must all pass, in this order, before a client starts.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Probes []Probe `json:"probes,omitempty"`
	// credential names the environment variables that hand the run's random credential to the program.
	// +optional
	Credential *CredentialEnv `json:"credential,omitempty"`
	// protocol is what the server speaks, so that a client knows how to talk to it.
	// +optional
	// +kubebuilder:validation:Enum=HTTP;OpenAI
	// +kubebuilder:default=HTTP
	Protocol string `json:"protocol,omitempty"`
	// model is the name of the served model, for protocol OpenAI.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Model string `json:"model,omitempty"`
}

// EnvVar is one environment variable.
type EnvVar struct {
	// name of the variable.
	// +required
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name"`
	// value of the variable.
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Value string `json:"value,omitempty"`
}

// Port is a TCP port of a server.
type Port struct {
	// name of the port, used in variables and probes.
	// +required
	Name Name `json:"name"`
	// number fixes the port; without it the node takes a free one.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Number int32 `json:"number,omitempty"`
}

// CredentialEnv names environment variables of the program. Each gets a part of the run's random credential.
type CredentialEnv struct {
	// tokenVariable gets a random token.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +kubebuilder:validation:MaxLength=128
	TokenVariable string `json:"tokenVariable,omitempty"`
	// usernameVariable gets a random user name.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +kubebuilder:validation:MaxLength=128
	UsernameVariable string `json:"usernameVariable,omitempty"`
	// passwordVariable gets a random password.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +kubebuilder:validation:MaxLength=128
	PasswordVariable string `json:"passwordVariable,omitempty"`
}

// Probe is one question to a server; it passes or it does not.
//
// +kubebuilder:validation:XValidation:rule="[has(self.http), has(self.tcp), has(self.exec), has(self.model), has(self.token)].filter(x, x).size() == 1",message="name exactly one of http, tcp, exec, model, token"
type Probe struct {
	// port names the port to ask; without it the first one.
	// +optional
	Port Name `json:"port,omitempty"`
	// http passes when a GET of the path answers with the status.
	// +optional
	HTTP *HTTPProbe `json:"http,omitempty"`
	// tcp passes when the port accepts a connection.
	// +optional
	TCP *TCPProbe `json:"tcp,omitempty"`
	// exec passes when the program ends with exit code 0.
	// +optional
	Exec *ExecProbe `json:"exec,omitempty"`
	// model passes when GET /v1/models lists the model.
	// +optional
	Model *ModelProbe `json:"model,omitempty"`
	// token passes when one completion generates one token.
	// +optional
	Token *ModelProbe `json:"token,omitempty"`
}

// HTTPProbe is a GET of a path.
type HTTPProbe struct {
	// path of the request.
	// +required
	// +kubebuilder:validation:Pattern=`^/[^ \n]*$`
	// +kubebuilder:validation:MaxLength=512
	Path string `json:"path"`
	// status that passes.
	// +optional
	// +kubebuilder:validation:Minimum=100
	// +kubebuilder:validation:Maximum=599
	// +kubebuilder:default=200
	Status int32 `json:"status,omitempty"`
}

// TCPProbe is a connection to the port.
type TCPProbe struct{}

// ExecProbe is a program whose exit code 0 passes.
type ExecProbe struct {
	// argv is the program and its arguments.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=1024
	Argv []string `json:"argv"`
}

// ModelProbe asks an OpenAI-compatible server about a model.
type ModelProbe struct {
	// name of the model.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name"`
}

// LLMSimEngine is the built-in simulator of an OpenAI-compatible server with vLLM's routes and metrics.
type LLMSimEngine struct {
	// model is the name that the simulator serves.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:default="assay/sim"
	Model string `json:"model,omitempty"`
	// ttft is the time to the first token of a request that does not wait.
	// +optional
	// +kubebuilder:default={mean: "30ms", deviation: "3ms"}
	TTFT Latency `json:"ttft,omitempty"`
	// itl is the time between two tokens.
	// +optional
	// +kubebuilder:default={mean: "4ms", deviation: "500us"}
	ITL Latency `json:"itl,omitempty"`
	// maxNumSeqs is the number of requests that are served at once; more wait in a queue.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	// +kubebuilder:default=256
	MaxNumSeqs int32 `json:"maxNumSeqs,omitempty"`
	// maxModelLen is the largest sum of input and output tokens of a request.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000000
	// +kubebuilder:default=32768
	MaxModelLen int32 `json:"maxModelLen,omitempty"`
	// slowdown multiplies ttft and itl when maxNumSeqs requests are served at once; in between it grows linearly.
	// +optional
	Slowdown Decimal `json:"slowdown,omitempty"`
	// startup is the time until /health answers 200.
	// +optional
	Startup Duration `json:"startup,omitempty"`
	// stall stops the whole server once.
	// +optional
	Stall *Stall `json:"stall,omitempty"`
	// faults makes a share of the requests fail.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Faults []Fault `json:"faults,omitempty"`
	// seed makes the latencies and faults repeatable; 0 takes the run's seed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Seed int64 `json:"seed,omitempty"`
}

// Latency is a normal distribution that is cut off at 30 % and 170 % of its mean.
type Latency struct {
	// mean of the distribution.
	// +required
	Mean PreciseDuration `json:"mean"`
	// deviation is the standard deviation, at most 30 % of the mean.
	// +optional
	Deviation PreciseDuration `json:"deviation,omitempty"`
}

// PreciseDuration is a length of time in Go's notation with the units us, ms and s, such as 500us or 4.5ms.
//
// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(us|ms|s))+$`
// +kubebuilder:validation:MaxLength=32
type PreciseDuration string

// Stall stops a server once: no token leaves it from after until after + length, counted from its first request.
type Stall struct {
	// after is the time from the first request to the stall.
	// +optional
	After Duration `json:"after,omitempty"`
	// length of the stall.
	// +required
	Length Duration `json:"length"`
}

// Fault makes a share of the requests fail in one way.
type Fault struct {
	// type is the way to fail: an HTTP status, a connection that is reset, a stream that ends early, an error inside
	// an answer of status 200, an empty answer, or a page of HTML.
	// +required
	// +kubebuilder:validation:Enum=RateLimit;ServerError;Reset;Truncate;StreamError;Empty;HTML
	Type string `json:"type"`
	// ratio of the requests that fail so, from 0 to 1.
	// +required
	Ratio Decimal `json:"ratio"`
}

// Image is a container image.
//
// +kubebuilder:validation:XValidation:rule="self.uri.startsWith('/') || self.uri.matches('^(docker|oci|library)://.+')",message="use an absolute path of a SIF, or docker://, oci:// or library://",fieldPath=".uri"
// +kubebuilder:validation:XValidation:rule="self.uri.startsWith('/') || has(self.digest)",message="an image from a registry needs its digest",fieldPath=".digest"
type Image struct {
	// uri is an absolute path of a SIF file, or an image of a registry.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	URI string `json:"uri"`
	// digest of the image: sha256 and 64 hexadecimal digits.
	// +optional
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +kubebuilder:validation:MaxLength=71
	Digest string `json:"digest,omitempty"`
}

// Readiness is how long a service may take to get ready.
type Readiness struct {
	// timeout from the start of the server to the last probe that passes.
	// +optional
	// +kubebuilder:default="5m"
	Timeout Duration `json:"timeout,omitempty"`
	// interval between two rounds of probes.
	// +optional
	// +kubebuilder:default="200ms"
	Interval Duration `json:"interval,omitempty"`
}

// Metrics are scraped while a service runs.
type Metrics struct {
	// interval between two scrapes of a target.
	// +optional
	// +kubebuilder:default="1s"
	Interval Duration `json:"interval,omitempty"`
	// targets beside those that the engine names.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Targets []MetricTarget `json:"targets,omitempty"`
}

// MetricTarget is an endpoint in Prometheus's text format.
type MetricTarget struct {
	// name of the target in the results.
	// +required
	Name Name `json:"name"`
	// port names a port of the service.
	// +optional
	PortName Name `json:"portName,omitempty"`
	// port is a fixed port on the service's node; it is used when portName is empty.
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
}

// ServiceStatus is how a service goes.
type ServiceStatus struct {
	// observedGeneration is the generation of the spec that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are Ready and Monitored, and while true Reconciling and Stalled.
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
