//go:build bench

package bench

import (
	"crypto/rand"
	"testing"

	"assay.bench/test/user"
)

// startMinIO starts a MinIO with one drive, on a core of its own, and returns its root account. It ends with the test.
func startMinIO(t *testing.T) user.Account {
	t.Helper()
	access, secret := rand.Text(), rand.Text()
	cores := user.Cores(t)
	var url string
	user.StartedOn(t, cores[len(cores)-1:], func() { url = user.New(t).MinIO(access, secret) })
	return user.NewAccount(t, url, access, secret)
}
