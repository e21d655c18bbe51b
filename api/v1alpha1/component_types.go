package v1alpha1

// ComponentStatus is what the run directory says of a component, over all its ranks.
type ComponentStatus struct {
	// kind of the component.
	// +required
	// +kubebuilder:validation:MaxLength=16
	Kind string `json:"kind"`
	// name of the object.
	// +required
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// phase of the rank that is furthest behind.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Phase string `json:"phase,omitempty"`
	// ready says that every rank is ready.
	// +optional
	Ready bool `json:"ready,omitempty"`
	// ranks of the component.
	// +optional
	Ranks int32 `json:"ranks,omitempty"`
	// endpoint is host:port of the first port of rank 0.
	// +optional
	// +kubebuilder:validation:MaxLength=320
	Endpoint string `json:"endpoint,omitempty"`
	// endpoints are those of all replicas of a service, in their order, where there are several.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=320
	Endpoints []string `json:"endpoints,omitempty"`
	// repeat under way.
	// +optional
	Repeat int32 `json:"repeat,omitempty"`
	// repeatsDone are the repeats that every rank closed.
	// +optional
	RepeatsDone int32 `json:"repeatsDone,omitempty"`
	// heartbeat is the sum over the ranks of a counter that advances while they live.
	// +optional
	Heartbeat int64 `json:"heartbeat,omitempty"`
	// scrapes that were due and that were good.
	// +optional
	Scrapes *Scrapes `json:"scrapes,omitempty"`
	// live is what a client saw lately.
	// +optional
	Live *Live `json:"live,omitempty"`
	// exit is how the component ended: the worst of its ranks.
	// +optional
	Exit *ComponentExit `json:"exit,omitempty"`
	// gpus says whether a service's servers see the GPUs that their steps were given: Verified, Wrong, or Unverified with
	// the reason; empty where it asks for none.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	GPUs string `json:"gpus,omitempty"`
	// message is the last thing that the component had to say.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// Scrapes are counts of scrapes.
type Scrapes struct {
	// due is the number that should have been made.
	Due int64 `json:"due"`
	// good is the number that succeeded.
	Good int64 `json:"good"`
}

// ComponentExit is how a component ended.
type ComponentExit struct {
	// code is the exit code.
	Code int32 `json:"code"`
	// reason is a CamelCase word.
	// +kubebuilder:validation:MaxLength=64
	Reason string `json:"reason"`
	// message goes with the reason.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}
