// Package e2e meets the built programs as a user does: it runs bin/assay and kubectl, and reads what they print.
package e2e
