package controlplane_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestJobPathsStayInTheirFolder: names of a SlurmJob become folders, so that whoever may create one must not be able to
// point outside the folder of the namespace.
func TestJobPathsStayInTheirFolder(t *testing.T) {
	c := clientOf(t, sharedServer(t))
	const (
		job  = `{site: here, run: {owner: b, name: g1}, components: [{kind: Service, name: s}]}`
		peer = `{kind: Service, name: s, job: j, owner: b, run: g1}`
	)
	for name, piece := range map[string]string{
		"a Benchmark's":  `{run: {owner: my-bench, name: g12}}`,
		"a Service's":    `{run: {owner: service.my-server, name: g12-3}}`,
		"another run's":  `{run: {peers: [` + peer + `]}}`,
		"without a path": `{run: {peers: [{kind: Service, name: s, job: a.b-c}]}}`,
	} {
		if err := create(t, c, inSpec(t, "SlurmJob", job)[0], piece); err != nil {
			t.Errorf("%s: refused: %v", name, err)
		}
	}
	for field, piece := range map[string]string{
		"spec.run.owner":          `{run: {owner: ../../other/bm}}`,
		"spec.run.name":           `{run: {name: ..}}`,
		"spec.components[0].name": `{components: [{kind: Service, name: ../s}]}`,
		"spec.run.peers[0].job":   `{run: {peers: [{kind: Service, name: s, job: ../j}]}}`,
		"spec.run.peers[0].owner": `{run: {peers: [{kind: Service, name: s, job: j, owner: ..}]}}`,
		"spec.run.peers[0].run":   `{run: {peers: [{kind: Service, name: s, job: j, run: g1/../..}]}}`,
		"spec.run.peers[0].name":  `{run: {peers: [{kind: Service, name: a/b, job: j}]}}`,
	} {
		got := slices.Sorted(maps.Keys(refusal(t, create(t, c, inSpec(t, "SlurmJob", job)[0], piece))))
		if diff := cmp.Diff([]string{field}, got); diff != "" {
			t.Errorf("%s: refused fields (-want +got):\n%s", piece, diff)
		}
	}
}
