package controlplane_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"assay.bench/internal/controlplane"
)

// childEnv names a state folder. With it the test binary is a server in that folder, until its input ends.
const childEnv = "ASSAY_TEST_CHILD"

func child(dir string) {
	s, err := controlplane.Start(context.Background(), controlplane.Options{StateDir: dir})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println("ready", s.Kubeconfig())
	_, _ = os.Stdin.Read(make([]byte, 1))
	if err := s.Stop(context.Background()); err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
}

// childProcess is a server in a process of its own.
type childProcess struct {
	*exec.Cmd
	// kubeconfig leads to it; stop ends its input, and with it the server; stderr is what it wrote there.
	kubeconfig string
	stop       func()
	stderr     *bytes.Buffer
}

// startChild starts a server in a process of its own and waits until it is ready.
func startChild(t *testing.T, dir string) *childProcess {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	kubeconfig, ok := strings.CutPrefix(strings.TrimSpace(line), "ready ")
	if err != nil || !ok {
		t.Fatalf("the child did not start: %q, %v\n%s", line, err, stderr.String())
	}
	return &childProcess{Cmd: cmd, kubeconfig: kubeconfig, stop: func() { in.Close() }, stderr: &stderr}
}
