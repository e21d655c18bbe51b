package app

import (
	"testing"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/app/recipe"

	"github.com/google/go-cmp/cmp"
)

func TestBytesWords(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 5 << 30: "5.0 GiB", 3 << 40: "3.0 TiB", 2048 << 40: "2048.0 TiB",
	} {
		if got := bytesWords(n); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// TestWorse: 130 > 5 > 4 > 3 > 7 > 0, whichever comes first.
func TestWorse(t *testing.T) {
	order := []int{0, 7, 3, 4, 5, 130}
	for i, a := range order {
		for j, b := range order {
			if got, want := worse(a, b), order[max(i, j)]; got != want {
				t.Errorf("worse(%d, %d) is %d, want %d", a, b, got, want)
			}
		}
	}
}

func TestRefusalCode(t *testing.T) {
	for reason, want := range map[string]int{
		v1alpha1.ReasonSiteMissing: 2, v1alpha1.ReasonInvalidParameters: 2, v1alpha1.ReasonTargetMissing: 2, v1alpha1.ReasonHostAccessRefused: 2,
		v1alpha1.ReasonWorkDirUnusable: 5, v1alpha1.ReasonSubmitRefused: 5, "": 5,
	} {
		if got := (&refusal{reason: reason}).code(); got != want {
			t.Errorf("%s: exit code %d, want %d", reason, got, want)
		}
	}
}

func TestPreciseErrors(t *testing.T) {
	at := func(paths ...string) []*recipe.Error {
		var out []*recipe.Error
		for _, p := range paths {
			out = append(out, &recipe.Error{File: "r.yaml", Path: p})
		}
		return out
	}
	for reason, tt := range map[string]struct{ server, ours, want []string }{
		"what the server cannot see is ours":             {nil, []string{"spec.timeout"}, []string{"spec.timeout"}},
		"ours may follow from what the server found":     {[]string{"spec.clients[0].durration"}, []string{"spec.clients[0].duration"}, []string{"spec.clients[0].durration"}},
		"ours says which item of a list is meant":        {[]string{"spec.clients", "spec.site"}, []string{"spec.clients[1].target.service"}, []string{"spec.site", "spec.clients[1].target.service"}},
		"an error at the object is never replaced":       {[]string{""}, []string{"spec.clients[0]"}, []string{""}},
		"a field with a longer name is not an item":      {[]string{"spec.client"}, []string{"spec.clients[0]"}, []string{"spec.client"}},
		"where both find nothing there is nothing wrong": {},
	} {
		var got []string
		for _, e := range precise(at(tt.server...), at(tt.ours...)) {
			got = append(got, e.Path)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
}
