package site

import (
	"context"
	"encoding/json"
	"path/filepath"
	"time"

	"assay.bench/slurmbridge"
)

// Origin tells whose jobs and folders an origin's are. It is the content of <workDir>/.origins/<origin>.json.
type Origin struct {
	// Origin is the id of the control plane.
	Origin string `json:"origin"`
	// User, Host and PID run it; ProcessStart tells a process from a later one with the same PID.
	User         string    `json:"user"`
	Host         string    `json:"host"`
	PID          int       `json:"pid"`
	ProcessStart time.Time `json:"processStart"`
	// StateFolder is where its state lies on Host; "" in a cluster.
	StateFolder string `json:"stateFolder,omitempty"`
	// Counter advances while it lives: it is stale by the reader's clock when it stops.
	Counter int64 `json:"counter"`
}

// OriginFile is the path of an origin's file.
func OriginFile(workDir, origin string) string {
	return filepath.Join(workDir, ".origins", origin+".json")
}

// BeatEvery is how often the counter advances.
const BeatEvery = 30 * time.Second

// beat writes the origin's file, and returns its counter. That comes from the clock, so it advances over a restart.
func (o Origin) beat(ctx context.Context, door slurmbridge.Door, now time.Time) (counter int64, err error) {
	o.Origin, o.Counter = door.Origin, now.Unix()
	b, err := json.Marshal(o)
	if err != nil {
		return 0, err
	}
	return o.Counter, door.Files.Write(ctx, map[string][]byte{OriginFile(door.WorkDir, door.Origin): append(b, '\n')})
}
