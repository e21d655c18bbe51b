package results

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// ErrIncomplete says that a rank's result was cut or changed after it was written.
var ErrIncomplete = errors.New("the result is not whole")

// Seal writes a rank's result with its end mark and its SHA-256.
func Seal(r Rank) ([]byte, error) {
	r.Version, r.End, r.SHA256 = RankVersion, true, ""
	sum, err := digest(r)
	if err != nil {
		return nil, err
	}
	r.SHA256 = sum
	b, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, fmt.Errorf("result of %s rank %d: %w", r.Client, r.Rank, err)
	}
	return append(b, '\n'), nil
}

// digest is the SHA-256 of the compact JSON of a result whose SHA256 is empty.
func digest(r Rank) (string, error) {
	b, err := json.Marshal(r)
	if err != nil {
		return "", fmt.Errorf("result of %s rank %d: %w", r.Client, r.Rank, err)
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

// ParseRank reads a rank's result. A cut, changed or foreign file wraps ErrIncomplete.
func ParseRank(b []byte) (Rank, error) {
	var r Rank
	d := json.NewDecoder(bytes.NewReader(b))
	if err := d.Decode(&r); err != nil {
		return r, fmt.Errorf("%w: %w", ErrIncomplete, err)
	}
	if r.Version != RankVersion {
		return r, fmt.Errorf("%w: version %d, this program reads %d", ErrIncomplete, r.Version, RankVersion)
	}
	if !r.End {
		return r, fmt.Errorf("%w: the end mark is missing", ErrIncomplete)
	}
	want := r.SHA256
	r.SHA256 = ""
	got, err := digest(r)
	if err != nil {
		return r, err
	}
	if got != want {
		return r, fmt.Errorf("%w: its SHA-256 is %s, the file says %s", ErrIncomplete, got, want)
	}
	r.SHA256 = want
	return r, nil
}
