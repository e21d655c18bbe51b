// Package series is an append-only store of samples in one file, which is readable after its writer was killed at any
// byte.
//
// A file is the word "ASSAYTS1" and then blocks:
//
//	length of payload   4 bytes, little endian
//	CRC-32C of payload  4 bytes, little endian
//	payload:
//	  time in ms since 1970                      signed varint
//	  number of new series                       varint
//	    each: number of labels, then name, value varint; each text is its length (varint) and its bytes
//	  number of samples                          varint
//	    each: number of its series in this file  varint, from 0 in order of appearance
//	          value                              8 bytes, little endian, IEEE 754 bits
//
// A block is one write. A reader stops at the first block that is cut or whose sum is wrong; a writer that opens such
// a file cuts the rest off.
package series

import (
	"math"
	"slices"
	"strings"
	"time"
)

// NameLabel is the label that holds the name of a metric.
const NameLabel = "__name__"

// MaxBlock is the largest payload in bytes that is written or read.
const MaxBlock = 64 << 20

const (
	magic      = "ASSAYTS1"
	headLength = 8
	// staleBits is the NaN that Prometheus uses as a stale marker (model/value.StaleNaN).
	staleBits uint64 = 0x7ff0000000000002
)

// StaleNaN returns the value that says: this series has ended, or its target did not answer. Its bits are Prometheus's.
func StaleNaN() float64 { return math.Float64frombits(staleBits) }

// IsStaleNaN says whether a value is the stale marker; other NaNs are not.
func IsStaleNaN(v float64) bool { return math.Float64bits(v) == staleBits }

// Label is a name and a value.
type Label struct{ Name, Value string }

// Labels name a series, sorted by name.
type Labels []Label

// NewLabels makes labels of a metric's name and a map.
func NewLabels(metric string, labels map[string]string) Labels {
	ls := make(Labels, 0, len(labels)+1)
	ls = append(ls, Label{NameLabel, metric})
	for k, v := range labels {
		ls = append(ls, Label{k, v})
	}
	slices.SortFunc(ls, func(a, b Label) int { return strings.Compare(a.Name, b.Name) })
	return ls
}

// Get returns the value of a label, or "".
func (ls Labels) Get(name string) string {
	for _, l := range ls {
		if l.Name == name {
			return l.Value
		}
	}
	return ""
}

// Key is a text that only equal labels share.
func (ls Labels) Key() string {
	var b strings.Builder
	for _, l := range ls {
		b.WriteString(l.Name)
		b.WriteByte(0xff) // no part of UTF-8
		b.WriteString(l.Value)
		b.WriteByte(0xff)
	}
	return b.String()
}

// Sample is a value of a series.
type Sample struct {
	Labels Labels
	Value  float64
}

// Block is what was true at one time.
type Block struct {
	// Time has milliseconds.
	Time    time.Time
	Samples []Sample
}
