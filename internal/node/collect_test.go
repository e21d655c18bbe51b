package node

import (
	"runtime"
	"runtime/metrics"
	"testing"
)

// A collection comes when there is as much garbage as a client holds for that.
func TestCollectionsAreSpared(t *testing.T) {
	t.Parallel()
	unused := spareCollections()
	runtime.GC()
	goal := []metrics.Sample{{Name: "/gc/heap/goal:bytes"}}
	metrics.Read(goal)
	if got := goal[0].Value.Uint64(); got < 2*unusedBytes {
		t.Errorf("the next collection comes at %d bytes, want %d or more", got, 2*unusedBytes)
	}
	runtime.KeepAlive(unused)
}
