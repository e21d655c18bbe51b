package load

import (
	"context"
	"errors"
	"slices"
	"testing"
)

// placed is a workload that is its place among others, and makes no worker.
type placed struct {
	Workload
	place int
	made  *[]int
}

func (p placed) Worker(context.Context, int) (Worker, error) {
	*p.made = append(*p.made, p.place)
	return nil, errors.ErrUnsupported
}

func TestSpread(t *testing.T) {
	for name, c := range map[string]struct {
		reason        string
		rank, ranks   int
		servers, most int
		want          []int
	}{
		"one rank":               {"in turn", 0, 1, 2, 5, []int{0, 1, 0, 1, 0}},
		"the second of three":    {"by the number over all ranks: 1, 4, 7", 1, 3, 2, 3, []int{1, 0, 1}},
		"as many ranks":          {"each rank has a server of its own", 1, 2, 2, 3, []int{1, 1, 1}},
		"one server":             {"nothing to deal out", 3, 4, 1, 2, []int{0, 0}},
		"more servers than work": {"some stay idle", 0, 1, 4, 2, []int{0, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var made []int
			parts := make([]Workload, c.servers)
			for i := range parts {
				parts[i] = placed{place: i, made: &made}
			}
			w := Spread(c.rank, c.ranks, parts)
			for n := range c.most {
				if _, err := w.Worker(t.Context(), n); !errors.Is(err, errors.ErrUnsupported) {
					t.Fatal(err)
				}
			}
			if !slices.Equal(made, c.want) {
				t.Errorf("%s: the workers load %v, want %v", c.reason, made, c.want)
			}
		})
	}
}
