package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Benchmark is an experiment: services, loads, objectives and repeats.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=bm,categories=bench
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 40",message="the name of a Benchmark has at most 40 characters"
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.contains('.')",message="the name of a Benchmark begins those of its Services and LoadClients, which have no dots; use dashes"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.status) || !has(oldSelf.status.run) || has(oldSelf.status.run.endTime) || (has(self.spec.services) == has(oldSelf.spec.services) && (!has(self.spec.services) || self.spec.services == oldSelf.spec.services) && self.spec.clients == oldSelf.spec.clients && has(self.spec.site) == has(oldSelf.spec.site) && (!has(self.spec.site) || self.spec.site == oldSelf.spec.site) && self.spec.placement == oldSelf.spec.placement && self.spec.repeats == oldSelf.spec.repeats && self.spec.retries == oldSelf.spec.retries && has(self.spec.slos) == has(oldSelf.spec.slos) && (!has(self.spec.slos) || self.spec.slos == oldSelf.spec.slos) && self.spec.run == oldSelf.spec.run && self.spec.idleTimeout == oldSelf.spec.idleTimeout && has(self.spec.timeout) == has(oldSelf.spec.timeout) && (!has(self.spec.timeout) || self.spec.timeout == oldSelf.spec.timeout) && has(self.spec.barrierLead) == has(oldSelf.spec.barrierLead) && (!has(self.spec.barrierLead) || self.spec.barrierLead == oldSelf.spec.barrierLead) && self.spec.seed == oldSelf.spec.seed)",message="a run is under way: only suspend and cleanup may change until it has ended; delete the Benchmark to end it early",fieldPath=".spec"
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Step",type=string,JSONPath=`.status.step`
// +kubebuilder:printcolumn:name="Progress",type=string,JSONPath=`.status.progress`
// +kubebuilder:printcolumn:name="Primary",type=string,JSONPath=`.status.primary`
// +kubebuilder:printcolumn:name="SLO",type=string,JSONPath=`.status.slo`
// +kubebuilder:printcolumn:name="Site",type=string,priority=1,JSONPath=`.spec.site`
// +kubebuilder:printcolumn:name="Run",type=string,priority=1,JSONPath=`.status.run.name`
// +kubebuilder:printcolumn:name="Result",type=string,priority=1,JSONPath=`.status.run.directory`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Benchmark struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the experiment. While a run is under way only suspend and cleanup may change.
	// +required
	Spec BenchmarkSpec `json:"spec"`
	// status is how it goes.
	// +optional
	Status BenchmarkStatus `json:"status,omitempty"`
}

// BenchmarkSpec is an experiment.
//
// +kubebuilder:validation:XValidation:rule="self.clients.all(c, !has(c.target.service) || (has(self.services) && self.services.exists(s, s.name == c.target.service)))",message="a client targets a service that is not in services",fieldPath=".clients"
// +kubebuilder:validation:XValidation:rule="!has(self.slos) || self.slos.all(o, self.clients.exists(c, c.name == o.client))",message="an SLO names a client that is not in clients",fieldPath=".slos"
// +kubebuilder:validation:XValidation:rule="!has(self.services) || self.services.all(s, !self.clients.exists(c, c.name == s.name))",message="a service and a client have the same name",fieldPath=".clients"
type BenchmarkSpec struct {
	// site names the Site in this namespace that the benchmark runs on. assay run and assay up make one that is called
	// local: processes on this machine.
	// +optional
	// +kubebuilder:default=local
	Site Name `json:"site,omitempty"`
	// placement puts all components into one job (SharedJob) or each into its own (SeparateJobs).
	// +optional
	// +kubebuilder:validation:Enum=SharedJob;SeparateJobs
	// +kubebuilder:default=SharedJob
	Placement Placement `json:"placement,omitempty"`
	// services are the servers under test.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Services []BenchmarkService `json:"services,omitempty"`
	// clients are the loads. All of them start together, once every service is ready.
	// +required
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Clients []BenchmarkClient `json:"clients"`
	// slos are the objectives that the run is judged by.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	SLOs []SLO `json:"slos,omitempty"`
	// repeats are how often the measurement is made, and what is new each time.
	// +optional
	// +kubebuilder:default={count: 1, restart: "Process"}
	Repeats Repeats `json:"repeats,omitempty"`
	// retries are how often a job is tried again that ended through no fault of the benchmark.
	// +optional
	// +kubebuilder:default={site: 2}
	Retries JobRetries `json:"retries,omitempty"`
	// timeout ends the whole run, from its start; without it the jobs' own time limits hold.
	// +optional
	Timeout Duration `json:"timeout,omitempty"`
	// idleTimeout ends a service when no client ran and no controller was alive for this long.
	// +optional
	// +kubebuilder:default="15m"
	IdleTimeout Duration `json:"idleTimeout,omitempty"`
	// barrierLead is the least time between the moment when all clients are ready and their common start. Without it that
	// is 0 for one process, 500ms on one host, else 2s; a network file system that shows files later needs more.
	// +optional
	BarrierLead Duration `json:"barrierLead,omitempty"`
	// cleanup is what remains after a run. Results are only ever removed by assay prune.
	// +optional
	// +kubebuilder:default={services: "Stop", objects: "Delete"}
	Cleanup Cleanup `json:"cleanup,omitempty"`
	// run raised by one starts the next run of an unchanged benchmark.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:default=0
	Run int32 `json:"run"`
	// seed makes arrivals, prompts and the simulator repeatable; 0 takes a random one, which the result reports.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:default=0
	Seed int64 `json:"seed"`
	// suspend keeps a run from starting; a run under way goes on to its end.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// Placement is how components are put into jobs.
type Placement string

// Placements.
const (
	// SharedJob is one allocation for all services and clients of a benchmark.
	SharedJob Placement = "SharedJob"
	// SeparateJobs is an allocation for each component.
	SeparateJobs Placement = "SeparateJobs"
)

// BenchmarkService is a service of a benchmark.
type BenchmarkService struct {
	// name of the service within the benchmark.
	// +required
	// +kubebuilder:validation:XValidation:rule="!(self in ['secrets', 'claim'])",message="the run has files of the names secrets and claim; take another name"
	Name Name `json:"name"`

	ServiceParameters `json:",inline"`
}

// BenchmarkClient is a client of a benchmark.
type BenchmarkClient struct {
	// name of the client within the benchmark.
	// +required
	// +kubebuilder:validation:XValidation:rule="!(self in ['secrets', 'claim'])",message="the run has files of the names secrets and claim; take another name"
	Name Name `json:"name"`

	ClientParameters `json:",inline"`
}

// SLO is an objective: a bound on one number of one client.
//
// +kubebuilder:validation:XValidation:rule="has(self.atMost) != has(self.atLeast)",message="name exactly one of atMost, atLeast"
// +kubebuilder:validation:XValidation:rule="!(self.metric in ['ttft', 'e2e', 'tpot', 'itl_token', 'itl_chunk', 'put', 'get', 'get_ttfb', 'head', 'delete']) || self.statistic in ['p50', 'p90', 'p95', 'p99', 'p99.9', 'mean', 'max']",message="a latency has the statistics p50, p90, p95, p99, p99.9, mean and max",fieldPath=".statistic"
// +kubebuilder:validation:XValidation:rule="self.metric in ['ttft', 'e2e', 'tpot', 'itl_token', 'itl_chunk', 'put', 'get', 'get_ttfb', 'head', 'delete'] || self.statistic == 'value'",message="a throughput or a ratio has the statistic value",fieldPath=".statistic"
// +kubebuilder:validation:XValidation:rule="!(self.metric in ['ttft', 'e2e', 'tpot', 'itl_token', 'itl_chunk', 'put', 'get', 'get_ttfb', 'head', 'delete']) || [has(self.atMost) ? self.atMost : '1s', has(self.atLeast) ? self.atLeast : '1s'].all(b, b.matches('[a-z]$'))",message="the bound of a latency is a length of time, such as 500ms"
// +kubebuilder:validation:XValidation:rule="self.metric in ['ttft', 'e2e', 'tpot', 'itl_token', 'itl_chunk', 'put', 'get', 'get_ttfb', 'head', 'delete'] || [has(self.atMost) ? self.atMost : '1', has(self.atLeast) ? self.atLeast : '1'].all(b, b.matches('[0-9]$'))",message="the bound of a throughput or a ratio is a number, such as 0.99"
// +kubebuilder:validation:XValidation:rule="self.metric != 'success_ratio' || [has(self.atMost) ? self.atMost : '0.5', has(self.atLeast) ? self.atLeast : '0.5'].all(b, b.matches('[a-z]$') || b.matches('^0+[.]0*[1-9]'))",message="the bound of success_ratio is above 0 and below 1, such as 0.999; that no request ever fails, no number of requests shows"
type SLO struct {
	// client names the client.
	// +required
	Client Name `json:"client"`
	// metric of the client.
	// +required
	// +kubebuilder:validation:Enum=ttft;e2e;tpot;itl_token;itl_chunk;put;get;get_ttfb;head;delete;request_throughput;output_token_throughput;read_throughput;write_throughput;success_ratio
	Metric string `json:"metric"`
	// statistic of the metric.
	// +optional
	// +kubebuilder:validation:Enum=p50;p90;p95;p99;p99.9;mean;max;value
	// +kubebuilder:default=value
	Statistic string `json:"statistic,omitempty"`
	// atMost is the upper bound: a duration for a latency, else a number.
	// +optional
	AtMost Bound `json:"atMost,omitempty"`
	// atLeast is the lower bound: a duration for a latency, else a number; bytes per second for a throughput of bytes.
	// +optional
	AtLeast Bound `json:"atLeast,omitempty"`
}

// Bound is a duration such as 500ms, or a number such as 0.99.
//
// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(us|ms|s|m|h))+$|^[0-9]+(\.[0-9]+)?$`
// +kubebuilder:validation:MaxLength=32
type Bound string

// Repeats are how often the measurement is made, and what is new each time.
type Repeats struct {
	// count of the repeats. Medians over repeats get an interval from 6.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=1
	Count int32 `json:"count,omitempty"`
	// restart is what is new in each repeat: the server's process in the same allocation, a whole job, or nothing.
	// +optional
	// +kubebuilder:validation:Enum=Process;Job;None
	// +kubebuilder:default=Process
	Restart Restart `json:"restart,omitempty"`
}

// Restart is what is new in each repeat.
type Restart string

// Restarts.
const (
	// RestartProcess restarts the server's process in the same allocation.
	RestartProcess Restart = "Process"
	// RestartJob makes a job for each repeat.
	RestartJob Restart = "Job"
	// RestartNone keeps the server.
	RestartNone Restart = "None"
)

// Cleanup is what remains after a run.
type Cleanup struct {
	// services: Stop ends them with the last repeat; Keep leaves them until idleTimeout.
	// +optional
	// +kubebuilder:validation:Enum=Stop;Keep
	// +kubebuilder:default=Stop
	Services string `json:"services,omitempty"`
	// objects: Delete removes what the benchmark stored in the service; Keep leaves it.
	// +optional
	// +kubebuilder:validation:Enum=Delete;Keep
	// +kubebuilder:default=Delete
	Objects string `json:"objects,omitempty"`
}

// BenchmarkStatus is how a benchmark goes.
type BenchmarkStatus struct {
	// observedGeneration is the generation of the spec that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are Ready, ImagesReady, ServicesReady, LoadComplete, Monitored, SLOMet, Complete and Succeeded, and while true
	// Reconciling and Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// run is the run under way, or the last one.
	// +optional
	Run *RunStatus `json:"run,omitempty"`
	// runs are the last ten that ended, the newest last.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Runs []EndedRun `json:"runs,omitempty"`
	// results are the headline numbers of the last run; all of them are in its result.json.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Results []ResultValue `json:"results,omitempty"`
	// phase is a word for people: Suspended, Queued, Starting, Running, Finishing, Complete, Invalid, Failed.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Phase string `json:"phase,omitempty"`
	// step is what happens right now, in plain words.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Step string `json:"step,omitempty"`
	// progress is how much is done, such as "2/6 ~1m".
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Progress string `json:"progress,omitempty"`
	// primary is the first SLO's number with its interval, or the throughput.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Primary string `json:"primary,omitempty"`
	// slo is how many objectives hold, such as "4/5".
	// +optional
	// +kubebuilder:validation:MaxLength=16
	SLO string `json:"slo,omitempty"`
}

// RunStatus is stored before the first child of a run exists; every later step uses it.
type RunStatus struct {
	// name of the run: g and the generation at its start.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Name string `json:"name"`
	// specHash is the SHA-256 of the spec without suspend and cleanup.
	// +required
	// +kubebuilder:validation:MaxLength=64
	SpecHash string `json:"specHash"`
	// specRun is spec.run at the start.
	// +optional
	SpecRun int32 `json:"specRun"`
	// seed of the run.
	// +required
	Seed int64 `json:"seed"`
	// timeScale multiplies warm-up, duration and cool-down; empty means 1.
	// +optional
	TimeScale Decimal `json:"timeScale,omitempty"`
	// startTime is when the run was decided.
	// +required
	StartTime metav1.Time `json:"startTime"`
	// endTime is when the run was Complete.
	// +optional
	EndTime *metav1.Time `json:"endTime,omitempty"`
	// directory of the run on the site.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Directory string `json:"directory,omitempty"`
	// jobs are the SlurmJobs of the run that were seen; one that is gone again is never made a second time.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=2500
	// +kubebuilder:validation:items:MaxLength=253
	Jobs []string `json:"jobs,omitempty"`
	// resultHash is the SHA-256 of the run's result.json, once it is written.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ResultHash string `json:"resultHash,omitempty"`
}

// EndedRun is a run that ended.
type EndedRun struct {
	// name of the run.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Name string `json:"name"`
	// jobs are the SlurmJobs of the run.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=200
	// +kubebuilder:validation:items:MaxLength=253
	Jobs []string `json:"jobs,omitempty"`
	// directory of the run on the site.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Directory string `json:"directory,omitempty"`
	// outcome is Succeeded's reason.
	// +required
	// +kubebuilder:validation:MaxLength=32
	Outcome string `json:"outcome"`
	// endTime is when the run was Complete.
	// +optional
	EndTime *metav1.Time `json:"endTime,omitempty"`
}

// ResultValue is one number of a result.
type ResultValue struct {
	// client that measured it.
	// +required
	// +kubebuilder:validation:MaxLength=40
	Client string `json:"client"`
	// metric, such as ttft.
	// +required
	// +kubebuilder:validation:MaxLength=64
	Metric string `json:"metric"`
	// statistic, such as p99.
	// +required
	// +kubebuilder:validation:MaxLength=16
	Statistic string `json:"statistic"`
	// unit, such as s or 1/s.
	// +required
	// +kubebuilder:validation:MaxLength=16
	Unit string `json:"unit"`
	// value as a decimal number; empty when there is none, and note then says why.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Value string `json:"value,omitempty"`
	// requests that the number is taken over.
	// +required
	Requests int64 `json:"requests"`
	// runs that the number is taken over.
	// +required
	Runs int32 `json:"runs"`
	// low end of the 95 % interval.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Low string `json:"low,omitempty"`
	// high end of the 95 % interval.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	High string `json:"high,omitempty"`
	// interval is what the interval is taken over, Runs or Requests, or None.
	// +required
	// +kubebuilder:validation:Enum=Runs;Requests;None
	Interval string `json:"interval"`
	// note says why there is no interval, or that the value is only a bound.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Note string `json:"note,omitempty"`
}

// BenchmarkList is a list of Benchmarks.
//
// +kubebuilder:object:root=true
type BenchmarkList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Benchmark `json:"items"`
}
