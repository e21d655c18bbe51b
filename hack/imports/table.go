package main

// edge says what the packages of one family may import of this module, besides their own family.
type edge struct {
	from string
	to   []string
}

// table is the direction of imports, the same that the design gives. A pattern is a path in which * stands for one
// element; the folders below a matched path belong to its family, unless a longer pattern matches them.
// Each folder that * matches is a family of its own: no engine imports another, no transport another.
var table = []edge{
	{"cmd/assay", []string{"internal/app"}},
	{"cmd/assay-node", []string{"internal/node"}},

	{"internal/app", []string{
		"controllers/*", "slurmbridge", "slurmbridge/*", "api", "config/crd",
		"internal/controlplane", "internal/plan", "internal/rundir", "internal/results", "internal/web",
	}},
	{"internal/controlplane", []string{"config/crd"}},

	{"controllers/reconcile", []string{"api"}},
	{"controllers/*", []string{"controllers/reconcile", "api", "slurmbridge", "slurmbridge/poll", "internal/plan", "internal/rundir", "internal/results"}},

	{"internal/plan", []string{"api", "slurmbridge", "internal/rundir", "internal/engines"}},
	{"internal/engines", []string{"api", "internal/rundir", "internal/engines/*"}}, // the list of engines
	{"internal/engines/openai", []string{"internal/rundir"}},                       // no engine: what several of them share
	{"internal/engines/*", []string{"api", "internal/rundir", "internal/engines/openai"}},

	{"internal/node", []string{
		"internal/rundir", "internal/load", "internal/workloads", "internal/workloads/*", "internal/llmsim",
		"internal/monitor", "internal/results", "internal/series", "slurmbridge/filewire",
	}},
	{"internal/workloads", []string{"internal/load", "internal/rundir", "internal/workloads/*"}}, // the list of workloads
	{"internal/workloads/s3/memory", nil},                                                        // a store for tests
	{"internal/workloads/s3/conformance", []string{"internal/load", "internal/load/http1", "internal/rundir", "internal/workloads/s3"}},
	{"internal/workloads/*", []string{"internal/load", "internal/rundir"}},
	{"internal/monitor", []string{"internal/rundir", "internal/series"}},

	{"internal/web", []string{"internal/rundir", "internal/results", "internal/series", "internal/series/query"}},
	{"internal/series/query", []string{"internal/series"}},

	{"slurmbridge/sim", []string{"slurmbridge", "internal/rundir"}},
	{"slurmbridge/wire", []string{"slurmbridge"}},
	{"slurmbridge/poll", []string{"slurmbridge"}},
	{"slurmbridge/limit", []string{"slurmbridge"}},
	{"slurmbridge/conformance", []string{"slurmbridge"}},
	{"slurmbridge/*", []string{"slurmbridge", "slurmbridge/wire", "slurmbridge/filewire"}},

	// Leaves: they import nothing of this module.
	{"api", nil},
	{"config/crd", nil},
	{"recipes", nil},
	{"slurmbridge", nil},
	{"slurmbridge/filewire", nil}, // the node serves it
	{"internal/rundir/conformance", []string{"internal/rundir", "slurmbridge"}}, // it submits the jobs that it tests
	{"internal/rundir", nil},
	{"internal/load", nil},
	{"internal/llmsim", nil},
	{"internal/results", nil},
	{"internal/series", nil},
	{"hack/*", nil},

	// Tests of the whole may use every part of it.
	{"test", []string{"api", "config/crd", "recipes", "controllers/*", "slurmbridge", "slurmbridge/*", "internal/*", "internal/engines/*", "internal/workloads/*"}},
}

// nodeSide lists the families that must not link Kubernetes, neither directly nor through others: they run on a
// compute node, or are the contract with it.
var nodeSide = []string{
	"cmd/assay-node", "slurmbridge", "slurmbridge/*", "internal/rundir", "internal/load", "internal/results",
	"internal/workloads", "internal/workloads/*", "internal/node", "internal/llmsim", "internal/monitor", "internal/series",
}

// kubernetes are the import paths that nodeSide is kept free of.
var kubernetes = []string{"k8s.io/", "sigs.k8s.io/controller-runtime/"}
