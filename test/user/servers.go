package user

import (
	"os"
	"path/filepath"
	"testing"
)

// Variables of the environment that name the programs of servers, which hack/servers.sh builds.
const (
	MinIO     = "ASSAY_MINIO"
	LLMDSim   = "ASSAY_LLM_D_SIM"
	VersityGW = "ASSAY_VERSITYGW"
)

// Server is the path of a server's program.
func Server(t testing.TB, variable string) string {
	t.Helper()
	path := os.Getenv(variable)
	if path == "" {
		t.Fatalf("%s is not set: run make e2e", variable)
	}
	return path
}

// Finds puts programs into the PATH of all commands that come, before the others.
func (u *User) Finds(programs ...string) {
	path := os.Getenv("PATH")
	for _, p := range programs {
		path = filepath.Dir(p) + string(filepath.ListSeparator) + path
	}
	u.Setenv("PATH", path)
}
