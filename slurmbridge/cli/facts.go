package cli

import (
	"context"
	"fmt"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/wire"
)

// Facts are what a cluster is.
type Facts struct {
	// Version of Slurm, such as 24.11.5.
	Version string
	// Cluster is its name.
	Cluster string
	// Accounting says that it keeps accounts of ended jobs.
	Accounting bool
	// MinJobAge is how long an ended job is listed at least, KillWait what a job has between TERM and KILL.
	MinJobAge, KillWait time.Duration
}

// Facts returns what the cluster was when it was opened.
func (c *Slurm) Facts() Facts { return c.facts }

func (c *Slurm) ask(ctx context.Context) (Facts, error) {
	out, err := c.query(ctx, "sbatch", "--version")
	if err != nil {
		return Facts{}, err
	}
	version, err := wire.ParseVersion(out)
	if err != nil {
		return Facts{}, fmt.Errorf("%w: %w", slurmbridge.ErrUnreachable, err)
	}
	if out, err = c.query(ctx, "scontrol", "show", "config"); err != nil {
		return Facts{}, err
	}
	config := wire.ParseConfig(out)
	return Facts{
		Version: version.String(), Cluster: config["ClusterName"],
		Accounting: config["AccountingStorageType"] == "accounting_storage/slurmdbd",
		MinJobAge:  wire.Seconds(config["MinJobAge"]), KillWait: wire.Seconds(config["KillWait"]),
	}, nil
}

// export is what a job gets of the environment of sbatch: nothing. A Slurm that cannot do that gives it all of the few
// variables that sbatch itself was given.
func (f Facts) export() string {
	if v, err := wire.ParseVersion([]byte("slurm " + f.Version)); err == nil && v.KnowsNil() {
		return "NIL"
	}
	return "ALL"
}
