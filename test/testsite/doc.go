// Package testsite tests the test site itself: that what hack/testsite.sh starts is a Slurm site, and that nothing of it stays.
package testsite
