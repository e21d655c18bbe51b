// Package minio is the engine of the object store MinIO.
package minio

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
)

// Engine runs spec.minio.
type Engine struct{}

// Name is the engine's field in a Service's spec.
func (Engine) Name() string { return "minio" }

// Chosen says whether the parameters name this engine.
func (Engine) Chosen(p *v1alpha1.ServiceParameters) bool { return p.MinIO != nil }

// How old the metrics may be. MinIO keeps those of version 2 for ten seconds, cmd/metrics-v2.go; those of version 3 are
// read when they are asked for, but a request is counted a moment after its last byte has left.
const (
	settleV2 = 10500 * time.Millisecond
	settleV3 = 500 * time.Millisecond
)

// Plan renders the command line of minio server.
func (Engine) Plan(p *v1alpha1.ServiceParameters, _ uint64, s *rundir.Service) error {
	c, nodes := p.MinIO, int(max(1, p.Resources.Nodes))
	if err := drives(c, nodes, s); err != nil {
		return err
	}
	// --anonymous keeps the root password out of the log.
	s.Argv = slices.Concat([]string{"minio", "server", "--anonymous", "--quiet", "--address", "$(ADDRESS)", "--certs-dir", "$(DIR)/certs"},
		c.ExtraArgs, endpoints(nodes, s.Folders))
	access, auth := "jwt", rundir.ScrapeAuthJWT
	if c.MetricsAccess == v1alpha1.MinIOMetricsPublic {
		access, auth = "public", ""
	}
	s.Env = []rundir.EnvVar{
		{Name: "MINIO_BROWSER", Value: "off"}, {Name: "MINIO_UPDATE", Value: "off"}, {Name: "MINIO_PROMETHEUS_AUTH_TYPE", Value: access},
	}
	for _, e := range c.Env {
		s.Env = append(s.Env, rundir.EnvVar(e))
	}
	if nodes > 1 {
		s.Group = nodes
	}
	s.Ports = []rundir.Port{{Name: "http"}}
	s.Credential = rundir.CredentialEnv{Username: "MINIO_ROOT_USER", Password: "MINIO_ROOT_PASSWORD"}
	s.Authenticated = true
	// The cluster's health, not the process's: only with it can objects be written.
	s.Probes = []rundir.Probe{{Type: rundir.ProbeHTTP, Path: "/minio/health/cluster", Status: 200}}
	scrape := rundir.Scrape{Name: "server", PortName: "http", Path: "/minio/metrics/v3/api/requests", Auth: auth, Settle: rundir.Duration(settleV3)}
	if c.Metrics == v1alpha1.MinIOMetricsV2 {
		scrape.Path, scrape.Settle = "/minio/v2/metrics/node", rundir.Duration(settleV2)
	}
	s.Scrapes = []rundir.Scrape{scrape}
	s.CrossChecks = checks(c.Metrics == v1alpha1.MinIOMetricsV2)
	s.Protocol = rundir.ProtocolS3
	return nil
}

// endpoints are the drives as MinIO is told of them: folders of one node; of several, the URL of each drive of every node,
// which each process gets in the same order. The nodes take turns, so that each erasure set has drives of many.
func endpoints(nodes int, folders []string) []string {
	if nodes == 1 {
		return folders
	}
	var out []string
	for _, folder := range folders {
		out = append(out, "$(EACH)http://$(ADDRESS)"+folder)
	}
	return out
}

// drives names the folders that MinIO stores in, on each node.
func drives(c *v1alpha1.MinIOEngine, nodes int, s *rundir.Service) error {
	field := "drives"
	if len(c.DriveFolders) == 0 {
		for i := range cmp.Or(c.Drives, 1) {
			s.Folders = append(s.Folders, fmt.Sprintf("$(DIR)/drive%d", i+1))
		}
	}
	for i, folder := range c.DriveFolders {
		field = "driveFolders"
		if folder = path.Clean(folder); folder == "/" {
			return v1alpha1.At(fmt.Sprintf("driveFolders[%d]", i), fmt.Errorf("the root of the file system holds no drive: name the mount point of a disk"))
		}
		if folder += "/$(ID)"; slices.Contains(s.Folders, folder) {
			return v1alpha1.At(fmt.Sprintf("driveFolders[%d]", i), fmt.Errorf("%s is named twice: each drive needs a folder of its own", path.Dir(folder)))
		}
		s.Folders = append(s.Folders, folder)
	}
	all := nodes * len(s.Folders)
	words := fmt.Sprintf("%d drives", all)
	if nodes > 1 {
		words = fmt.Sprintf("%d nodes × %d = %s", nodes, len(s.Folders), words)
	}
	switch {
	case all == 2, all == 3:
		return v1alpha1.At(field, fmt.Errorf("MinIO has no erasure code for %s: use 1, or at least 4", words))
	case all > mostInSet && !divides(all):
		return v1alpha1.At(field, fmt.Errorf("MinIO cannot divide %s into equal sets of at most %d: use another number", words, mostInSet))
	}
	return nil
}

// mostInSet is the size of MinIO's largest erasure set, cmd/endpoint-ellipses.go.
const mostInSet = 16

// divides says that a number of drives makes sets of equal size.
func divides(drives int) bool {
	for size := 2; size <= mostInSet; size++ {
		if drives%size == 0 {
			return true
		}
	}
	return false
}

// checks compare the number of each call of the S3 API. Both versions of the metrics count calls by name, in another
// spelling.
func checks(v2 bool) []rundir.CrossCheck {
	var out []rundir.CrossCheck
	for _, call := range [][2]string{ // by the name of the S3 API, and by MinIO's
		{"PutObject", "PutObject"}, {"GetObject", "GetObject"}, {"HeadObject", "HeadObject"},
		{"DeleteObject", "DeleteObject"}, {"ListObjectsV2", "ListObjectsV2"}, {"CreateBucket", "PutBucket"},
	} {
		one := rundir.CrossCheck{Target: "server", Metric: "minio_api_requests_total", Labels: map[string]string{"name": call[1]}, Total: call[0]}
		if v2 {
			one.Metric, one.Labels = "minio_s3_requests_total", map[string]string{"api": strings.ToLower(call[1])}
		}
		out = append(out, one)
	}
	return out
}
