package local

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"assay.bench/slurmbridge"
)

// OwnFolder makes a folder with mode 0700, or checks that the one that is there is ours alone.
func OwnFolder(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return CheckFolder(path)
}

// CheckFolder checks that a folder is there, and ours alone.
func CheckFolder(path string) error {
	p, err := look(path, os.Lstat)
	if err != nil {
		return err
	}
	return p.CheckFolder(os.Geteuid())
}

// OwnFile checks that a file is one, and that nobody else can change what is in it.
func OwnFile(path string) error {
	p, err := look(path, os.Lstat)
	if err != nil {
		return err
	}
	return p.CheckFile(os.Geteuid())
}

func checkWorkDir(path string) error {
	link, err := look(path, os.Lstat)
	if err != nil {
		return err
	}
	folder, err := look(path, os.Stat)
	if err != nil {
		return err
	}
	return slurmbridge.CheckWorkDir(link, folder, os.Geteuid())
}

func look(path string, stat func(string) (fs.FileInfo, error)) (slurmbridge.Place, error) {
	info, err := stat(path)
	if err != nil {
		return slurmbridge.Place{}, err
	}
	return slurmbridge.Place{Path: path, Owner: int(info.Sys().(*syscall.Stat_t).Uid), Mode: info.Mode()}, nil
}
