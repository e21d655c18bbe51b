package rundir

import (
	"slices"
	"time"
)

// Plan is everything that the node side needs to make its part of a run and finish alone. It holds no secret.
type Plan struct {
	Version int `json:"version"`
	// Key, Origin, Namespace, Owner, Run, Job and Attempt say which attempt this is.
	Key       string `json:"key"`
	Origin    string `json:"origin"`
	Namespace string `json:"namespace"`
	Owner     string `json:"owner"`
	Run       string `json:"run"`
	Job       string `json:"job"`
	Attempt   int    `json:"attempt"`
	// RunDirectory and Directory are the absolute paths of the run and of the attempt.
	RunDirectory string `json:"runDirectory"`
	Directory    string `json:"directory"`
	// Launcher is how the batch step starts the components: LaunchProcess or LaunchSrun.
	Launcher string `json:"launcher"`
	// TimeLimit of the job; 0 for none.
	TimeLimit Duration `json:"timeLimit,omitempty"`
	// Seed of the run; each component derives its own from it and its name.
	Seed uint64 `json:"seed"`
	// TimeScale multiplied the phases of the clients; it is already applied, and kept for the record. Empty means 1.
	TimeScale string `json:"timeScale,omitempty"`
	// Repeats that this job makes.
	Repeats Repeats `json:"repeats"`
	// IdleTimeout ends a service when no client ran and control.json did not advance for this long.
	IdleTimeout Duration `json:"idleTimeout"`
	// KeepServices leaves services running after the last repeat, until IdleTimeout.
	KeepServices bool `json:"keepServices,omitempty"`
	// DeleteObjects asks each workload that stores objects to remove its own at the end of each repeat, and each service
	// to remove its Folders at its end.
	DeleteObjects bool `json:"deleteObjects,omitempty"`
	// Images are put into the site's store before anything starts. A job may have them and nothing else.
	Images []ImagePull `json:"images,omitempty"`
	// Services and Clients run in this job.
	Services []Service `json:"services,omitempty"`
	Clients  []Client  `json:"clients,omitempty"`
	// Run-wide lists, this job's components included: what a service waits for, and whom the barrier counts.
	AllServices []Component `json:"allServices,omitempty"`
	AllClients  []Component `json:"allClients,omitempty"`
}

// Launchers.
const (
	// LaunchProcess starts components as child processes in groups of their own.
	LaunchProcess = "process"
	// LaunchSrun starts components as steps of a Slurm job.
	LaunchSrun = "srun"
)

// Bounds of what a node executes.
const (
	// LeastScrapeEvery is the shortest interval between two scrapes.
	LeastScrapeEvery = 10 * time.Millisecond
	// MostRate is the most requests per second of an open loop, over all ranks.
	MostRate = 1e7
)

// Credentials are the names of the files in secrets/ that the plan's components may need.
func (p *Plan) Credentials() []string {
	var out []string
	for i := range p.Services {
		out = append(out, p.Services[i].Name)
	}
	for i := range p.Clients {
		if name := p.Clients[i].Target.Credential; name != "" && !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// Component says where a component's ranks write: the attempt of this job when Job is empty, else the current attempt
// of another job.
type Component struct {
	Name string `json:"name"`
	// Job is the folder of the other job, an absolute path: its attempt is reached through the link current.
	Job   string `json:"job,omitempty"`
	Ranks int    `json:"ranks"`
	// Group of the ranks of a service are one server, as in Service.Group.
	Group int `json:"group,omitempty"`
}

// Leads says that a rank of a service is the one of its server that the clients talk to.
func (c Component) Leads(rank int) bool { return rank%max(1, c.Group) == 0 }

// Repeats are the repeats that a job makes: First, First+1, ... First+Count-1.
type Repeats struct {
	First int `json:"first"`
	Count int `json:"count"`
	// Restart is RestartProcess, RestartJob or RestartNone.
	Restart string `json:"restart"`
}

// Restarts.
const (
	// RestartProcess starts the server's process anew for each repeat.
	RestartProcess = "Process"
	// RestartJob makes a job for each repeat.
	RestartJob = "Job"
	// RestartNone keeps the server.
	RestartNone = "None"
)

// Client is one load.
type Client struct {
	Name  string `json:"name"`
	Ranks int    `json:"ranks"`
	// Target names a service of AllServices, or is a URL.
	Target Target `json:"target"`
	// Exactly one workload.
	Inference *Inference `json:"inference,omitempty"`
	S3        *S3        `json:"s3,omitempty"`
	// Exactly one pace. Numbers are totals over all ranks.
	ClosedLoop *ClosedLoop `json:"closedLoop,omitempty"`
	OpenLoop   *OpenLoop   `json:"openLoop,omitempty"`
	// Warmup, Duration and Cooldown are scaled already.
	Warmup   Duration `json:"warmup,omitempty"`
	Duration Duration `json:"duration"`
	Cooldown Duration `json:"cooldown,omitempty"`
	// Timeouts of a request; 0 for none.
	TimeoutFirst Duration `json:"timeoutFirst,omitempty"`
	TimeoutIdle  Duration `json:"timeoutIdle,omitempty"`
	TimeoutTotal Duration `json:"timeoutTotal,omitempty"`
	// Retries after the first attempt, with a pause that starts at BackOff and doubles.
	Retries int      `json:"retries,omitempty"`
	BackOff Duration `json:"backOff,omitempty"`
	// Abort ends the run when this share of the requests of the window fails; nil for never.
	Abort *Abort `json:"abort,omitempty"`
	// Limits of the self-audit; zero fields take the defaults.
	Limits Limits `json:"limits,omitzero"`
	// Lead is the least time between the last rank's ready and T0.
	Lead Duration `json:"lead,omitempty"`
	// RecordRequests keeps one line for each attempt in samples/requests.jsonl: of inference with the instant of each token.
	RecordRequests bool `json:"recordRequests,omitempty"`
	// Seed of the client.
	Seed      uint64    `json:"seed"`
	Resources Resources `json:"resources,omitzero"`
}

// Target is what a load is sent to: a service of the plan, or any URL.
type Target struct {
	Service string `json:"service,omitempty"`
	URL     string `json:"url,omitempty"`
	// Credential names the file in secrets/ that holds the credential; "" for none.
	Credential string `json:"credential,omitempty"`
	// CA are the certificates, in PEM, of the authorities that vouch for an https URL; "" for the system's.
	CA string `json:"ca,omitempty"`
}

// Inference is the workload of an OpenAI-compatible server.
type Inference struct {
	// API is APICompletions or APIChatCompletions.
	API string `json:"api"`
	// Model to ask for; "" takes the one in the service's status.
	Model        string  `json:"model,omitempty"`
	InputTokens  Tokens  `json:"inputTokens"`
	OutputTokens Tokens  `json:"outputTokens"`
	Temperature  float64 `json:"temperature"`
}

// APIs of the inference workload.
const (
	APICompletions     = "Completions"
	APIChatCompletions = "ChatCompletions"
)

// Tokens is a number of tokens: uniform from Min to Max, both included.
type Tokens struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// ClosedLoop keeps Concurrency requests in flight over all ranks.
type ClosedLoop struct {
	Concurrency int      `json:"concurrency"`
	ThinkTime   Duration `json:"thinkTime,omitempty"`
}

// OpenLoop starts Rate requests per second over all ranks.
type OpenLoop struct {
	Rate float64 `json:"rate"`
	// Arrival is ArrivalConstant or ArrivalPoisson.
	Arrival     string `json:"arrival"`
	MaxInFlight int    `json:"maxInFlight"`
}

// Arrivals.
const (
	ArrivalConstant = "Constant"
	ArrivalPoisson  = "Poisson"
)

// Abort ends a run when ErrorRatio of the requests of the last Window failed.
type Abort struct {
	ErrorRatio float64  `json:"errorRatio"`
	Window     Duration `json:"window"`
}

// Limits tighten the self-audit of a client; zero fields take the defaults.
type Limits struct {
	SendLag       Duration `json:"sendLag,omitempty"`
	RunQueueRatio float64  `json:"runQueueRatio,omitempty"`
}

// Resources of a component's step.
type Resources struct {
	Nodes       int   `json:"nodes,omitempty"`
	CPUsPerTask int   `json:"cpusPerTask,omitempty"`
	GPUsPerNode int   `json:"gpusPerNode,omitempty"`
	MemoryMiB   int64 `json:"memoryMiB,omitempty"`
	// Gres are generic resources of each node beside its GPUs, in Slurm's notation.
	Gres string `json:"gres,omitempty"`
	// HetGroup is the component of a heterogeneous job that the step runs in; 0 in a plain job. FirstNode is the first of
	// its Nodes there, from 0.
	HetGroup  int `json:"hetGroup,omitempty"`
	FirstNode int `json:"firstNode,omitempty"`
}

// How long the node side may take to end after TERM.
const (
	// DefaultStopTimeout is what a StopTimeout of 0 means.
	DefaultStopTimeout = 30 * time.Second
	// serviceSlack is what a service's rank may take beside its server: the last scrape, its files and its folders.
	serviceSlack = 20 * time.Second
	// clientStop is what a client's rank may take to remove what it stored and to write what it measured.
	clientStop = 20 * time.Second
	// jobSlack is what the batch step may take after its last component: to end what that left behind, and its own files.
	jobSlack = 15 * time.Second
)

// Settle is how long a scrape of the service waits after what it has to count.
func (s *Service) Settle() time.Duration {
	var longest time.Duration
	for _, sc := range s.Scrapes {
		longest = max(longest, sc.Settle.D())
	}
	return longest
}

// StopWithin is how long a rank of the service may take to end after TERM.
func (s *Service) StopWithin() time.Duration {
	stop := s.StopTimeout.D()
	if stop <= 0 {
		stop = DefaultStopTimeout
	}
	return stop + serviceSlack
}

// StopWithin is how long a rank of the client may take to end after TERM.
func (*Client) StopWithin() time.Duration { return clientStop }

// StopWithin is how long the job may take to end after TERM: its components end side by side. A batch system that kills
// it earlier loses the last counters and exit.json.
func (p *Plan) StopWithin() time.Duration {
	var slowest time.Duration
	for i := range p.Services {
		slowest = max(slowest, p.Services[i].StopWithin())
	}
	for i := range p.Clients {
		slowest = max(slowest, p.Clients[i].StopWithin())
	}
	return slowest + jobSlack
}
