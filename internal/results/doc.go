// Package results turns what the ranks of a benchmark measured into numbers that can be defended: merged histograms,
// joined repeats, intervals, verdicts and the text that shows them. It is pure: bytes in, values out.
package results
