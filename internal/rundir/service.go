package rundir

// Service is one server to run.
type Service struct {
	Name string `json:"name"`
	// Engine is for the record.
	Engine string `json:"engine"`
	// Ranks is the number of programs that run, each on a node of its own where it has several. Group of them together are
	// one server, of which the first leads; 0 is 1: each rank is a server.
	Ranks int `json:"ranks"`
	Group int `json:"group,omitempty"`
	// Argv is the program and its arguments, Env its environment beside the inherited one. $(PORT), $(PORT_<NAME>),
	// $(HOST), $(ADDRESS) (host:port of the first port), $(DIR) (the rank's folder), $(ID) (a name that no other rank has)
	// and names of Env are replaced in both; $$(X) stands for a literal $(X). The first word "assay-node" stands for the
	// node's own program.
	//
	// $(RANK) counts the ranks of one server from 0, $(RANKS) is their number; $(LEADER) and $(LEADER_PORT_<NAME>) are the
	// $(HOST) and a port of the one that leads, and $(INTERFACE) is the interface of $(HOST), empty where none has it. A word
	// of Argv that begins with $(EACH) stands there once for each rank of the server, in their order: without $(EACH), and
	// with that rank's own $(RANK), $(HOST), $(ADDRESS), ports, $(DIR) and $(ID).
	Argv []string `json:"argv"`
	Env  []EnvVar `json:"env,omitempty"`
	// Worker is what the ranks run that do not lead; nil for the same as the one that does.
	Worker *Worker `json:"worker,omitempty"`
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
	// Probes must all pass, in order. They are for the rank that leads: the others are ready when it is.
	Probes       []Probe  `json:"probes,omitempty"`
	ReadyTimeout Duration `json:"readyTimeout"`
	ProbeEvery   Duration `json:"probeEvery"`
	// LogTimeout is how long the log of the rank that leads may stand still before it is ready; 0 means for any time.
	LogTimeout Duration `json:"logTimeout,omitempty"`
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

// Leads says that a rank is the one of its server that the clients talk to.
func (s *Service) Leads(rank int) bool { return rank%max(1, s.Group) == 0 }

// Worker is what the ranks of a server run that do not lead.
type Worker struct {
	// Argv is the program and its arguments, with the replacements of Service.Argv.
	Argv []string `json:"argv"`
	// Ports to take in place of the service's.
	Ports []Port `json:"ports,omitempty"`
	// After names a port of the leader that must accept connections before the program starts; "" for none.
	After string `json:"after,omitempty"`
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
	// Leader says that only the rank that leads has the target.
	Leader bool `json:"leader,omitempty"`
	// Settle is how old the numbers may be. The last scrape of a repeat is taken this long after its last request, and the
	// first one of a server this long after a probe that its counters may count.
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
