package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LoadClient is one load: what is sent, how fast, for how long, and to which service.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=lc,categories=bench
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 63",message="the name of a LoadClient has at most 63 characters"
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.contains('.') && !(self.metadata.name in ['secrets', 'claim'])",message="the name of a LoadClient is that of a folder in its run; use dashes for dots, and neither secrets nor claim, which the run needs itself"
// +kubebuilder:printcolumn:name="Target",type=string,JSONPath=`.status.target`
// +kubebuilder:printcolumn:name="Mode",type=string,JSONPath=`.status.mode`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Repeats",type=string,JSONPath=`.status.repeats`
// +kubebuilder:printcolumn:name="Rate",type=string,JSONPath=`.status.live.rate`
// +kubebuilder:printcolumn:name="P99",type=string,JSONPath=`.status.live.p99`
// +kubebuilder:printcolumn:name="Sound",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Sound")].status`
// +kubebuilder:printcolumn:name="Job",type=string,priority=1,JSONPath=`.status.job`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type LoadClient struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the load to make.
	// +required
	Spec LoadClientSpec `json:"spec"`
	// status is how it goes.
	// +optional
	Status LoadClientStatus `json:"status,omitempty"`
}

// LoadClientSpec is a load, and where it runs, if no Benchmark owns it.
type LoadClientSpec struct {
	ClientParameters `json:",inline"`
	// site names the Site in this namespace that the client runs on. A LoadClient that a Benchmark owns has none.
	// +optional
	Site Name `json:"site,omitempty"`
	// suspend stops the controller from starting anything; what runs goes on.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// ClientParameters describe a load: exactly one workload at exactly one pace.
//
// +kubebuilder:validation:XValidation:rule="[has(self.inference), has(self.s3)].filter(x, x).size() == 1",message="name exactly one workload of inference, s3"
// +kubebuilder:validation:XValidation:rule="[has(self.closedLoop), has(self.openLoop)].filter(x, x).size() == 1",message="name exactly one pace of closedLoop, openLoop"
// +kubebuilder:validation:XValidation:rule="!has(self.closedLoop) || !has(self.instances) || self.closedLoop.concurrency >= self.instances",message="concurrency is the total over all instances and cannot be below instances",fieldPath=".closedLoop.concurrency"
// +kubebuilder:validation:XValidation:rule="!has(self.openLoop) || !has(self.instances) || self.openLoop.maxInFlight >= self.instances",message="maxInFlight is the total over all instances and cannot be below instances",fieldPath=".openLoop.maxInFlight"
// +kubebuilder:validation:XValidation:rule="!has(self.target.url) || self.target.url.startsWith('http://') || self.target.url.startsWith('https://')",message="use http:// or https://",fieldPath=".target.url"
// +kubebuilder:validation:XValidation:rule="!has(self.target.url) || !self.target.url.matches('^[^/?#]*//[^/?#]*@')",message="a user or a password in a URL is read by all, so name a Secret in target.credentials instead",fieldPath=".target.url"
// +kubebuilder:validation:XValidation:rule="!has(self.target.url) || !self.target.url.matches('[?#]')",message="what follows a question mark or a hash would not be sent, so leave it out",fieldPath=".target.url"
// +kubebuilder:validation:XValidation:rule="!has(self.s3) || !has(self.target.url) || self.target.url.matches('^[^/]*//[^/]*/*$')",message="s3 wants the URL of the endpoint alone, such as http://host:9000, and the bucket in s3.bucket",fieldPath=".target.url"
type ClientParameters struct {
	// target is what the load is sent to.
	// +required
	Target Target `json:"target"`
	// inference sends requests to an OpenAI-compatible server.
	// +optional
	Inference *InferenceWorkload `json:"inference,omitempty"`
	// s3 writes and reads objects in an object store.
	// +optional
	S3 *S3Workload `json:"s3,omitempty"`
	// closedLoop keeps a number of requests in flight: a new one starts when one ends.
	// +optional
	ClosedLoop *ClosedLoop `json:"closedLoop,omitempty"`
	// openLoop starts requests by a schedule, whatever the server does.
	// +optional
	OpenLoop *OpenLoop `json:"openLoop,omitempty"`
	// instances is the number of processes that share the load; concurrency and rate are totals over all of them.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	// +kubebuilder:default=1
	Instances int32 `json:"instances,omitempty"`
	// warmup is the length of load before the measurement; other prompts and objects are used, and it hands over without a
	// pause.
	// +optional
	Warmup Duration `json:"warmup,omitempty"`
	// duration is the length of the measurement.
	// +required
	Duration Duration `json:"duration"`
	// cooldown is the length of load after the measurement.
	// +optional
	Cooldown Duration `json:"cooldown,omitempty"`
	// timeouts end a request that takes too long.
	// +optional
	Timeouts Timeouts `json:"timeouts,omitempty"`
	// retries are off by default; each attempt is counted and latency runs from the first scheduled instant.
	// +optional
	Retries *Retries `json:"retries,omitempty"`
	// abort ends a hopeless run early. Each instance judges its own requests, and one that is past the limit ends; the run has
	// failed then. Where a server is hopeless all instances end so; on one bad node the others load to their planned end.
	// +optional
	Abort *Abort `json:"abort,omitempty"`
	// limits tighten the self-audit of the client; they cannot loosen it.
	// +optional
	Limits *SoundLimits `json:"limits,omitempty"`
	// recordRequests keeps a line of JSON for each attempt in samples/requests.jsonl of each instance: what it was, when it
	// was due, sent and answered, and how it ended. Without it the histograms are all that is kept, which a load of many
	// requests may prefer: a line has about 250 bytes. It is on for inference where the target is an llmsim.
	// +optional
	RecordRequests bool `json:"recordRequests,omitempty"`
	// resources are what the client asks of the batch system.
	// +optional
	Resources Resources `json:"resources,omitempty"`
	// seed makes prompts and arrivals repeatable; 0 takes a random one, which the result reports.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Seed int64 `json:"seed,omitempty"`
}

// Target is what a load is sent to.
//
// +kubebuilder:validation:XValidation:rule="has(self.service) != has(self.url)",message="name exactly one of service, url"
// +kubebuilder:validation:XValidation:rule="!has(self.credentials) || has(self.url)",message="credentials go with url; a service has its own",fieldPath=".credentials"
// +kubebuilder:validation:XValidation:rule="!has(self.ca) || (has(self.url) && self.url.startsWith('https://'))",message="ca goes with a url that begins with https://",fieldPath=".ca"
type Target struct {
	// service names a service of the same benchmark, or, in a LoadClient of its own, a Service in this namespace.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Service string `json:"service,omitempty"`
	// url is any endpoint: for inference the server, with or without a path before its routes; for s3 the endpoint alone.
	// Credentials do not belong here, since everybody who reads the result reads it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	URL string `json:"url,omitempty"`
	// credentials names a Secret in this namespace: inference sends its key token as a bearer token, s3 signs with its keys
	// username (the access key) and password (the secret key).
	// +optional
	Credentials *SecretReference `json:"credentials,omitempty"`
	// ca holds the certificates, in PEM, of the authorities that vouch for the server of an https url; without it those that
	// the system of the compute node trusts.
	// +optional
	// +kubebuilder:validation:Pattern=`^\s*-----BEGIN CERTIFICATE-----`
	// +kubebuilder:validation:MaxLength=16384
	CA string `json:"ca,omitempty"`
}

// SecretReference names a Secret in the same namespace.
type SecretReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// InferenceWorkload sends requests to an OpenAI-compatible server and reads the answers as streams.
type InferenceWorkload struct {
	// api is the route: Completions takes prompts as token ids, so their length is exact; ChatCompletions takes text.
	// +optional
	// +kubebuilder:validation:Enum=Completions;ChatCompletions
	// +kubebuilder:default=Completions
	API string `json:"api,omitempty"`
	// model to ask for; without it the one that the target service serves.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Model string `json:"model,omitempty"`
	// inputTokens is the length of the prompts.
	// +required
	InputTokens Tokens `json:"inputTokens"`
	// outputTokens is the length of the answers; the server is told to ignore the end of the text.
	// +required
	OutputTokens Tokens `json:"outputTokens"`
	// temperature is sent with every request.
	// +optional
	// +kubebuilder:default="0"
	Temperature Decimal `json:"temperature,omitempty"`
}

// Tokens is a distribution of a number of tokens.
//
// +kubebuilder:validation:XValidation:rule="has(self.fixed) != has(self.uniform)",message="name exactly one of fixed, uniform"
type Tokens struct {
	// fixed is the same number for every request.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Fixed int32 `json:"fixed,omitempty"`
	// uniform draws from a range.
	// +optional
	Uniform *TokenRange `json:"uniform,omitempty"`
}

// TokenRange is a range of a number of tokens, both ends included.
//
// +kubebuilder:validation:XValidation:rule="self.min <= self.max",message="min is above max"
type TokenRange struct {
	// min is the least number.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Min int32 `json:"min"`
	// max is the greatest number.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Max int32 `json:"max"`
}

// ClosedLoop keeps a number of requests in flight.
type ClosedLoop struct {
	// concurrency is the number of requests in flight over all instances.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	Concurrency int32 `json:"concurrency"`
	// thinkTime is the pause between the end of a request and the next one of the same worker.
	// +optional
	ThinkTime Duration `json:"thinkTime,omitempty"`
}

// OpenLoop starts requests by a schedule.
type OpenLoop struct {
	// rate is the number of requests per second over all instances, at most 10000000.
	// +required
	// +kubebuilder:validation:XValidation:rule="self.matches('[1-9]')",message="rate must be above 0"
	Rate Decimal `json:"rate"`
	// arrival is the process of the arrivals.
	// +optional
	// +kubebuilder:validation:Enum=Constant;Poisson
	// +kubebuilder:default=Poisson
	Arrival string `json:"arrival,omitempty"`
	// maxInFlight is the most requests in flight over all instances; more wait in the client with their scheduled time.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	// +kubebuilder:default=1024
	MaxInFlight int32 `json:"maxInFlight,omitempty"`
}

// Timeouts end a request that takes too long.
type Timeouts struct {
	// firstToken is the longest wait for the first token, or for the first byte of an object; of a write, for its answer
	// once the server has taken all of the object.
	// +optional
	// +kubebuilder:default="30s"
	FirstToken Duration `json:"firstToken,omitempty"`
	// idle is the longest wait between two tokens, or two pieces of an object, read or written.
	// +optional
	// +kubebuilder:default="30s"
	Idle Duration `json:"idle,omitempty"`
	// total is the longest that a request may take; the run waits this long for what is in flight at its end.
	// +optional
	// +kubebuilder:default="60s"
	Total Duration `json:"total,omitempty"`
}

// Retries repeat a failed request.
type Retries struct {
	// max is the number of attempts after the first.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10
	Max int32 `json:"max"`
	// backOff is the pause before the first retry; it doubles each time.
	// +optional
	// +kubebuilder:default="100ms"
	BackOff Duration `json:"backOff,omitempty"`
}

// Abort ends a run when too many requests of one instance fail.
type Abort struct {
	// errorRatio of the window's requests of one instance, from 0 to 1, that ends the run.
	// +required
	ErrorRatio Decimal `json:"errorRatio"`
	// window is the length of time that the ratio is taken over, above 0.
	// +optional
	// +kubebuilder:default="10s"
	Window Duration `json:"window,omitempty"`
}

// SoundLimits tighten the self-audit of a client.
type SoundLimits struct {
	// sendLag is the bound on the 99th percentile of the send lag.
	// +optional
	SendLag PreciseDuration `json:"sendLag,omitempty"`
	// runQueueRatio is the bound on the time that runnable threads waited for a CPU, as a share of the window.
	// +optional
	RunQueueRatio Decimal `json:"runQueueRatio,omitempty"`
}

// LoadClientStatus is how a load goes.
type LoadClientStatus struct {
	// observedGeneration is the generation of the spec that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are Ready, Complete, Succeeded and Sound, and while true Reconciling and Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=12
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// phase is a word for people: Waiting, Preparing, Ready, Warmup, Measuring, Draining, Cleaning, Ended,
	// Failed.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Phase string `json:"phase,omitempty"`
	// target is the service or the URL.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Target string `json:"target,omitempty"`
	// mode is the pace in words, such as "closed 8" or "open 200/s".
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Mode string `json:"mode,omitempty"`
	// job is the SlurmJob that the client runs in.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Job string `json:"job,omitempty"`
	// repeat is the repeat under way, from 1.
	// +optional
	Repeat int32 `json:"repeat,omitempty"`
	// repeats is how many repeats are done, such as "2/6".
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Repeats string `json:"repeats,omitempty"`
	// live is what the client saw lately.
	// +optional
	Live *Live `json:"live,omitempty"`
	// results are the headline numbers of this client over its merged ranks and joined repeats.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Results []ResultValue `json:"results,omitempty"`
}

// Live is what a client saw lately, for people who watch.
type Live struct {
	// rate of completed requests, in words.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Rate string `json:"rate,omitempty"`
	// p99 of the end-to-end latency, in words.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	P99 string `json:"p99,omitempty"`
	// errors is the number of failed requests so far.
	// +optional
	Errors int64 `json:"errors,omitempty"`
	// requests is the number of requests so far.
	// +optional
	Requests int64 `json:"requests,omitempty"`
}

// LoadClientList is a list of LoadClients.
//
// +kubebuilder:object:root=true
type LoadClientList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []LoadClient `json:"items"`
}
