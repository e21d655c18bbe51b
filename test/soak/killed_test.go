//go:build soak

package soak

import (
	"testing"
	"time"

	"assay.bench/test/user"
)

func TestAHundredKilledControlPlanes(t *testing.T) {
	user.KillPlanes(t, uint64(time.Now().UnixNano()), 100)
}
