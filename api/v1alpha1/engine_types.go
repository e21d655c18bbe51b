package v1alpha1

// CommandEngine runs any command line.
//
// $(PORT), $(PORT_<NAME>), $(HOST) and the variables of env are replaced as in a Kubernetes container;
// $$(X) stands for a literal $(X).
//
// +kubebuilder:validation:XValidation:rule="!has(self.probes) || self.probes.all(p, !has(p.port) || (has(self.ports) && self.ports.exists(q, q.name == p.port)))",message="a probe names a port that is not in ports",fieldPath=".probes"
// +kubebuilder:validation:XValidation:rule="!has(self.probes) || has(self.ports) || self.probes.all(p, has(p.exec) || has(p.port))",message="a probe that asks a port needs one in ports",fieldPath=".probes"
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
	// +kubebuilder:validation:Enum=HTTP;OpenAI;S3
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
	// after is the time from the first request to the stall; the request of a readiness probe counts.
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
