package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"assay.bench/controllers/site"
	"assay.bench/slurmbridge"
)

// originMarks are the files of the origins in a work folder, read at one time of the site's clock.
type originMarks struct {
	clock time.Time
	list  []site.Origin
}

// readMarks prints the time and then each file on a line. A folder that is not this user's says nothing about this user's
// control planes.
const readMarks = `cd -- "$1" 2>/dev/null || exit 0
[ -O . ] || exit 0
date +%s
for f in *.json; do [ -f "$f" ] && [ ! -L "$f" ] && head -c 8192 -- "$f" && echo; done
exit 0`

// marks reads whose control planes have worked in a work folder, in one round trip.
func (r *reach) marks(ctx context.Context) (originMarks, error) {
	dir := path.Dir(site.OriginFile(r.workDir, "x"))
	out, err := r.runner.Run(ctx, slurmbridge.Command{Argv: []string{"sh", "-c", readMarks, "sh", dir}})
	if err != nil {
		return originMarks{}, err
	}
	if out.Code != 0 {
		return originMarks{}, fmt.Errorf("%w: %s cannot be read: exit code %d: %.200s", slurmbridge.ErrUnreachable, dir, out.Code, bytes.TrimSpace(out.Stderr))
	}
	return parseMarks(out.Stdout)
}

var fullOrigin = regexp.MustCompile(`^[0-9a-f]{8}[0-9a-f-]{0,56}$`)

// parseMarks reads what readMarks prints. A file that is no mark is left out, so that it hides no other.
func parseMarks(text []byte) (originMarks, error) {
	first, rest, _ := strings.Cut(string(text), "\n")
	if first == "" {
		return originMarks{}, nil
	}
	seconds, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return originMarks{}, fmt.Errorf("%w: %.100q is not a time", slurmbridge.ErrUnreachable, first)
	}
	out := originMarks{clock: time.Unix(seconds, 0)}
	for line := range strings.Lines(rest) {
		var m site.Origin
		if json.Unmarshal([]byte(line), &m) == nil && fullOrigin.MatchString(m.Origin) {
			out.list = append(out.list, m)
		}
	}
	return out, nil
}

// of finds the mark of an origin.
func (m originMarks) of(origin string) (site.Origin, bool) {
	for _, one := range m.list {
		if one.Origin == origin {
			return one, true
		}
	}
	return site.Origin{}, false
}

// readLeases prints each control.json of an origin that was written lately, on a line after its path: those of attempts, in
// <namespace>/<benchmark>/<run>/<job>/<attempt>. The hour is far longer than clocks differ, and far shorter than an origin
// may have worked here.
const readLeases = `find "$1" -mindepth 6 -maxdepth 6 -name control.json -type f -mmin -60 -exec sh -c 'for f; do printf "%s " "$f"; head -c 512 -- "$f"; echo; done' sh {} +`

// leases reads what the nodes of an origin are told while its control plane lives, in one round trip: a set of lines, to
// which one is added whenever it tells them something new.
func (r *reach) leases(ctx context.Context, origin string) (map[string]bool, error) {
	dir := path.Join(r.workDir, origin)
	out, err := r.runner.Run(ctx, slurmbridge.Command{Argv: []string{"sh", "-c", `[ -d "$1" ] || exit 0; ` + readLeases, "sh", dir}})
	if err != nil {
		return nil, err
	}
	if out.Code != 0 {
		return nil, fmt.Errorf("%w: %s cannot be read: exit code %d: %.200s", slurmbridge.ErrUnreachable, dir, out.Code, bytes.TrimSpace(out.Stderr))
	}
	lines := map[string]bool{}
	for line := range strings.Lines(string(out.Stdout)) {
		lines[line] = true
	}
	return lines, nil
}

// removeMark removes the file of an origin. That it is gone is no error.
func (r *reach) removeMark(ctx context.Context, origin string) error {
	file := site.OriginFile(r.workDir, origin)
	out, err := r.runner.Run(ctx, slurmbridge.Command{Argv: []string{"rm", "-f", "--", file}})
	if err == nil && out.Code != 0 {
		err = fmt.Errorf("%s stays: %.200s", file, bytes.TrimSpace(out.Stderr))
	}
	return err
}
