package slurmbridge

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNodeNames(t *testing.T) {
	for list, tt := range map[string]struct {
		reason, want, wantErr string
	}{
		"":                       {"a job that has no nodes", "", ""},
		"mel2001":                {"one node", "mel2001", ""},
		"mel[2001-2003]":         {"a span", "mel2001 mel2002 mel2003", ""},
		"mel[2001,2003-2004],l1": {"all forms", "mel2001 mel2003 mel2004 l1", ""},
		"r[1-2]n[01-02]":         {"two brackets, and zeros that belong to the name", "r1n01 r1n02 r2n01 r2n02", ""},
		"n[8-10]":                {"one more digit", "n8 n9 n10", ""},
		"n[1-8]":                 {"as many as allowed", "n1 n2 n3 n4 n5 n6 n7 n8", ""},
		"n[1-9]":                 {"one too many", "", "more nodes"},
		"n[0-4294967295]":        {"more than there are names for", "", "more nodes"},
		"n[2-1]":                 {"backwards", "", "span"},
		"n[1":                    {"cut", "", "not closed"},
		"n1]":                    {"no beginning", "", "not the name"},
		",n1":                    {"nothing before the comma", "", "not a list"},
		"/etc/passwd":            {"sbatch would read the file", "", "not the name"},
		"-n1":                    {"an option", "", "not the name"},
		"None assigned":          {"words of sacct", "", "not the name"},
	} {
		got, err := NodeNames(list, 8)
		if (err != nil) != (tt.wantErr != "") || err != nil && !strings.Contains(err.Error(), tt.wantErr) {
			t.Errorf("%s: %q: error %v, want %q in it", tt.reason, list, err, tt.wantErr)
		}
		if diff := cmp.Diff(strings.Fields(tt.want), got); diff != "" && tt.want+strings.Join(got, "") != "" {
			t.Errorf("%s: %q (-want +got):\n%s", tt.reason, list, diff)
		}
	}
}

// FuzzNodeNames: whatever an answer holds, what comes out can be excluded and nothing else.
func FuzzNodeNames(f *testing.F) {
	for _, seed := range []string{"mel[2001-2003]", "r[1-2]n[01-02],x", "n[0-4294967295]", "[[[]]]", "n[1-2", ",", "n[1-1]["} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, list string) {
		names, err := NodeNames(list, MaxExclude)
		if err != nil {
			return
		}
		if err := (Part{Exclude: names}).check(""); err != nil {
			t.Errorf("%q: %v", list, err)
		}
	})
}
