package v1alpha1

import (
	"fmt"
	"strconv"
	"time"
)

// Duration is a length of time in Go's notation with the units ms, s, m and h, such as 500ms, 90s or 1h30m.
//
// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
// +kubebuilder:validation:MaxLength=32
type Duration string

// Parse returns the length, or zero for the empty string. A string that admission let through always parses,
// unless it overflows 292 years.
func (d Duration) Parse() (time.Duration, error) {
	if d == "" {
		return 0, nil
	}
	v, err := time.ParseDuration(string(d))
	if err != nil {
		return 0, fmt.Errorf("duration %q: use a number with ms, s, m or h, such as 90s", string(d))
	}
	return v, nil
}

// Or returns the length, or fallback when d is empty or does not parse.
func (d Duration) Or(fallback time.Duration) time.Duration {
	if v, err := d.Parse(); err == nil && d != "" {
		return v
	}
	return fallback
}

// Quantity is an amount of bytes with an optional binary or decimal suffix, such as 64Gi or 500M.
//
// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$`
// +kubebuilder:validation:MaxLength=24
type Quantity string

// Decimal is a number of at most 24 characters without a sign or an exponent, such as 12 or 0.05.
//
// +kubebuilder:validation:Pattern=`^[0-9]+(\.[0-9]+)?$`
// +kubebuilder:validation:MaxLength=24
type Decimal string

// Float returns the number, or zero for the empty string.
func (d Decimal) Float() (float64, error) {
	if d == "" {
		return 0, nil
	}
	v, err := strconv.ParseFloat(string(d), 64)
	if err != nil {
		return 0, fmt.Errorf("number %q: use digits with an optional fraction, such as 12 or 0.05", string(d))
	}
	return v, nil
}

// Name is a name within one benchmark: lower-case letters, digits and dashes, at most 40 characters.
//
// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=40
type Name string
