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
//
// +kubebuilder:validation:XValidation:rule="!has(self.jobs.rest) || has(self.files) && (has(self.files.local) || has(self.files.ssh))",message="jobs.rest carries no files, so name a door to them, files.ssh, or files.local where the control plane sees the nodes' file system"
type SiteSpec struct {
	// jobs is the door to the batch system.
	// +required
	Jobs JobsDoor `json:"jobs"`
	// files is the door to the file system that the nodes share; the same as that of the jobs where it is left out.
	// +optional
	Files FilesDoor `json:"files,omitempty"`
	// workDir is the absolute path of the folder for run directories, on a file system that every node shares.
	// It belongs to one user, and nobody else may write to it.
	// +required
	// +kubebuilder:validation:Pattern=`^/[^\n\x00]*$`
	// +kubebuilder:validation:MaxLength=1024
	WorkDir string `json:"workDir"`
	// defaults are the resources of a component that does not say otherwise.
	// +optional
	Defaults SiteDefaults `json:"defaults,omitempty"`
	// interface is the network interface on which the servers of a job listen, such as ib0. Where it is left out they listen
	// on the address that their node's own name has.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._:-]*$`
	// +kubebuilder:validation:MaxLength=32
	Interface string `json:"interface,omitempty"`
	// modules are loaded in this order at the start of every job.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9][A-Za-z0-9._/+-]*$`
	// +kubebuilder:validation:items:MaxLength=128
	Modules []string `json:"modules,omitempty"`
	// images says how images from a registry come into the site's store.
	// +optional
	Images SiteImages `json:"images,omitempty"`
	// pollInterval is the least time between two lists of all jobs, and between two probes; some centres ask for 120s. What
	// becomes of a submit, a release or a deletion is asked for by name, beside them.
	// +optional
	PollInterval Duration `json:"pollInterval,omitempty"`
	// limits bound what this Site's jobs take, and how often the batch system is asked.
	// +optional
	Limits SiteLimits `json:"limits,omitempty"`
}

// JobsDoor is exactly one way to a batch system.
//
// +kubebuilder:validation:XValidation:rule="[has(self.local), has(self.cli), has(self.ssh), has(self.rest), has(self.sim)].filter(x, x).size() == 1",message="name exactly one of local, cli, ssh, rest, sim"
type JobsDoor struct {
	// local runs jobs as processes on the host of the control plane.
	// +optional
	Local *LocalDoor `json:"local,omitempty"`
	// cli runs Slurm's own programs on the host of the control plane, which has to be a login node.
	// +optional
	CLI *CLIDoor `json:"cli,omitempty"`
	// ssh runs Slurm's own programs on a login node.
	// +optional
	SSH *SSHDoor `json:"ssh,omitempty"`
	// rest asks slurmrestd, over HTTP. It carries no files: it needs files.ssh or files.local beside it.
	// +optional
	REST *RESTDoor `json:"rest,omitempty"`
	// sim runs jobs on a simulated cluster inside the control plane; nothing is measured.
	// +optional
	Sim *SimDoor `json:"sim,omitempty"`
}

// LocalDoor runs jobs as processes on the host of the control plane.
type LocalDoor struct{}

// CLIDoor runs Slurm's own programs on the host of the control plane.
type CLIDoor struct{}

// SSHDoor reaches a login node by SSH. Its host keys are pinned; nothing turns that off.
//
// What is left out a standalone control plane takes from the user's own SSH: host may be an alias of ~/.ssh/config, the
// host keys are those of ~/.ssh/known_hosts, and the key is that of the alias or of the running agent.
type SSHDoor struct {
	SSHHost `json:",inline"`
	// privateKey is the key of the user.
	// +optional
	PrivateKey *KeySource `json:"privateKey,omitempty"`
	// jump is the host through which the login node is reached.
	// +optional
	Jump *SSHHost `json:"jump,omitempty"`
	// controlPath is the socket of an open connection of ssh, made by "ssh -M -S PATH": for sites that ask for a second
	// factor. Only a standalone control plane may use it.
	// +optional
	// +kubebuilder:validation:Pattern=`^[/~][^\n\x00]*$`
	// +kubebuilder:validation:MaxLength=256
	ControlPath string `json:"controlPath,omitempty"`
}

// SSHHost is a host that runs an SSH server.
type SSHHost struct {
	// host is its name or address.
	// +required
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9:]([A-Za-z0-9._:-]*[A-Za-z0-9])?$`
	// +kubebuilder:validation:MaxLength=255
	Host string `json:"host"`
	// port of the SSH server; 22 where nothing says otherwise.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	Port int32 `json:"port,omitempty"`
	// user on the host.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9._@-]*$`
	// +kubebuilder:validation:MaxLength=64
	User string `json:"user,omitempty"`
	// knownHosts pins the keys of the host, in lines as ssh-keyscan prints them and ~/.ssh/known_hosts has them.
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	KnownHosts string `json:"knownHosts,omitempty"`
}

// KeySource says where a private key or a token lies.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretKeyRef) != has(self.file)",message="name exactly one of secretKeyRef, file"
type KeySource struct {
	// secretKeyRef is a Secret in the namespace of the Site.
	// +optional
	SecretKeyRef *SecretKey `json:"secretKeyRef,omitempty"`
	// file is a path on the host of the control plane. Only a standalone control plane may use it.
	// +optional
	// +kubebuilder:validation:Pattern=`^[/~][^\n\x00]*$`
	// +kubebuilder:validation:MaxLength=1024
	File string `json:"file,omitempty"`
}

// SecretKey is one key of a Secret in the same namespace.
type SecretKey struct {
	// name of the Secret.
	// +required
	Name Name `json:"name"`
	// key in the Secret.
	// +required
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// FilesDoor is at most one way to the file system that the nodes share.
//
// +kubebuilder:validation:XValidation:rule="[has(self.local), has(self.ssh)].filter(x, x).size() <= 1",message="name at most one of local, ssh"
type FilesDoor struct {
	// local is a folder of the host of the control plane.
	// +optional
	Local *LocalDoor `json:"local,omitempty"`
	// ssh is a folder of a login node.
	// +optional
	SSH *SSHDoor `json:"ssh,omitempty"`
}

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
	// gres are generic resources of each node beside its GPUs, as Slurm's option --gres names them.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9_:.,-]*$`
	// +kubebuilder:validation:MaxLength=256
	Gres string `json:"gres,omitempty"`
	// constraint are features that the nodes have to have, as Slurm's option --constraint names them.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_.,&|*!:()\[\]-]+$`
	// +kubebuilder:validation:MaxLength=256
	Constraint string `json:"constraint,omitempty"`
	// reservation holds the nodes.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._,-]+$`
	// +kubebuilder:validation:MaxLength=128
	Reservation string `json:"reservation,omitempty"`
	// licenses are taken while the job runs, as Slurm's option --licenses names them.
	// +optional
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9_:.,@;-]*$`
	// +kubebuilder:validation:MaxLength=256
	Licenses string `json:"licenses,omitempty"`
	// dependency is what has to be before the job may start, as Slurm's option --dependency names it. The components of a
	// job that name one name the same.
	// +optional
	// +kubebuilder:validation:Pattern=`^(singleton|(after|afterany|afternotok|afterok|aftercorr|afterburstbuffer)(:[0-9_]+(\+[0-9]+)?)+)([,?](singleton|(after|afterany|afternotok|afterok|aftercorr|afterburstbuffer)(:[0-9_]+(\+[0-9]+)?)+))*$`
	// +kubebuilder:validation:MaxLength=256
	Dependency string `json:"dependency,omitempty"`
	// exclusive is Node for nodes that no other job shares.
	// +optional
	// +kubebuilder:validation:Enum=Node
	Exclusive string `json:"exclusive,omitempty"`
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
	// door is the kind of door in use: local, cli, ssh, rest or sim.
	// +optional
	// +kubebuilder:validation:MaxLength=16
	Door string `json:"door,omitempty"`
	// jobs is the number of SlurmJobs that refer to this site and have not ended.
	// +optional
	Jobs int32 `json:"jobs,omitempty"`
	// gpuSecondsUsed is what the jobs of deleted SlurmJobs have used of limits.gpuHours, in GPUs times seconds. What those
	// used that still exist stands in their own status.
	// +optional
	// +kubebuilder:validation:Minimum=0
	GPUSecondsUsed int64 `json:"gpuSecondsUsed,omitempty"`
	// charged are the UIDs of SlurmJobs that are about to go, and whose use is part of gpuSecondsUsed already.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=64
	Charged []string `json:"charged,omitempty"`
}

// SiteList is a list of Sites.
//
// +kubebuilder:object:root=true
type SiteList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Site `json:"items"`
}
