package rundir

import (
	"context"
	"encoding/json"
	"fmt"
)

// RecordFile is <run>/run.json: who made the run, and from what. It is written before the run's first job, so a folder
// that has one is taken for ever, even when the object that made it is gone and its name is used again.
const RecordFile = "run.json"

// Record is the content of run.json.
type Record struct {
	Version int `json:"version"`
	// Kind, Namespace, Name and UID are those of the object that made the run.
	Kind      string `json:"kind"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	UID       string `json:"uid"`
	// Run is the run's name, Seed and TimeScale what it was started with; TimeScale is empty for 1.
	Run       string `json:"run"`
	Seed      int64  `json:"seed"`
	TimeScale string `json:"timeScale,omitempty"`
	// Spec is the object's spec as the API server stored it.
	Spec json.RawMessage `json:"spec"`
}

// ParseRecord reads a run.json.
func ParseRecord(b []byte) (*Record, error) {
	var r Record
	if err := parse(RecordFile, b, &r); err != nil {
		return nil, err
	}
	return &r, nil
}

// runNames is how many runs of one generation can stand beside each other.
const runNames = 64

// RunNames are the names that a run of a generation may have, the wanted one first: g5, g5-2, ... g5-64. The others
// serve an object that was deleted and made again under the same name.
func RunNames(generation int64) []string {
	out := make([]string, runNames)
	out[0] = fmt.Sprintf("g%d", generation)
	for i := 1; i < runNames; i++ {
		out[i] = fmt.Sprintf("g%d-%d", generation, i+1)
	}
	return out
}

// RunFiles are the files that tell whether a run's name is taken.
type RunFiles struct {
	// Record is the run.json, Plan the plan.json of the first job's first attempt; "" where the name is stored elsewhere
	// before either is written.
	Record, Plan string
}

// FreeName returns the first of RunNames that no run has, or "" when all are taken. A run that was recorded for the
// object with this uid, but whose job was never handed in, is taken up again. It makes one call of read.
func FreeName(ctx context.Context, generation int64, uid string, files func(name string) RunFiles,
	read func(context.Context, ...string) (map[string][]byte, error)) (string, error) {
	names := RunNames(generation)
	var paths []string
	for _, name := range names {
		f := files(name)
		paths = append(paths, f.Record)
		if f.Plan != "" {
			paths = append(paths, f.Plan)
		}
	}
	found, err := read(ctx, paths...)
	if err != nil {
		return "", err
	}
	for _, name := range names {
		f := files(name)
		record, recorded := found[f.Record]
		_, planned := found[f.Plan]
		if !planned && (!recorded || f.Plan != "" && isOf(record, uid)) {
			return name, nil
		}
	}
	return "", nil
}

// isOf says whether a run.json is of the object with a uid.
func isOf(record []byte, uid string) bool {
	r, err := ParseRecord(record)
	return err == nil && r.UID == uid
}
