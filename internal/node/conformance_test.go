package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"assay.bench/internal/rundir"
	"assay.bench/internal/rundir/conformance"
	"assay.bench/slurmbridge/local"
)

// The node side keeps the contract of the run directory, started by the script that every transport submits.
func TestConformance(t *testing.T) {
	t.Parallel()
	const origin = "0123abcd"
	conformance.Run(t, func(t *testing.T) conformance.Harness {
		dir := t.TempDir()
		host, err := local.Open(local.Options{StateDir: filepath.Join(dir, "state"), Origin: origin, KillWait: 5 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { endJobs(t, host) })
		return conformance.OnThisHost(conformance.Harness{
			Jobs: host, Files: host, Origin: origin, WorkDir: filepath.Join(dir, "work"), Node: nodeScript(t),
			Prepare: func(p *rundir.Plan) {
				for i := range p.Services {
					s := &p.Services[i]
					s.Argv = []string{"assay-node", "llmsim", "--host", "$(HOST)", "--port", "$(PORT)", "--model", "m"}
					s.Probes = []rundir.Probe{{Type: rundir.ProbeHTTP, Path: "/health"}, {Type: rundir.ProbeModel, Model: "m"}}
					s.Scrapes = []rundir.Scrape{{Name: "engine", PortName: "http", Path: "/metrics"}}
				}
			},
			Break: func(p *rundir.Plan, _ string) { p.Services[0].Argv = []string{"false"} },
		})
	})
}

// nodeScript is assay-node as a file: this test program, told to be it.
func nodeScript(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "assay-node")
	text := fmt.Sprintf("#!/bin/sh\n%s=assay-node exec %q \"$@\"\n", asEnv, os.Args[0])
	if err := os.WriteFile(path, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func endJobs(t *testing.T, host *local.Host) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for ; time.Now().Before(deadline); <-tick.C {
		jobs, err := host.List(context.Background()) // the test's own context is over
		if err != nil {
			continue
		}
		alive := 0
		for _, j := range jobs {
			if !j.Over() {
				alive++
				_ = host.Cancel(context.Background(), j.ID) // tried again until it is over
			}
		}
		if alive == 0 {
			return
		}
	}
	t.Error("jobs are left")
}
