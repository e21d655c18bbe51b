package slurmbridge_test

import (
	"io/fs"
	"strings"
	"testing"

	"assay.bench/slurmbridge"
)

// Who may replace what lies in the work folder has programs run as us.
func TestWhosePlace(t *testing.T) {
	const root, me, mallory = 0, 1000, 1001
	type place = slurmbridge.Place
	folder := func(user int, mode fs.FileMode) place { return place{"/w", user, mode | fs.ModeDir} }
	workDir := func(p place) error { return slurmbridge.CheckWorkDir(p, p, me) }
	through := func(link place) error { return slurmbridge.CheckWorkDir(link, folder(me, 0o700), me) }
	below := func(p place) error { return p.CheckFolder(me) }
	file := func(p place) error { return p.CheckFile(me) }
	for reason, tt := range map[string]struct {
		check func(place) error
		place place
		want  string
	}{
		"my own":                               {workDir, folder(me, 0o700), ""},
		"others may read it":                   {workDir, folder(me, 0o755), ""},
		"others may write to it":               {workDir, folder(me, 0o777), "and it is not sticky: chmod go-w it"},
		"others may only add to it":            {workDir, folder(me, 0o777|fs.ModeSticky), ""},
		"/tmp":                                 {workDir, folder(root, 0o777|fs.ModeSticky), ""},
		"the owner of a sticky folder renames": {workDir, folder(mallory, 0o777|fs.ModeSticky), "belongs to user 1001, who could put programs there"},
		"another's, that an ACL opens to me":   {workDir, folder(mallory, 0o755), "name a folder of your own in workDir"},
		"root's, that is not for all":          {workDir, folder(root, 0o755), "belongs to user 0"},
		"the owner of a link turns it":         {through, place{"/w", mallory, fs.ModeSymlink | 0o777}, "belongs to user 1001"},
		"root's link":                          {through, place{"/w", root, fs.ModeSymlink | 0o777}, ""},
		"below the work folder another's":      {below, folder(root, 0o755), "belongs to user 0"},
		"below it a sticky one":                {below, folder(me, 0o777|fs.ModeSticky), "others may write to /w (mode 0777): chmod go-w it"},
		"below it a link to my own":            {below, place{"/w", me, fs.ModeSymlink | 0o777}, "is not a folder: remove it"},
		"a file that a group changes":          {file, place{"/w", me, 0o660}, "others may write to /w"},
		"a file that others run":               {file, place{"/w", me, 0o755}, ""},
		"a folder in place of a file":          {file, folder(me, 0o700), "is not a plain file"},
	} {
		err := tt.check(tt.place)
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", reason, err, tt.want)
		}
	}
}
