package rundir

import "time"

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

// Component says where a component's ranks write: the attempt of this job when Job is empty, else the current attempt
// of another job.
type Component struct {
	Name string `json:"name"`
	// Job is the folder of the other job, an absolute path: its attempt is reached through the link current.
	Job   string `json:"job,omitempty"`
	Ranks int    `json:"ranks"`
}

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

// Service is one server to run.
type Service struct {
	Name string `json:"name"`
	// Engine is for the record.
	Engine string `json:"engine"`
	// Ranks is the number of instances.
	Ranks int `json:"ranks"`
	// Argv is the program and its arguments, Env its environment beside the inherited one. $(PORT), $(PORT_<NAME>),
	// $(HOST), $(ADDRESS) (host:port of the first port), $(DIR) (the rank's folder), $(ID) (a name that no other rank has)
	// and names of Env are replaced in both; $$(X) stands for a literal $(X). The first word "assay-node" stands for the
	// node's own program.
	Argv []string `json:"argv"`
	Env  []EnvVar `json:"env,omitempty"`
	// Image to run in; nil for a bare process.
	Image *Image `json:"image,omitempty"`
	// Folders are made before the server's first start, with the replacements of Argv; one that is there already is
	// refused. With Plan.DeleteObjects they are removed, with what is in them, after the server's last end. An image sees
	// them.
	Folders []string `json:"folders,omitempty"`
	// Ports to take, the first also as $(PORT).
	Ports []Port `json:"ports,omitempty"`
	// Bind is the address or the interface that the server listens on, such as 127.0.0.1 or ib0; BindNode for the address
	// that the node's own name has.
	Bind string `json:"bind"`
	// Authenticated says that the server checks the run's credential; else status says that it cannot.
	Authenticated bool `json:"authenticated,omitempty"`
	// Credential names environment variables that get parts of the run's credential.
	Credential CredentialEnv `json:"credential,omitzero"`
	// Probes must all pass, in order.
	Probes       []Probe  `json:"probes,omitempty"`
	ReadyTimeout Duration `json:"readyTimeout"`
	ProbeEvery   Duration `json:"probeEvery"`
	// StopTimeout is the time between TERM and KILL for the server; 0 means DefaultStopTimeout.
	StopTimeout Duration `json:"stopTimeout"`
	// Scrapes are the metric targets.
	Scrapes     []Scrape `json:"scrapes,omitempty"`
	ScrapeEvery Duration `json:"scrapeEvery"`
	// CrossChecks compare a counter of the server with a total of the clients.
	CrossChecks []CrossCheck `json:"crossChecks,omitempty"`
	// Protocol is what the server speaks: ProtocolHTTP, ProtocolOpenAI or ProtocolS3. Model is what it serves.
	Protocol string `json:"protocol"`
	Model    string `json:"model,omitempty"`
	// Emissions is the file, relative to the rank's folder, in which the built-in simulator logs its emission times.
	Emissions string    `json:"emissions,omitempty"`
	Resources Resources `json:"resources,omitzero"`
}

// BindNode stands for the address of the node's own name.
const BindNode = "$(NODE)"

// Protocols.
const (
	ProtocolHTTP   = "HTTP"
	ProtocolOpenAI = "OpenAI"
	ProtocolS3     = "S3"
)

// EnvVar is one environment variable.
type EnvVar struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Image is a container image.
type Image struct {
	URI    string `json:"uri"`
	Digest string `json:"digest,omitempty"`
	// Binds are what the container sees of the node beside the folder of the rank.
	Binds []Bind `json:"binds,omitempty"`
	// GPUs says that the container needs the node's GPUs and their driver; so does a service whose Resources have GPUs.
	GPUs bool `json:"gpus,omitempty"`
}

// Bind is an absolute path of the node that a container sees under the same name.
type Bind struct {
	Path     string `json:"path"`
	Writable bool   `json:"writable,omitempty"`
}

// Port is a TCP port. Number 0 takes a free one.
type Port struct {
	Name   string `json:"name"`
	Number int    `json:"number,omitempty"`
}

// CredentialEnv names the environment variables of a server that get the parts of its credential; "" for none.
type CredentialEnv struct {
	Token    string `json:"token,omitempty"`
	Username string `json:"username,omitempty"`
	Password string `json:"password,omitempty"`
}

// Credential is what is in secrets/<service>: one random credential of a run, as JSON.
type Credential struct {
	Token    string `json:"token"`
	Username string `json:"username"`
	Password string `json:"password"`
}

// Probe types.
const (
	ProbeHTTP  = "http"
	ProbeTCP   = "tcp"
	ProbeExec  = "exec"
	ProbeModel = "model"
	ProbeToken = "token"
)

// Probe is one question to a server. Type says which fields count.
type Probe struct {
	Type string `json:"type"`
	// Port names a port of the service; "" is the first.
	Port string `json:"port,omitempty"`
	// Path and Status of a ProbeHTTP.
	Path   string `json:"path,omitempty"`
	Status int    `json:"status,omitempty"`
	// Argv of a ProbeExec, with the replacements of Service.Argv.
	Argv []string `json:"argv,omitempty"`
	// Model of a ProbeModel and a ProbeToken.
	Model string `json:"model,omitempty"`
}

// Scrape is a metric target in Prometheus's text format or OpenMetrics.
type Scrape struct {
	Name string `json:"name"`
	// PortName names a port of the service; Port is used when it is empty.
	PortName string `json:"portName,omitempty"`
	Port     int    `json:"port,omitempty"`
	Path     string `json:"path"`
	// Auth is how the scrape shows who it is: ScrapeAuthToken with the credential's token, where the server has one;
	// ScrapeAuthJWT with a JSON web token as MinIO takes it, signed with the credential's password; "" is ScrapeAuthToken.
	Auth string `json:"auth,omitempty"`
	// Settle is how old the numbers may be. The last scrape of a repeat is taken this long after its last request.
	Settle Duration `json:"settle,omitempty"`
}

// Ways to authenticate a scrape.
const (
	ScrapeAuthToken = "token"
	ScrapeAuthJWT   = "jwt"
)

// CrossCheck compares a counter of the server, from its first to its last scrape of a repeat, with the total of the
// clients over the same repeat, warm-up included.
type CrossCheck struct {
	// Target names the scrape, Metric the counter; its series that have these Labels are summed. No such series means 0,
	// if the target has any of the metric.
	Target string            `json:"target"`
	Metric string            `json:"metric"`
	Labels map[string]string `json:"labels,omitempty"`
	// Total names the clients' total: requests, or one of the workload's, such as output_tokens or PutObject.
	Total string `json:"total"`
	// Tolerance is the largest relative difference that is not a warning; 0 asks for equality.
	Tolerance float64 `json:"tolerance"`
}

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
	// RecordRequests keeps one line for each request, with the instant of each token, in samples/requests.jsonl.
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

// Settle is how long the last scrape of a repeat waits after its last request.
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
