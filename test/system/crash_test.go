package system

import (
	"testing"

	"assay.bench/test/system/crash"
)

// seeds of the random cases, each of which kills at every place; the tier soak has hundreds at each.
const seeds = 20

// TestCrash kills the controllers: first in a fixed order, then as seeds say.
func TestCrash(t *testing.T) {
	t.Run("fixed", func(t *testing.T) {
		for _, c := range crash.Fixed() {
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				crash.Run(t, plane, c)
			})
		}
	})
	t.Run("random", func(t *testing.T) {
		for seed := range uint64(seeds) {
			c := crash.Everywhere(seed)
			t.Run(c.Name, func(t *testing.T) {
				t.Parallel()
				crash.Run(t, plane, c)
			})
		}
	})
}
