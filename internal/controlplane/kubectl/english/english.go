// Package english lets kubectl speak English only. It is for its side effect, and a program that holds kubectl imports it:
// while packages are initialised, kubectl otherwise reads and unpacks a catalogue, which takes half of the time in which
// such a program starts. Go initialises this package before those of kubectl that ask for words, as the order of import
// paths decides between packages that could be next.
package english

import "k8s.io/kubectl/pkg/util/i18n"

var _ = first(i18n.SetLoadTranslationsFunc(func() error { return nil }))

// first panics where somebody asked for words before: then the order is not what is said above.
func first(err error) error {
	if err != nil {
		panic(err)
	}
	return err
}
