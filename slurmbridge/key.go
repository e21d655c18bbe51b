package slurmbridge

import (
	"fmt"
	"regexp"
	"strconv"
)

// Prefix begins the name of every job that we submit.
const Prefix = "assay-"

// Key is the name of a job, for ever: assay-<origin8>-<uid16>-<attempt>. It holds no character that a shell or a
// batch system's delimited output treats specially.
type Key string

// The lengths are part of the format: 8 hexadecimal digits of the control plane's origin, 16 of the object's UID.
var keyFormat = regexp.MustCompile(`^assay-([0-9a-f]{8})-([0-9a-f]{16})-([1-9][0-9]{0,8})$`)

// NewKey makes the key of an attempt from the origin of the control plane and the UID of the object, of which the
// first 8 and 16 hexadecimal digits count. It panics when either has fewer, for such a key would not be ours.
func NewKey(origin, uid string, attempt int) Key {
	k := Key(fmt.Sprintf("%s%s-%s-%d", Prefix, digits(origin, 8), digits(uid, 16), attempt))
	if !k.Valid() {
		panic(fmt.Sprintf("slurmbridge: no key from origin %q, uid %q, attempt %d", origin, uid, attempt))
	}
	return k
}

// Valid says whether a job's name is a key of ours.
func (k Key) Valid() bool { return keyFormat.MatchString(string(k)) }

// Origin returns the 8 digits of the control plane, or "" when the key is not valid.
func (k Key) Origin() string { return k.group(1) }

// UID returns the 16 digits of the object, or "" when the key is not valid.
func (k Key) UID() string { return k.group(2) }

// Attempt returns the number of the attempt, or 0 when the key is not valid.
func (k Key) Attempt() int {
	n, err := strconv.Atoi(k.group(3))
	if err != nil {
		return 0
	}
	return n
}

func (k Key) group(i int) string {
	m := keyFormat.FindStringSubmatch(string(k))
	if m == nil {
		return ""
	}
	return m[i]
}

// Origin8 returns the first 8 hexadecimal digits of an origin: what keys and folders hold of it.
func Origin8(origin string) string { return digits(origin, 8) }

// digits returns the first n hexadecimal digits of s in lower case, skipping dashes.
func digits(s string, n int) string {
	out := make([]byte, 0, n)
	for i := 0; i < len(s) && len(out) < n; i++ {
		c := s[i]
		if c >= 'A' && c <= 'F' {
			c += 'a' - 'A'
		}
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'f' {
			out = append(out, c)
		}
	}
	return string(out)
}
