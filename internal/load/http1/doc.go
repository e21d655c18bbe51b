// Package http1 is the HTTP/1.1 client of the workloads: a connection for each worker, read by its own goroutine, so that
// a stamp is taken right after the read returned, nothing is allocated for a piece of an answer, and a failure says in
// which step it happened. Proxies are never used and redirects are not followed.
package http1
