package benchmark

import (
	"testing"
	"time"

	"assay.bench/internal/results"
	"assay.bench/internal/rundir"
)

// TestResultNamesTheModel: what a client asks for is what the node finds, in the same order.
func TestResultNamesTheModel(t *testing.T) {
	asks := func(model string) func(*JobEvidence) {
		return func(e *JobEvidence) { e.Plan.Clients[0].Inference = &rundir.Inference{Model: model} }
	}
	serves := func(e *JobEvidence) { e.Plan.Services[0].Model = "served" }
	beside := func(e *JobEvidence) {
		other := rundir.Client{Name: "other", Inference: &rundir.Inference{Model: "another"}}
		e.Plan.Clients = append([]rundir.Client{other}, e.Plan.Clients...)
	}
	fast := 50 * time.Millisecond
	apart := evidence(t, fast, asks(""))
	apart.Jobs = append(apart.Jobs, evidence(t, fast, serves).Jobs...)
	apart.Jobs[0].Plan.Services, apart.Jobs[1].Plan.Clients = nil, nil
	unread := evidence(t, fast, asks("asked"))
	unread.Jobs = append([]JobEvidence{{Name: "broken"}}, unread.Jobs...)
	for reason, tt := range map[string]struct {
		evidence *Evidence
		want     string
	}{
		"the recipe names it":                     {evidence(t, fast, serves, asks("asked")), "asked"},
		"another client asks for its own":         {evidence(t, fast, asks("asked"), beside), "asked"},
		"the service serves one":                  {evidence(t, fast, serves, asks("")), "served"},
		"the service may be in another job":       {apart, "served"},
		"a job whose plan is broken says nothing": {unread, "asked"},
		"nobody names one":                        {evidence(t, fast, asks("")), ""},
		"a workload without a model":              {evidence(t, fast, serves), ""},
		"nothing was ever planned":                {&Evidence{}, ""},
	} {
		bm := underRun()
		d := (&Kind{}).Decide(bm, world(bm, over(), found(tt.evidence)), now)
		if len(d.Do) != 1 {
			t.Fatalf("%s: %+v", reason, summary(d))
		}
		r, err := results.Parse(d.Do[0].(WriteResult).Content)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Clients[0].Model; got != tt.want {
			t.Errorf("%s: %q, want %q", reason, got, tt.want)
		}
	}
}
