package results

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Repeats add up by counter; one that could not be read leaves its sum unknown, and one that differs is not outweighed.
func TestCounted(t *testing.T) {
	check := func(repeat int, labels string, server *float64, clients int64, difference float64) CrossCheck {
		return CrossCheck{Service: "s", Repeat: repeat, Metric: "m", Labels: labels, Total: "t", Server: server, Clients: clients,
			Difference: difference, Agrees: server != nil && difference == 0}
	}
	got := counted([]CrossCheck{
		check(1, "a", new(5.0), 4, 1), check(1, "b", nil, 3, 0), check(1, "c", new(2.0), 2, 0),
		check(2, "a", new(5.0), 6, -1), check(2, "b", new(3.0), 3, 0), check(2, "c", new(7.0), 7, 0),
	})
	want := []CrossCheck{check(0, "a", new(10.0), 10, 0), check(0, "b", nil, 6, 0), check(0, "c", new(9.0), 9, 0)}
	want[0].Agrees = false
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
