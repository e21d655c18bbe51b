package app

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/local"
)

// stageNode puts the assay-node program below a work folder on this host, under its SHA-256, so that a job goes on with
// the program that it began with. It returns the program's path.
func stageNode(o *OS, workDir string) (string, error) {
	program, err := nodeProgram(o, runtime.GOARCH)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(program)
	dir := filepath.Join(workDir, "bin", hex.EncodeToString(sum[:]))
	path := filepath.Join(dir, "assay-node")
	for _, folder := range []string{filepath.Dir(dir), dir} {
		if err := local.OwnFolder(folder); err != nil {
			return "", unstaged(path, err)
		}
	}
	if isStaged(path, program) {
		return path, nil
	}
	fresh, err := os.CreateTemp(dir, ".assay-node-*")
	if err != nil {
		return "", unstaged(path, err)
	}
	_, writeErr := fresh.Write(program)
	err = errors.Join(writeErr, fresh.Chmod(0o700), fresh.Sync(), fresh.Close())
	if err == nil {
		err = os.Rename(fresh.Name(), path)
	}
	if err != nil {
		_ = os.Remove(fresh.Name()) // what failed before counts
		return "", unstaged(path, err)
	}
	return path, nil
}

// isStaged says whether the whole program is there, and nobody else can change it. What is there is read: after a crash of
// the machine a file may have its size and none of its bytes.
func isStaged(path string, program []byte) bool {
	if local.OwnFile(path) != nil {
		return false
	}
	b, err := os.ReadFile(path)
	return err == nil && bytes.Equal(b, program)
}

// unstaged says that the work folder does not take assay-node. It names the program's path and not that of the file that
// becomes it, which is never the same twice.
func unstaged(path string, err error) error {
	if at, ok := errors.AsType[*fs.PathError](err); ok {
		err = &fs.PathError{Op: at.Op, Path: path, Err: at.Err}
	}
	return fmt.Errorf("%w: assay-node cannot be put there: %w", slurmbridge.ErrWorkDir, err)
}
