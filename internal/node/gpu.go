package node

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"assay.bench/internal/rundir"
)

const (
	gpuMaskName = "CUDA_VISIBLE_DEVICES"
	// gpuTimeout is how long a list of GPUs may take: in a container, the image is mounted for the first time.
	gpuTimeout = time.Minute
	// exitNotFound is how a shell says that there is no such program.
	exitNotFound = 127
)

// gpuMask is the variable by which CUDA is told its devices. Unset, it means all of them.
type gpuMask struct {
	set   bool
	value string
}

// gpuMaskOf is the mask in an environment.
func gpuMaskOf(environ []string) gpuMask {
	for _, e := range slices.Backward(environ) { // the last one counts
		if v, ok := strings.CutPrefix(e, gpuMaskName+"="); ok {
			return gpuMask{true, v}
		}
	}
	return gpuMask{}
}

// askGPUs is the command that tells, from inside of a server's environment, the mask that has arrived there and the
// devices. nvidia-smi does not obey the mask, and only its list of names has the parts of a GPU (MIG).
func askGPUs() []string {
	return []string{"/bin/sh", "-c", `echo "` + gpuMaskName + `${` + gpuMaskName + `+=}$` + gpuMaskName + `"; exec nvidia-smi -L`}
}

// parseGPUs reads what nvidia-smi -L prints, and the mask where askGPUs printed it. A GPU that is divided is not a
// device of its own: its parts are.
func parseGPUs(out []byte) (mask gpuMask, uuids []string) {
	whole := false // the last one is a GPU, not a part of one
	for line := range bytes.Lines(out) {
		text := strings.TrimSpace(string(line))
		if v, ok := strings.CutPrefix(text, gpuMaskName); ok {
			mask.value, mask.set = strings.CutPrefix(v, "=")
			continue
		}
		_, after, found := strings.Cut(text, "UUID: ")
		uuid, _, closed := strings.Cut(after, ")")
		isPart := strings.HasPrefix(text, "MIG ")
		if !found || !closed || uuid == "" || !isPart && !strings.HasPrefix(text, "GPU ") {
			continue
		}
		if isPart && whole {
			uuids = uuids[:len(uuids)-1]
		}
		uuids, whole = append(uuids, uuid), !isPart
	}
	return mask, uuids
}

// visible are the devices that a mask leaves of a list, as CUDA reads it: numbers count the list, UUIDs may be shortened,
// and what is wrong ends it. A UUID that nothing lists stands for itself: the server is told to use that one.
func (m gpuMask) visible(list []string) []string {
	if !m.set {
		return list
	}
	var out []string
	for word := range strings.SplitSeq(m.value, ",") {
		word = strings.TrimSpace(word)
		if n, err := strconv.Atoi(word); err == nil {
			if n < 0 || n >= len(list) {
				return out
			}
			out = append(out, list[n])
			continue
		}
		if !strings.HasPrefix(word, "GPU-") && !strings.HasPrefix(word, "MIG-") {
			return out
		}
		at := slices.IndexFunc(list, func(uuid string) bool { return strings.HasPrefix(uuid, word) })
		if at < 0 {
			return append(out, word)
		}
		out = append(out, list[at])
	}
	return out
}

// compareGPUs says whether a server sees the devices that its step was given. Their order does not matter.
func compareGPUs(given, seen []string, inside gpuMask) rundir.GPUCheck {
	c := rundir.GPUCheck{State: rundir.GPUVerified, Given: given, Seen: seen}
	foreign, lacking := without(seen, given), without(given, seen)
	var words []string
	if len(foreign) > 0 {
		words = append(words, "the server would use "+strings.Join(foreign, ", ")+", which its step was not given")
	}
	if len(lacking) > 0 {
		words = append(words, "the server does not see "+strings.Join(lacking, ", ")+", which its step was given")
	}
	if len(words) == 0 {
		return c
	}
	c.State = rundir.GPUWrong
	told := gpuMaskName + " is not set there"
	if inside.set {
		told = gpuMaskName + " is " + strconv.Quote(inside.value) + " there"
	}
	c.Message = strings.Join(words, ", and ") + " (" + told + ")"
	return c
}

// without are the elements of a that b lacks.
func without(a, b []string) []string {
	var out []string
	for _, x := range a {
		if !slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// checkGPUs compares the devices that the step may use with those that the server will see, before it is started, by the
// very command line that it gets. What cannot be told is a state; a device too many or too few is an error.
func (s *service) checkGPUs(ctx context.Context) error {
	if s.gpuCheck == nil || s.status.get().GPUs != nil {
		return nil
	}
	check, err := s.lookAtGPUs(ctx)
	if err != nil {
		return err
	}
	if ctx.Err() != nil { // the questions were cut short, and say nothing
		return s.stopped(ctx)
	}
	s.status.must(func(st *rundir.Status) { st.GPUs = &check })
	s.gpuCheck <- check
	s.log("GPUsChecked", "state", check.State, "message", check.Message, "given", check.Given, "seen", check.Seen)
	if check.State != rundir.GPUWrong {
		return nil
	}
	return endf(rundir.ExitReasonWrongGPU, "on %s %s: leave %s out of the service's environment and of the image's, and see that the site hands out devices by its gres.conf",
		s.world.Hostname, check.Message, gpuMaskName)
}

// lookAtGPUs asks outside and inside. The error is that of a server that cannot be started at all.
func (s *service) lookAtGPUs(ctx context.Context) (rundir.GPUCheck, error) {
	unverified := func(format string, args ...any) (rundir.GPUCheck, error) {
		return rundir.GPUCheck{State: rundir.GPUUnverified, Message: fmt.Sprintf(format, args...)}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, gpuTimeout)
	defer cancel()
	program, err := pathLookup(s.world.getenv("PATH"))("nvidia-smi")
	if err != nil {
		return unverified("nvidia-smi is not in the PATH of %s", s.world.Hostname)
	}
	outside := exec.CommandContext(ctx, program, "-L")
	outside.Env = s.world.Environ
	listed, why := listGPUs(ctx, outside)
	if why != "" {
		return unverified("nvidia-smi on %s: %s", s.world.Hostname, why)
	}
	inside, err := s.launch.command(ctx, askGPUs(), nil)
	if err != nil {
		return rundir.GPUCheck{}, err
	}
	there, why := listGPUs(ctx, inside)
	if why != "" {
		return unverified("nvidia-smi in the environment of the server: %s", why)
	}
	_, given := parseGPUs(listed)
	given = gpuMaskOf(s.world.Environ).visible(given)
	mask, seen := parseGPUs(there)
	return compareGPUs(given, mask.visible(seen), mask), nil
}

// listGPUs runs nvidia-smi and returns what it printed, or why it printed no list. That there are no devices is a list.
func listGPUs(ctx context.Context, cmd *exec.Cmd) (out []byte, why string) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // a grandchild that keeps the pipe must not keep us
	err := cmd.Run()
	exit, _ := errors.AsType[*exec.ExitError](err)
	switch {
	case err == nil, strings.Contains(stdout.String(), "No devices"):
		return stdout.Bytes(), ""
	case ctx.Err() != nil:
		return nil, "no answer within " + gpuTimeout.String()
	case exit != nil && exit.ExitCode() == exitNotFound:
		return nil, "it is not there"
	}
	return nil, cmp.Or(lastLine(stderr.Bytes()), lastLine(stdout.Bytes()), err.Error())
}

// lastLine is the last line of a text that says anything, cut to a message's length.
func lastLine(b []byte) string {
	last := ""
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if text := strings.TrimPrefix(excerpt(lines.Bytes()), ": "); text != "" {
			last = text
		}
	}
	return last
}
