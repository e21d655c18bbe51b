package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// OwnFolder makes a folder with mode 0700, or checks that the one that is there is ours alone. In a work folder that
// Probe accepted nobody else can put another in its place afterwards.
func OwnFolder(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return CheckFolder(path)
}

// CheckFolder checks that a folder is there, and ours alone.
func CheckFolder(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder: remove it, or name another folder in workDir", path)
	}
	return own(path, info, os.Geteuid())
}

// OwnFile checks that a file is one, and that nobody else can change what is in it.
func OwnFile(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a plain file", path)
	}
	return own(path, info, os.Geteuid())
}

// own refuses what user me does not own, and what others may write to.
func own(path string, info fs.FileInfo, me int) error {
	if user := owner(info); user != me {
		return foreign(path, user)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("others may write to %s (mode %04o): chmod go-w it, or name another folder in workDir", path, info.Mode().Perm())
	}
	return nil
}

// checkWorkDir looks at a work folder, and at the link to it where its path is one: who owns that may turn it.
func checkWorkDir(path string) error {
	me := os.Geteuid()
	link, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if user := owner(link); link.Mode()&fs.ModeSymlink != 0 && user != me && user != 0 {
		return foreign(path, user)
	}
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	return ownWorkDir(path, info, me)
}

// ownWorkDir refuses a work folder where others may replace what is ours: who owns a folder may do that even where it is
// sticky. Root may do everything anyway, and owns the sticky folders of a machine, such as /tmp.
func ownWorkDir(path string, info fs.FileInfo, me int) error {
	sticky := info.Mode()&fs.ModeSticky != 0
	if user := owner(info); user != me && (user != 0 || !sticky) {
		return foreign(path, user)
	}
	if info.Mode().Perm()&0o022 != 0 && !sticky {
		return fmt.Errorf("others may write to %s (mode %04o), and it is not sticky: chmod go-w it, or name another folder",
			path, info.Mode().Perm())
	}
	return nil
}

func foreign(path string, user int) error {
	return fmt.Errorf("%s belongs to user %d, who could put programs there that run as you: name a folder of your own in workDir", path, user)
}

func owner(info fs.FileInfo) int { return int(info.Sys().(*syscall.Stat_t).Uid) }
