package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Site is a batch system, how to reach it, and what every job there needs.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=site,categories=bench
// +kubebuilder:printcolumn:name="Door",type=string,JSONPath=`.status.door`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Jobs",type=integer,JSONPath=`.status.jobs`
// +kubebuilder:printcolumn:name="Work dir",type=string,priority=1,JSONPath=`.spec.workDir`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type Site struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is how to reach the site.
	// +required
	Spec SiteSpec `json:"spec"`
	// status is what the last look at the site saw.
	// +optional
	Status SiteStatus `json:"status,omitempty"`
}

// SiteSpec is how to reach a batch system, and what every job there needs.
type SiteSpec struct {
	// jobs is the door to the batch system.
	// +required
	Jobs JobsDoor `json:"jobs"`
	// workDir is the absolute path of the folder for run directories, on a file system that every node shares.
	// It belongs to one user, and nobody else may write to it.
	// +required
	// +kubebuilder:validation:Pattern=`^/[^\n\x00]*$`
	// +kubebuilder:validation:MaxLength=1024
	WorkDir string `json:"workDir"`
	// defaults are the resources of a component that does not say otherwise.
	// +optional
	Defaults SiteDefaults `json:"defaults,omitempty"`
	// modules are loaded in this order at the start of every job.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9][A-Za-z0-9._/+-]*$`
	// +kubebuilder:validation:items:MaxLength=128
	Modules []string `json:"modules,omitempty"`
	// pollInterval is the least time between two looks at the batch system; some centres ask for 120s.
	// +optional
	PollInterval Duration `json:"pollInterval,omitempty"`
}

// JobsDoor is exactly one way to a batch system.
//
// +kubebuilder:validation:XValidation:rule="[has(self.local), has(self.sim)].filter(x, x).size() == 1",message="name exactly one of local, sim"
type JobsDoor struct {
	// local runs jobs as processes on the host of the control plane.
	// +optional
	Local *LocalDoor `json:"local,omitempty"`
	// sim runs jobs on a simulated cluster inside the control plane; nothing is measured.
	// +optional
	Sim *SimDoor `json:"sim,omitempty"`
}

// LocalDoor runs jobs as processes on the host of the control plane.
type LocalDoor struct{}

// SimDoor is a simulated cluster with a seeded clock.
type SimDoor struct {
	// seed of everything that the simulated cluster draws.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Seed int64 `json:"seed,omitempty"`
	// nodes is the size of the simulated cluster.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +kubebuilder:default=16
	Nodes int32 `json:"nodes,omitempty"`
}

// SiteDefaults are the resources of a component that does not say otherwise.
type SiteDefaults struct {
	// service is for Services, and for the whole of a shared job.
	// +optional
	Service Resources `json:"service,omitempty"`
	// client is for LoadClients.
	// +optional
	Client Resources `json:"client,omitempty"`
}

// Resources are what a component asks of the batch system.
type Resources struct {
	// account is charged for the job.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._-]+$`
	// +kubebuilder:validation:MaxLength=64
	Account string `json:"account,omitempty"`
	// partition is the queue of the job.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._,-]+$`
	// +kubebuilder:validation:MaxLength=128
	Partition string `json:"partition,omitempty"`
	// qos is the quality of service of the job.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._-]+$`
	// +kubebuilder:validation:MaxLength=64
	QOS string `json:"qos,omitempty"`
	// timeLimit is the longest that the job may take.
	// +optional
	TimeLimit Duration `json:"timeLimit,omitempty"`
	// nodes is the number of nodes.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	Nodes int32 `json:"nodes,omitempty"`
	// gpusPerNode is the number of GPUs on each node.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	GPUsPerNode int32 `json:"gpusPerNode,omitempty"`
	// cpusPerTask is the number of CPUs of each instance.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	CPUsPerTask int32 `json:"cpusPerTask,omitempty"`
	// memory is for each node.
	// +optional
	Memory Quantity `json:"memory,omitempty"`
}

// SiteStatus is what the last look at the site saw.
type SiteStatus struct {
	// observedGeneration is the generation of the spec that the conditions speak of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// conditions are Ready, Reachable, CredentialsValid and Synced, and while true Reconciling and Stalled.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=12
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// door is the kind of door in use: local or sim.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Door string `json:"door,omitempty"`
	// jobs is the number of SlurmJobs that refer to this site and have not ended.
	// +optional
	Jobs int32 `json:"jobs,omitempty"`
}

// SiteList is a list of Sites.
//
// +kubebuilder:object:root=true
type SiteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Site `json:"items"`
}
