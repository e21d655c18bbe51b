package app

import (
	"strings"
	"testing"
	"time"

	"assay.bench/internal/app/state"
)

// While a control plane starts, nobody takes what the one before it left for its own; and one that is up keeps its own.
func TestNotUp(t *testing.T) {
	f := created(t, t.TempDir(), state.Info{Kind: state.KindUp, Context: defaultContext})
	if err := f.SetReady(4711); err != nil {
		t.Fatal(err)
	}
	if err := notUp(f); err != nil || f.Ready() {
		t.Errorf("after one that was killed: ready is %t, %v", f.Ready(), err)
	}
	lock, err := f.Hold(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := f.SetReady(4711); err != nil {
		t.Fatal(err)
	}
	if err := notUp(f); err == nil || !strings.Contains(err.Error(), `the control plane "default" is up already (process`) || !f.Ready() {
		t.Errorf("beside one that is up: ready is %t, %v", f.Ready(), err)
	}
}
