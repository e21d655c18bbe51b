// Package bench measures what the project promises, each beside a baseline of the same run where there is one.
package bench
