package rundir

import (
	"context"
	"errors"
	"testing"
)

func TestFreeName(t *testing.T) {
	mine, others := `{"version":1,"uid":"me","spec":{}}`, `{"version":1,"uid":"you","spec":{}}`
	both := func(name string) RunFiles { return RunFiles{Record: "/" + name, Plan: "/" + name + "/plan"} }
	record := func(name string) RunFiles { return RunFiles{Record: "/" + name} }
	all := map[string]string{}
	for _, name := range RunNames(3) {
		all["/"+name] = others
	}
	for name, tc := range map[string]struct {
		files func(string) RunFiles
		there map[string]string
		want  string
	}{
		"the first":             {both, nil, "g3"},
		"that of another stays": {both, map[string]string{"/g3": others}, "g3-2"},
		"a crash before the job left only the record":      {both, map[string]string{"/g3": mine}, "g3"},
		"a job was handed in under it":                     {both, map[string]string{"/g3": mine, "/g3/plan": "{}"}, "g3-2"},
		"a job without a record":                           {both, map[string]string{"/g3/plan": "{}"}, "g3-2"},
		"a record that nobody can read is somebody's":      {both, map[string]string{"/g3": "{"}, "g3-2"},
		"where the name is stored, a record is a run":      {record, map[string]string{"/g3": mine}, "g3-2"},
		"all are taken":                                    {both, all, ""},
		"a plan of nobody does not count without its path": {record, map[string]string{"": "{}"}, "g3"},
	} {
		t.Run(name, func(t *testing.T) {
			calls := 0
			read := func(_ context.Context, paths ...string) (map[string][]byte, error) {
				calls++
				found := map[string][]byte{}
				for _, p := range paths {
					if text, ok := tc.there[p]; ok {
						found[p] = []byte(text)
					}
				}
				return found, nil
			}
			got, err := FreeName(t.Context(), 3, "me", tc.files, read)
			if err != nil || got != tc.want || calls != 1 {
				t.Errorf("%q, %v after %d reads; want %q after one", got, err, calls, tc.want)
			}
		})
	}
	silent := errors.New("silent")
	if _, err := FreeName(t.Context(), 3, "me", both, func(context.Context, ...string) (map[string][]byte, error) { return nil, silent }); !errors.Is(err, silent) {
		t.Errorf("a look that failed found something: %v", err)
	}
}
