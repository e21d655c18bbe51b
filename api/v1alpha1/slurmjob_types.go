package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SlurmJob is one allocation: one job of the batch system, and the components that run in it. Benchmarks, and Services
// and LoadClients of their own, create SlurmJobs; people read them.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sj,categories=bench
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec",message="a SlurmJob never changes; its owner makes a new one",fieldPath=".spec"
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Job",type=string,JSONPath=`.status.jobID`
// +kubebuilder:printcolumn:name="Attempt",type=integer,JSONPath=`.status.attempt`
// +kubebuilder:printcolumn:name="Nodes",type=string,JSONPath=`.status.nodes`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Site",type=string,priority=1,JSONPath=`.spec.site`
// +kubebuilder:printcolumn:name="Directory",type=string,priority=1,JSONPath=`.status.directory`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type SlurmJob struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the allocation to make.
	// +required
	Spec SlurmJobSpec `json:"spec"`
	// status is what the batch system and the run directory say.
	// +optional
	Status SlurmJobStatus `json:"status,omitempty"`
}

// SlurmJobSpec is an allocation to make: for the components of a run, or to pull the images that they need.
//
// +kubebuilder:validation:XValidation:rule="has(self.components) != has(self.images)",message="name exactly one of components, images"
type SlurmJobSpec struct {
	// site names the Site in this namespace.
	// +required
	Site Name `json:"site"`
	// run is what the job is a part of.
	// +required
	Run JobRun `json:"run"`
	// components run in the job.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=24
	Components []ComponentReference `json:"components,omitempty"`
	// images are pulled into the site's store by the job. Where all of them are there already, there is no job.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Images []PulledImage `json:"images,omitempty"`
}

// JobRun is what a job is a part of, and what its node side needs to finish alone.
type JobRun struct {
	// owner is the first folder of the run's path: the Benchmark's name, or service.<name> or loadclient.<name>.
	// +required
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^((service|loadclient)\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Owner string `json:"owner"`
	// name of the run, a folder: g and the generation at its start.
	// +required
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^g[0-9]+(-[0-9]+)?$`
	Name string `json:"name"`
	// firstRepeat that this job makes.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:default=1
	FirstRepeat int32 `json:"firstRepeat,omitempty"`
	// repeats that this job makes.
	// +optional
	// +kubebuilder:default={count: 1, restart: "Process"}
	Repeats Repeats `json:"repeats,omitempty"`
	// retries are how often the job is tried again that ended through no fault of its own.
	// +optional
	// +kubebuilder:default={site: 2}
	Retries JobRetries `json:"retries,omitempty"`
	// peers are the components of the same run that run in other jobs.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=24
	Peers []PeerReference `json:"peers,omitempty"`
	// idleTimeout ends a service when no client ran and no controller was alive for this long.
	// +optional
	IdleTimeout Duration `json:"idleTimeout,omitempty"`
	// barrierLead is the least time between the moment when all clients are ready and their common start.
	// +optional
	BarrierLead Duration `json:"barrierLead,omitempty"`
	// keepServices leaves services running after the last repeat until idleTimeout.
	// +optional
	KeepServices bool `json:"keepServices,omitempty"`
	// deleteObjects removes what the clients stored in the services.
	// +optional
	DeleteObjects bool `json:"deleteObjects,omitempty"`
	// seed of the run.
	// +optional
	Seed int64 `json:"seed,omitempty"`
	// timeScale multiplies warm-up, duration and cool-down; empty means 1.
	// +optional
	TimeScale Decimal `json:"timeScale,omitempty"`
}

// ComponentReference names a Service or a LoadClient in the same namespace.
type ComponentReference struct {
	// kind of the component.
	// +required
	// +kubebuilder:validation:Enum=Service;LoadClient
	Kind string `json:"kind"`
	// name of the object.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`
}

// PeerReference names a component of the same run, or of a Service's own run, that runs in another job.
type PeerReference struct {
	ComponentReference `json:",inline"`
	// job names the SlurmJob that the component runs in.
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Job string `json:"job"`
	// owner and run of that job, when they are not this job's.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^((service|loadclient)\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Owner string `json:"owner,omitempty"`
	// run of that job, when it is not this job's.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^g[0-9]+(-[0-9]+)?$`
	Run string `json:"run,omitempty"`
}

// SlurmJobStatus is what the batch system and the run directory say.
type SlurmJobStatus struct {
	// observedGeneration is the generation of the spec that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are Ready, Synced, Submitted, Scheduled, Running, Complete and Succeeded, and while true Reconciling
	// and Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// attempts are the last ten, the newest last.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	Attempts []Attempt `json:"attempts,omitempty"`
	// components are what runs in the job, in the order of the spec.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=24
	Components []ComponentStatus `json:"components,omitempty"`
	// phase is a word for people: Intended, Submitted, Queued, Running, Ending, Ended, Failed.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Phase string `json:"phase,omitempty"`
	// waiting is why the job is in the queue, in the batch system's own words.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Waiting string `json:"waiting,omitempty"`
	// expectedStart is when the batch system expects the job to leave the queue; it moves with the queue.
	// +optional
	ExpectedStart *metav1.Time `json:"expectedStart,omitempty"`
	// jobID of the newest attempt.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	JobID string `json:"jobID,omitempty"`
	// attempt is the number of the newest attempt.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`
	// nodes of the newest attempt.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Nodes string `json:"nodes,omitempty"`
	// directory of the newest attempt.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	Directory string `json:"directory,omitempty"`
}

// AttemptState is where an attempt stands.
type AttemptState string

// Attempt states.
//
//	Intended ──submit──► Submitted ──release──► Queued ──► Running ──► Ended
//	    └───────────── Uncertain ───look-up────────┘                     ▲
//	                                             Lost ───────────────────┘
const (
	// AttemptIntended is stored before any submit.
	AttemptIntended AttemptState = "Intended"
	// AttemptUncertain: the answer to the submit was lost.
	AttemptUncertain AttemptState = "Uncertain"
	// AttemptSubmitted: the job was seen, still held by us.
	AttemptSubmitted AttemptState = "Submitted"
	// AttemptQueued: the job was released and waits.
	AttemptQueued AttemptState = "Queued"
	// AttemptRunning: the job runs.
	AttemptRunning AttemptState = "Running"
	// AttemptEnded: the job ended; reason says how.
	AttemptEnded AttemptState = "Ended"
)

// AttemptClass is whose doing the end of an attempt was. Only the site's is tried again.
type AttemptClass string

// Attempt classes.
const (
	// ClassSite: a node failed, the job could not be started, was preempted, requeued or lost.
	ClassSite AttemptClass = "Site"
	// ClassOwn: what ran in the job, what was asked for it, or a limit of it: the next attempt would end likewise.
	ClassOwn AttemptClass = "Own"
	// ClassPerson: somebody ended it.
	ClassPerson AttemptClass = "Person"
)

// Attempt is one job of the batch system. Its key is the job's name, for ever.
type Attempt struct {
	// number of the attempt, from 1.
	// +required
	Number int32 `json:"number"`
	// key is the name of the job.
	// +required
	// +kubebuilder:validation:MaxLength=128
	Key string `json:"key"`
	// state of the attempt.
	// +required
	// +kubebuilder:validation:Enum=Intended;Uncertain;Submitted;Queued;Running;Ended
	State AttemptState `json:"state"`
	// planHash is the SHA-256 of plan.json.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	PlanHash string `json:"planHash,omitempty"`
	// process is the control plane's process that stored the intent.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Process string `json:"process,omitempty"`
	// gpus is the number of GPUs of the job on all of its nodes.
	// +optional
	// +kubebuilder:validation:Minimum=0
	GPUs int32 `json:"gpus,omitempty"`
	// gpuSeconds is what the job may use of the Site's limits.gpuHours: its GPUs times its time limit in seconds.
	// +optional
	// +kubebuilder:validation:Minimum=0
	GPUSeconds int64 `json:"gpuSeconds,omitempty"`
	// intendTime is when the attempt was stored.
	// +optional
	IntendTime *metav1.Time `json:"intendTime,omitempty"`
	// notBefore is when the attempt is handed in at the earliest: it follows one that the site ended.
	// +optional
	NotBefore *metav1.Time `json:"notBefore,omitempty"`
	// exclude are the nodes that the attempt keeps away from: those that could not run the attempts before.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=253
	Exclude []string `json:"exclude,omitempty"`
	// submits is how often a submit was tried under the key; above 1 only after an uncertain answer and two look-ups.
	// +optional
	Submits int32 `json:"submits,omitempty"`
	// submitTry is when the last submit was decided.
	// +optional
	SubmitTry *metav1.Time `json:"submitTry,omitempty"`
	// lookups are the good answers since the last submit, or since the job was last seen, that did not know the job.
	// +optional
	Lookups int32 `json:"lookups,omitempty"`
	// missingSince is the first of these answers.
	// +optional
	MissingSince *metav1.Time `json:"missingSince,omitempty"`
	// jobID of the job.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	JobID string `json:"jobID,omitempty"`
	// cluster of the job.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Cluster string `json:"cluster,omitempty"`
	// submitTime is the batch system's; ids are reused, so cluster, id and this time together name a job.
	// +optional
	SubmitTime *metav1.Time `json:"submitTime,omitempty"`
	// released says that our hold was released once.
	// +optional
	Released bool `json:"released,omitempty"`
	// startTime of the job.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`
	// endTime of the job.
	// +optional
	EndTime *metav1.Time `json:"endTime,omitempty"`
	// nodes of the job.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Nodes string `json:"nodes,omitempty"`
	// exitCode of the job.
	// +optional
	ExitCode *int32 `json:"exitCode,omitempty"`
	// reason is how the job ended.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason,omitempty"`
	// class is whose doing the end was; empty for one as planned.
	// +optional
	// +kubebuilder:validation:Enum=Site;Own;Person
	Class AttemptClass `json:"class,omitempty"`
	// message goes with the reason.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
	// cancelTime is when a cancel was first decided.
	// +optional
	CancelTime *metav1.Time `json:"cancelTime,omitempty"`
}

// SlurmJobList is a list of SlurmJobs.
//
// +kubebuilder:object:root=true
type SlurmJobList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []SlurmJob `json:"items"`
}
