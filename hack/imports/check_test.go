package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCheck(t *testing.T) {
	tests := map[string]struct {
		reason   string
		packages map[string]string // path -> its imports, separated by spaces
		want     []string          // each the start of one fault, in order
	}{
		"allowed": {
			reason:   "the directions of the design are not faults",
			packages: map[string]string{"cmd/assay": "internal/app", "internal/app": "controllers/site slurmbridge/local api/v1alpha1", "controllers/site": "controllers/reconcile"},
		},
		"own family": {
			reason:   "a folder may use the folders below it",
			packages: map[string]string{"internal/rundir/conformance": "internal/rundir"},
		},
		"a leaf imports": {
			reason:   "a leaf imports nothing of the module",
			packages: map[string]string{"internal/load": "internal/rundir"},
			want:     []string{"internal/load imports internal/rundir: may import nothing of this module"},
		},
		"engine imports engine": {
			reason:   "each folder that a star matches is a family of its own",
			packages: map[string]string{"internal/engines/vllm": "internal/engines/command"},
			want:     []string{"internal/engines/vllm imports internal/engines/command"},
		},
		"engines share a description": {
			reason:   "the line for openai counts before the one for all engines",
			packages: map[string]string{"internal/engines/vllm": "internal/engines/openai", "internal/engines/openai": "internal/rundir"},
		},
		"the shared description imports an engine": {
			reason:   "it would be a way from engine to engine",
			packages: map[string]string{"internal/engines/openai": "internal/engines/vllm"},
			want:     []string{"internal/engines/openai imports internal/engines/vllm: may import internal/rundir"},
		},
		"transport imports transport": {
			reason:   "the same for transports",
			packages: map[string]string{"slurmbridge/cli": "slurmbridge/ssh"},
			want:     []string{"slurmbridge/cli imports slurmbridge/ssh"},
		},
		"the contract imports a transport": {
			reason:   "slurmbridge is a leaf although the transports lie below it",
			packages: map[string]string{"slurmbridge": "slurmbridge/local"},
			want:     []string{"slurmbridge imports slurmbridge/local"},
		},
		"sim imports wire": {
			reason:   "the line for sim counts before the one for all transports",
			packages: map[string]string{"slurmbridge/sim": "slurmbridge/wire internal/rundir"},
			want:     []string{"slurmbridge/sim imports slurmbridge/wire"},
		},
		"store imports query": {
			reason:   "series is a leaf, query lies below it but is another family",
			packages: map[string]string{"internal/series": "internal/series/query"},
			want:     []string{"internal/series imports internal/series/query"},
		},
		"unknown folder": {
			reason:   "a new folder needs a line in the table",
			packages: map[string]string{"internal/surprise": ""},
			want:     []string{"internal/surprise: no line of the table"},
		},
		"Kubernetes, directly": {
			reason:   "the node side must not link it",
			packages: map[string]string{"internal/node": "!k8s.io/api/core/v1"},
			want:     []string{"internal/node links Kubernetes: assay.bench/internal/node -> k8s.io/api/core/v1"},
		},
		"Kubernetes, through another module": {
			reason:   "the chain is found and shown",
			packages: map[string]string{"slurmbridge/poll": "!x.io/a", "!x.io/a": "!x.io/b", "!x.io/b": "!k8s.io/client-go/rest"},
			want:     []string{"slurmbridge/poll links Kubernetes: assay.bench/slurmbridge/poll -> x.io/a -> x.io/b -> k8s.io/client-go/rest"},
		},
		"Kubernetes where it belongs": {
			reason:   "controllers may use it",
			packages: map[string]string{"controllers/site": "!k8s.io/api/core/v1"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var packages []pkg
			for path, imports := range tc.packages {
				p := pkg{ImportPath: full(path)}
				for i := range strings.FieldsSeq(imports) {
					p.Imports = append(p.Imports, full(i))
				}
				packages = append(packages, p)
			}
			faults := check(packages, "assay.bench")
			if len(faults) != len(tc.want) {
				t.Fatalf("%d faults, want %d (%s):\n%s", len(faults), len(tc.want), tc.reason, strings.Join(faults, "\n"))
			}
			for i, want := range tc.want {
				if !strings.HasPrefix(faults[i], want) {
					t.Errorf("fault %q, want one that starts with %q: %s", faults[i], want, tc.reason)
				}
			}
		})
	}
}

// full turns a path of the table into an import path; a leading ! marks one of another module.
func full(path string) string {
	if other, ok := strings.CutPrefix(path, "!"); ok {
		return other
	}
	return "assay.bench/" + path
}

// TestTable keeps the table itself sound: a pattern stands once, and each target names families that exist.
func TestTable(t *testing.T) {
	var patterns []string
	for _, e := range table {
		patterns = append(patterns, e.from)
	}
	seen := map[string]bool{}
	for _, p := range patterns {
		if seen[p] {
			t.Errorf("pattern %s stands twice: only the first would count", p)
		}
		seen[p] = true
	}
	known := func(target string) bool {
		_, ok := family(strings.ReplaceAll(target, "*", "any"))
		return ok || target == "internal/*"
	}
	var unknown []string
	for _, e := range table {
		for _, target := range e.to {
			if !known(target) {
				unknown = append(unknown, e.from+" -> "+target)
			}
		}
	}
	for _, n := range nodeSide {
		if !known(n) {
			unknown = append(unknown, "nodeSide: "+n)
		}
	}
	if diff := cmp.Diff([]string(nil), unknown); diff != "" {
		t.Errorf("targets that no line of the table describes:\n%s", diff)
	}
}
