package node

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"assay.bench/internal/rundir"
)

// ownProgram is the first word of a command that stands for this program.
const ownProgram = "assay-node"

// lookup finds a program.
type lookup func(name string) (string, error)

// containerArgv is the command line that runs argv in an image with Apptainer or Singularity. The environment goes in
// by variables, never by the command line, which every user of the node can read.
//
// The home folder is the rank's: the user's own may not be there, and what lies in it, such as Python packages, would get
// into the container.
func containerArgv(img *rundir.Image, dir string, folders []string, gpus bool, argv []string, find lookup) ([]string, error) {
	source, err := imageSource(img) // first: a missing image is more often the trouble than a missing module
	if err != nil {
		return nil, err
	}
	runtime, err := containerRuntime(find, img.URI)
	if err != nil {
		return nil, err
	}
	for _, b := range img.Binds {
		if _, err := os.Stat(b.Path); err != nil {
			return nil, endf(rundir.ExitReasonImageMissing, "the container is to see %s, which is not there on this node: %v", b.Path, err)
		}
	}
	out := []string{runtime, "exec", "--cleanenv", "--home", dir}
	for _, b := range allBinds(img.Binds, append(folders, dir)...) {
		spec := b.Path
		if !b.Writable {
			spec += ":" + b.Path + ":ro"
		}
		out = append(out, "--bind", spec)
	}
	if gpus {
		out = append(out, "--nv")
	}
	return append(append(out, source), argv...), nil
}

// allBinds joins the binds of the plan with the folders that the server writes to. A folder comes after those above it,
// for a mount hides what was mounted below it before. One that is named twice is bound once, and is writable if one of
// the two is. A writable folder in a writable one is there already.
func allBinds(binds []rundir.Bind, writable ...string) []rundir.Bind {
	access := map[string]bool{}
	for _, b := range binds {
		folder := filepath.Clean(b.Path)
		access[folder] = access[folder] || b.Writable
	}
	for _, folder := range writable {
		access[folder] = true
	}
	var out []rundir.Bind
	for _, folder := range slices.Sorted(maps.Keys(access)) { // in this order a folder follows those above it
		above := false
		for _, b := range out {
			if strings.HasPrefix(folder, b.Path+"/") {
				above = b.Writable // the last one is the nearest
			}
		}
		if !above || !access[folder] {
			out = append(out, rundir.Bind{Path: folder, Writable: access[folder]})
		}
	}
	return out
}

// imageSource is the file of an image: in the site's store, or where the recipe names it. It must exist.
func imageSource(img *rundir.Image) (string, error) {
	if img.SIF != "" {
		if _, err := storedImage(img.SIF); err != nil {
			return "", endf(rundir.ExitReasonImageMissing, "the image %s is not in the site's store (%v): remove %s, and the next run pulls it again",
				img.URI, err, rundir.ImageRecordOf(img.SIF))
		}
		return img.SIF, nil
	}
	path := strings.TrimPrefix(img.URI, "file://")
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", endf(rundir.ExitReasonImageMissing,
			"the image %s does not exist on this node: build or copy it there, or name a docker:// image", path)
	case err != nil:
		return "", endf(rundir.ExitReasonImageMissing, "the image cannot be used: %v", err)
	case st.Mode().IsRegular() && st.Size() == 0:
		return "", endf(rundir.ExitReasonImageMissing, "the image %s is an empty file: build or copy it again", path)
	}
	return path, nil
}

// checkImage compares the file of an image with the digest that the recipe names. An image of the store was compared when
// it was pulled.
func checkImage(img *rundir.Image) error {
	if img == nil || img.SIF != "" || img.Digest == "" {
		return nil
	}
	path, err := imageSource(img)
	if err != nil {
		return err
	}
	sum, err := fileSHA256(path)
	if err != nil {
		return endf(rundir.ExitReasonImageMissing, "the image cannot be used: %v", err)
	}
	if "sha256:"+sum != img.Digest {
		return endf(rundir.ExitReasonImageMismatch, "the image %s is another one than the recipe names: its SHA-256 is sha256:%s, the recipe's digest is %s: put the right file there, or correct the digest",
			path, sum, img.Digest)
	}
	return nil
}

func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// containerEnv renames variables so that Apptainer sets them inside a container whose environment it cleans.
func containerEnv(environ []string) []string {
	out := make([]string, 0, 2*len(environ))
	for _, e := range environ {
		out = append(out, "APPTAINERENV_"+e, "SINGULARITYENV_"+e)
	}
	return out
}

// bareArgv finds the program of a command that runs without an image.
func bareArgv(argv []string, executable string, find lookup) ([]string, error) {
	if argv[0] == ownProgram {
		return append([]string{executable}, argv[1:]...), nil
	}
	path, err := find(argv[0])
	if err != nil {
		return nil, endf(rundir.ExitReasonProgramMissing,
			"%s: install it on this node, give its whole path, or give the service an image", missing(argv[0], err))
	}
	return append([]string{path}, argv[1:]...), nil
}

func missing(program string, err error) string {
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return fmt.Sprintf("the program %q is not in the PATH of this node", program)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Sprintf("the program %q does not exist on this node", program)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Sprintf("the file %q is not executable", program)
	}
	return fmt.Sprintf("the program %q cannot be started: %v", program, err)
}

// pathLookup finds programs in the PATH of an environment.
func pathLookup(path string) lookup {
	return func(name string) (string, error) {
		if strings.ContainsRune(name, '/') {
			return executable(name)
		}
		for _, dir := range filepath.SplitList(path) {
			if !filepath.IsAbs(dir) {
				continue // a relative folder would depend on where the job runs
			}
			if p, err := executable(filepath.Join(dir, name)); err == nil {
				return p, nil
			}
		}
		return "", exec.ErrNotFound
	}
}

func executable(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if st.IsDir() || st.Mode()&0o111 == 0 {
		return "", fs.ErrPermission
	}
	return path, nil
}
