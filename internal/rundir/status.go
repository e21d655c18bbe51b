package rundir

import "time"

// Control is what a controller wants of an attempt. The node obeys it and never needs it.
type Control struct {
	Version int `json:"version"`
	// Sequence advances while a controller wants the job to live: it is the lease that IdleTimeout watches.
	Sequence int64 `json:"sequence"`
	// Want is WantRun, WantDrain or WantStop.
	Want string `json:"want"`
}

// Wants.
const (
	// WantRun goes on.
	WantRun = "Run"
	// WantDrain ends after the requests in flight, with the result so far, marked truncated.
	WantDrain = "Drain"
	// WantStop ends at once; what was measured is written, marked truncated.
	WantStop = "Stop"
)

// Phases of a rank.
const (
	PhaseWaiting   = "Waiting"   // a client waits for its service, or for the other ranks
	PhaseStarting  = "Starting"  // a service starts
	PhasePreparing = "Preparing" // a client stores what its load will read
	PhaseReady     = "Ready"     // a service serves; a client waits at the barrier
	PhaseWarmup    = "Warmup"    // a client's load before the measurement
	PhaseMeasuring = "Measuring" // a client's measurement
	PhaseCooldown  = "Cooldown"  // a client's load after the measurement
	PhaseDraining  = "Draining"  // a client waits for what is in flight
	PhaseCleaning  = "Cleaning"  // a client removes what it stored
	PhaseStopping  = "Stopping"  // a service stops its process
	PhaseEnded     = "Ended"     // done as planned
	PhaseFailed    = "Failed"    // ended otherwise; Reason and Message say how
)

// Status is what a rank says of itself, on change and every 10 s (every 2 s while it starts).
type Status struct {
	Version int `json:"version"`
	// Heartbeat advances with every write. It is stale by the reader's clock when it stops.
	Heartbeat int64  `json:"heartbeat"`
	Phase     string `json:"phase"`
	// Reason and Message say more, in a CamelCase word and a sentence.
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
	// Repeat is the repeat that a service serves, or that a client makes or waits for.
	Repeat int `json:"repeat"`
	// Ready says that a service passed its probes for Repeat, or that a client stands at the barrier of Repeat.
	Ready bool `json:"ready"`
	// Endpoint of a service that is ready.
	Endpoint *Endpoint `json:"endpoint,omitempty"`
	// T0 is when the ranks of the client start Repeat, by rank 0's wall clock, in Unix nanoseconds; 0 for not yet.
	T0 int64 `json:"t0,omitempty"`
	// Host and PID of the rank's own process; ServerPID is the server that it runs, 0 for none.
	Host      string `json:"host"`
	PID       int    `json:"pid"`
	ServerPID int    `json:"serverPID,omitempty"`
	// Meeting is how a rank of a server of several ranks finds the others; nil for any other.
	Meeting *Meeting `json:"meeting,omitempty"`
	// Time of the write, by the rank's clock: for people.
	Time time.Time `json:"time"`
	// Scrapes so far, of a service.
	Scrapes *Scrapes `json:"scrapes,omitempty"`
	// Live is what a client saw in the last seconds.
	Live *Live `json:"live,omitempty"`
	// GPUs says whether a service that asks for GPUs sees those that it was given; nil before the check.
	GPUs *GPUCheck `json:"gpus,omitempty"`
}

// Meeting is how the ranks of one server find each other before each start of it: every rank takes its ports and says
// which; the one that leads waits for all of them and lists them; then all start.
type Meeting struct {
	// Repeat and Try say which start it is for. Try counts from 1 in each repeat: a rank that finds one of its ports taken
	// after all goes on to the next, and the others follow.
	Repeat int `json:"repeat"`
	Try    int `json:"try"`
	// Self is where this rank listens.
	Self Member `json:"self"`
	// All is the leader's list of every rank, in their order; empty until all have come.
	All []Member `json:"all,omitempty"`
}

// Member is one rank of a server: its node, and where it listens there.
type Member struct {
	Node  string         `json:"node"`
	Host  string         `json:"host"`
	Ports map[string]int `json:"ports,omitempty"`
}

// Endpoint is where a service listens.
type Endpoint struct {
	Host string `json:"host"`
	// Ports by name; Port is the first.
	Port  int            `json:"port"`
	Ports map[string]int `json:"ports"`
	// Protocol and Model are those of the plan. Authenticated says whether the server checks a credential.
	Protocol      string `json:"protocol"`
	Model         string `json:"model,omitempty"`
	Authenticated bool   `json:"authenticated"`
}

// Scrapes are counts of scrapes.
type Scrapes struct {
	Due  int64 `json:"due"`
	Good int64 `json:"good"`
}

// Live is what a client saw lately: for people who watch, never for a result.
type Live struct {
	// Rate of completed requests in 1/s and P99 of their end-to-end latency in seconds, over the last seconds.
	Rate float64 `json:"rate"`
	P99  float64 `json:"p99"`
	// Requests and Errors so far in this repeat.
	Requests int64 `json:"requests"`
	Errors   int64 `json:"errors"`
	// Elapsed and Total are the time since T0 and the length of all phases, in seconds.
	Elapsed float64 `json:"elapsed"`
	Total   float64 `json:"total"`
}

// EndedByOthers says that a component which ends for this reason was ended by something else: by its job, or by another
// component. Its job ends too, and may be tried again.
func EndedByOthers(reason string) bool {
	return reason == ExitReasonStopped || reason == ExitReasonServiceLost || reason == ExitReasonPeerLost
}

// Exit reasons that every reader knows.
const (
	ExitReasonEnded            = "Ended"            // done as planned
	ExitReasonRequeued         = "Requeued"         // by job.sh
	ExitReasonWorkDirUnusable  = "WorkDirUnusable"  // by job.sh
	ExitReasonClaimed          = "Claimed"          // by job.sh
	ExitReasonReadinessTimeout = "ReadinessTimeout" // a service
	ExitReasonLogStalled       = "LogStalled"       // a service: its log stood still before it was ready
	ExitReasonServiceDied      = "ServiceDied"      // a service
	ExitReasonProgramMissing   = "ProgramMissing"   // a service
	ExitReasonImageMissing     = "ImageMissing"     // a service
	ExitReasonImageMismatch    = "ImageMismatch"    // a service: the file is not the one that the recipe names
	ExitReasonPullFailed       = "PullFailed"       // a job that pulls images, as the next three
	ExitReasonRegistrySilent   = "RegistrySilent"   // the registry did not answer
	ExitReasonImageUnknown     = "ImageUnknown"     // the registry has no such image
	ExitReasonPullUnauthorized = "PullUnauthorized" // the registry wants a login
	ExitReasonPortInUse        = "PortInUse"        // a service
	ExitReasonWrongGPU         = "WrongGPU"         // a service: it sees other GPUs than its step was given
	ExitReasonOutOfMemory      = "OutOfMemory"      // more memory was used than the job asked for
	ExitReasonModuleMissing    = "ModuleMissing"    // by job.sh
	ExitReasonIdle             = "Idle"             // a service
	ExitReasonClientLost       = "ClientLost"       // a service: a client's heartbeat stopped
	ExitReasonServiceLost      = "ServiceLost"      // a client: its service ended or its heartbeat stopped
	ExitReasonPeerLost         = "PeerLost"         // another rank ended, or its heartbeat stopped: of the clients, or of the same server
	ExitReasonSetUpFailed      = "SetUpFailed"      // a client: what its load reads could not be stored
	ExitReasonAborted          = "Aborted"          // a client: the abort threshold
	ExitReasonStopped          = "Stopped"          // control.json or a signal
	ExitReasonTimeLimit        = "TimeLimit"        // the job's time limit came
	ExitReasonDiskFull         = "DiskFull"         // the run directory could not be written
	ExitReasonUnknownPlan      = "UnknownPlan"      // the plan's version is not known
	ExitReasonError            = "Error"            // anything else; Message says what
)

// Exit is how a job, a rank or a rank's repeat ended.
type Exit struct {
	Version int    `json:"version"`
	Reason  string `json:"reason"`
	Code    int    `json:"code"`
	Message string `json:"message,omitempty"`
	// Truncated says that a measurement ended before its time.
	Truncated bool `json:"truncated,omitempty"`
	// Warnings are what went wrong while a rank of a service ended, beside how it ended: its server had to be killed, or a
	// folder of it is left behind.
	Warnings []string  `json:"warnings,omitempty"`
	Time     time.Time `json:"time"`
}
