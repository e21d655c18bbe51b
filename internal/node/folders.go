package node

import (
	"errors"
	"io/fs"
	"os"

	"assay.bench/internal/rundir"
)

// folders are the folders of the plan with their names replaced.
func (l *launch) folders() []string {
	builtin := l.builtin(nil)
	out := make([]string, 0, len(l.svc.Folders))
	for _, f := range l.svc.Folders {
		out = append(out, expand(f, func(name string) (string, bool) { v, ok := builtin[name]; return v, ok }))
	}
	return out
}

// makeFolders makes the folders of the plan, once. One that is there is somebody else's; one whose parent is not there
// would be made on another disk than the one that was meant.
func (s *service) makeFolders() error {
	if s.made != nil {
		return nil
	}
	for _, folder := range s.launch.folders() {
		err := os.Mkdir(folder, 0o700)
		switch {
		case errors.Is(err, fs.ErrExist):
			return endf(rundir.ExitReasonWorkDirUnusable, "%s is there already, and whose it is nobody knows: remove it, or name another folder", folder)
		case errors.Is(err, fs.ErrNotExist):
			return endf(rundir.ExitReasonWorkDirUnusable, "%s cannot be made, for the folder above it is not there: is the disk mounted on this node?", folder)
		case err != nil:
			return endf(rundir.ExitReasonWorkDirUnusable, "a folder of the server cannot be made: %v", err)
		}
		s.made = append(s.made, folder)
	}
	return nil
}

// removeFolders removes what makeFolders made, if the plan says so.
func (s *service) removeFolders() {
	if !s.job.plan.DeleteObjects {
		return
	}
	for _, folder := range s.made {
		if err := os.RemoveAll(folder); err != nil {
			s.log("FolderNotRemoved", "folder", folder, "error", err)
			s.warnf("%s is left behind: %v", folder, err)
		}
	}
	s.made = nil
}
