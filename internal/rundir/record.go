package rundir

import (
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
