package rest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/wire"
)

// versions of the API that we speak, the newest first. A server has three to five in a row.
func versions() []string {
	return []string{"v0.0.45", "v0.0.44", "v0.0.43", "v0.0.42", "v0.0.41", "v0.0.40", "v0.0.39"}
}

// pastQuery asks for past jobs. This is the one request in which the versions differ.
func pastQuery(version string, since time.Time, keys []slurmbridge.Key) url.Values {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = string(k)
	}
	query := url.Values{
		"job_name": {strings.Join(names, ",")},
		// The submit, and not the time in which a job ran: one that was held to its end never ran. This form of a time has
		// no zone; of any other the server takes its own.
		"submit_time": {"uts" + strconv.FormatInt(max(since.Unix(), 1e6), 10)},
		"skip_steps":  {"true"},
	}
	if version != "v0.0.39" { // it does so unasked, and refuses what it does not know
		query.Set("disable_truncate_usage_time", "true")
	}
	return query
}

// Facts are what a cluster is.
type Facts struct {
	// API is the version that was agreed on, such as v0.0.42.
	API string
	// Version of Slurm, such as 24.11.5, and Cluster, its name; empty where the server does not tell.
	Version, Cluster string
	// without says that the server is sure to have no accounting.
	without bool
}

// chosen is the version that was agreed on, once for all requests.
type chosen struct {
	// turn is held by the one request that agrees on a version.
	turn chan struct{}

	mu   sync.Mutex
	is   Facts
	last Facts
}

func (c *chosen) facts() Facts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

func (c *chosen) version() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.is.API
}

func (c *chosen) set(f Facts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.is, c.last = f, f
}

// forget has the next request agree on a version anew, unless another one was agreed on already.
func (c *chosen) forget(version string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.is.API == version {
		c.is = Facts{}
	}
}

// version is the one that was agreed on; the first request agrees on one.
func (c *Slurm) version(ctx context.Context) (string, error) {
	if v := c.chosen.version(); v != "" {
		return v, nil
	}
	select {
	case c.chosen.turn <- struct{}{}:
		defer func() { <-c.chosen.turn }()
	case <-ctx.Done():
		return "", unreachable(ctx, ctx.Err())
	}
	if v := c.chosen.version(); v != "" {
		return v, nil
	}
	for _, v := range versions() {
		server, err := c.ping(ctx, v)
		if f, ok := errors.AsType[*failure](err); ok && f.status == http.StatusNotFound {
			continue
		}
		if err != nil {
			return "", err
		}
		c.chosen.set(Facts{
			API: v, Version: server.Release, Cluster: server.Cluster,
			without: server.Accounting != "" && server.Accounting != "accounting_storage/slurmdbd",
		})
		return v, nil
	}
	return "", c.tooOld(ctx)
}

func (c *Slurm) ping(ctx context.Context, version string) (wire.Server, error) {
	var s wire.Server
	err := c.send(ctx, request{path: "/slurm/" + version + "/ping/", limit: mostAnswer}, func(body io.Reader) (err error) {
		s, err = wire.ParsePing(body)
		return err
	})
	return s, err
}

// tooOld says what the server has instead of our versions.
func (c *Slurm) tooOld(ctx context.Context) error {
	var offers []string
	err := c.send(ctx, request{path: "/openapi/v3", limit: 4 * mostAnswer}, func(body io.Reader) error {
		text, err := io.ReadAll(body)
		offers = wire.ParseVersions(text)
		return err
	})
	ours := versions()
	what := fmt.Sprintf("%s has none of %s to %s of Slurm's API", c.base, ours[len(ours)-1], ours[0])
	if err != nil || len(offers) == 0 {
		return fmt.Errorf("%w: slurmrestd: %s: look at the address", slurmbridge.ErrUnreachable, what)
	}
	return fmt.Errorf("%w: slurmrestd: %s, only %s: use another way to this site, or a newer Slurm (23.02 or later)",
		slurmbridge.ErrUnreachable, what, strings.Join(offers, ", "))
}
