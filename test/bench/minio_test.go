//go:build bench

package bench

import (
	"crypto/rand"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"assay.bench/test/user"
)

// minioServer is a MinIO with one drive that ends with the test.
type minioServer struct {
	Address, AccessKey, SecretKey string
}

// startMinIO starts the program that the environment variable ASSAY_MINIO names, on a core of its own, and waits until it
// takes writes.
func startMinIO(t *testing.T) minioServer {
	t.Helper()
	program := os.Getenv("ASSAY_MINIO")
	if program == "" {
		t.Fatal("ASSAY_MINIO is not set: run make bench")
	}
	s := minioServer{Address: freeAddress(t), AccessKey: rand.Text(), SecretKey: rand.Text()}
	home := t.TempDir()
	log, err := os.Create(filepath.Join(home, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(t.Context(), program, "server", "--address", s.Address, "--anonymous", "--quiet", filepath.Join(home, "drive"))
	cmd.Env = []string{
		"HOME=" + home, "PATH=" + os.Getenv("PATH"), "MINIO_ROOT_USER=" + s.AccessKey, "MINIO_ROOT_PASSWORD=" + s.SecretKey,
		"MINIO_BROWSER=off", "MINIO_UPDATE=off",
	}
	cmd.Stdout, cmd.Stderr = log, log
	// A test that runs into its time limit cleans nothing up, and then the server must not stay.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cores := user.Cores(t)
	user.StartedOn(t, cores[len(cores)-1:], func() { err = cmd.Start() })
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { // the test's context has ended by now, and with it the server
		<-ended
		if text, err := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("MinIO wrote (%v):\n%s", err, text)
		}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	user.Until(t, "MinIO takes writes", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("MinIO ended: %v", err)
		default:
		}
		answer, err := client.Get("http://" + s.Address + "/minio/health/cluster")
		return err == nil && answer.Body.Close() == nil && answer.StatusCode == http.StatusOK
	})
	return s
}

// freeAddress is one of this machine that nobody listens at yet.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
