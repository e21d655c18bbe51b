package controlplane

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"assay.bench/internal/controlplane/statedir"
)

// Names in the state folder, beside those of statedir.
const (
	kubeconfigFile = "kubeconfig"
	etcdFolder     = "etcd"
	socketFile     = "etcd.sock"
)

// maxSocketPath is the longest path of a unix socket on every system that we build for (macOS has 104 bytes with the
// closing zero, Linux 108).
const maxSocketPath = 103

// socketPath returns where etcd listens: in the state folder or, when that path is too long for a socket, in a short
// folder of our own below tempDir. Only the holder of the lock may call it. The folder is "" when there is none to
// remove.
func socketPath(stateDir, tempDir string) (path, folder string, err error) {
	path = filepath.Join(stateDir, socketFile)
	if len(path) <= maxSocketPath {
		return path, "", nil
	}
	if tempDir == "" {
		return "", "", fmt.Errorf("state folder %s: the path is too long for a socket (%d bytes, at most %d); use a shorter one",
			stateDir, len(path), maxSocketPath)
	}
	// The name follows from the state folder, so a folder that a killed process left behind is found again.
	hash := sha256.Sum256([]byte(stateDir))
	folder = filepath.Join(tempDir, fmt.Sprintf("assay-%d-%x", os.Geteuid(), hash[:6]))
	path = filepath.Join(folder, socketFile)
	if len(path) > maxSocketPath {
		return "", "", fmt.Errorf("state folder %s and temporary folder %s: both are too long for a socket; use a shorter state folder",
			stateDir, tempDir)
	}
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", "", fmt.Errorf("folder for the socket: %w", err)
	}
	return path, folder, statedir.Private(folder)
}

// listen opens the port of the last start or, when that is taken, any other one.
func listen(port int) (net.Listener, int, error) {
	l, err := net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
	if err != nil && port != 0 {
		l, err = net.ListenTCP("tcp4", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	}
	if err != nil {
		return nil, 0, fmt.Errorf("API server: %w; the loopback address must be up", err)
	}
	return l, l.Addr().(*net.TCPAddr).Port, nil
}
