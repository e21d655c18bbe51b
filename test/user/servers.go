package user

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
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
		t.Fatalf("%s is not set: run make e2e or make bench", variable)
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

// FreeAddress is a loopback address with a port that nobody had a moment ago.
func FreeAddress(t testing.TB) string {
	t.Helper()
	var c net.ListenConfig
	l, err := c.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// serving bounds a server, which waits for as long as other tests have the machine.
const serving = time.Hour

// Serve starts a server that the user runs beside assay, and waits until a GET of the URL answers 200. It ends with the
// test.
func (u *User) Serve(url, program string, args ...string) *Command {
	u.t.Helper()
	c := u.startFor(serving, program, args...)
	u.t.Cleanup(func() {
		_ = c.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		if a := c.Wait(); u.t.Failed() {
			u.t.Logf("%s:\n%s%s", filepath.Base(program), a.Stdout, a.Stderr)
		}
	})
	Until(u.t, url+" answers", func() bool {
		select {
		case err := <-c.ended:
			c.ended <- err // for Wait
			u.t.Fatalf("%s ended: %v", filepath.Base(program), err)
		default:
		}
		req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil)
		if err != nil {
			u.t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	return c
}

// MinIO starts a MinIO with a drive below the home folder, and returns its URL.
func (u *User) MinIO(key, secret string) string {
	u.t.Helper()
	address := FreeAddress(u.t)
	u.Setenv("MINIO_ROOT_USER", key)
	u.Setenv("MINIO_ROOT_PASSWORD", secret)
	u.Setenv("MINIO_BROWSER", "off")
	u.Setenv("MINIO_UPDATE", "off")
	u.Serve("http://"+address+"/minio/health/cluster", Server(u.t, MinIO), "server", "--anonymous", "--quiet", "--address", address, u.Path("minio"))
	return "http://" + address
}

// VersityGW starts a server that keeps its objects as files in the folder versitygw below the home folder, and returns its
// URL.
func (u *User) VersityGW(key, secret string) string {
	u.t.Helper()
	if err := os.Mkdir(u.Path("versitygw"), 0o700); err != nil {
		u.t.Fatal(err)
	}
	address := FreeAddress(u.t)
	u.Setenv("ROOT_ACCESS_KEY_ID", key)
	u.Setenv("ROOT_SECRET_ACCESS_KEY", secret)
	u.Serve("http://"+address+"/health", Server(u.t, VersityGW), "--port", address, "--health", "/health", "--keep-alive", "--quiet", "posix", u.Path("versitygw"))
	return "http://" + address
}
