package slurmbridge

import (
	"fmt"
	"io/fs"
)

// Place is what a look at a file or folder of a site tells: whose it is, and who may write to it.
type Place struct {
	Path string
	// Owner is the number of the user.
	Owner int
	Mode  fs.FileMode
}

// CheckFolder refuses what is no folder of user me alone. In a work folder that CheckWorkDir accepted nobody else can put
// another in its place afterwards.
func (p Place) CheckFolder(me int) error {
	if !p.Mode.IsDir() {
		return fmt.Errorf("%s is not a folder: remove it, or name another folder in workDir", p.Path)
	}
	return p.checkOwn(me)
}

// CheckFile refuses what is no plain file, and one that others than user me can change.
func (p Place) CheckFile(me int) error {
	if !p.Mode.IsRegular() {
		return fmt.Errorf("%s is not a plain file", p.Path)
	}
	return p.checkOwn(me)
}

func (p Place) checkOwn(me int) error {
	if p.Owner != me {
		return p.foreign()
	}
	if p.Mode.Perm()&0o022 != 0 {
		return fmt.Errorf("others may write to %s (mode %04o): chmod go-w it, or name another folder in workDir", p.Path, p.Mode.Perm())
	}
	return nil
}

// CheckWorkDir refuses a work folder where others than user me may replace what is ours: who owns a folder may do that
// even where it is sticky. Root may do everything anyway, and owns the sticky folders of a machine, such as /tmp. The
// link is what stands at the path itself, where that is one: who owns a link may turn it.
func CheckWorkDir(link, folder Place, me int) error {
	if link.Mode&fs.ModeSymlink != 0 && link.Owner != me && link.Owner != 0 {
		return link.foreign()
	}
	sticky := folder.Mode&fs.ModeSticky != 0
	if folder.Owner != me && (folder.Owner != 0 || !sticky) {
		return folder.foreign()
	}
	if folder.Mode.Perm()&0o022 != 0 && !sticky {
		return fmt.Errorf("others may write to %s (mode %04o), and it is not sticky: chmod go-w it, or name another folder",
			folder.Path, folder.Mode.Perm())
	}
	return nil
}

func (p Place) foreign() error {
	return fmt.Errorf("%s belongs to user %d, who could put programs there that run as you: name a folder of your own in workDir", p.Path, p.Owner)
}
