// Package soak repeats, for hours, what the other tests do a few times: crashes at random instants.
package soak
