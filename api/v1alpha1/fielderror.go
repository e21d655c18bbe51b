package v1alpha1

import (
	"errors"
	"strings"
)

// FieldError says what is wrong with one field of an object, in words that say what to do. Its path is like
// spec.services[0].llmsim.ttft.deviation, relative to whatever the caller names.
//
// +kubebuilder:object:generate=false
// +kubebuilder:ac:generate=false
type FieldError struct {
	Path string
	Err  error
}

// Error returns the path and the words.
func (e *FieldError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap returns the words without the path.
func (e *FieldError) Unwrap() error { return e.Err }

// At puts err below a field: At("ttft", At("mean", err)) has the path ttft.mean. It returns nil for nil.
func At(field string, err error) error {
	if err == nil {
		return nil
	}
	var below *FieldError
	if !errors.As(err, &below) {
		return &FieldError{Path: field, Err: err}
	}
	separator := "."
	if strings.HasPrefix(below.Path, "[") {
		separator = ""
	}
	return &FieldError{Path: field + separator + below.Path, Err: below.Err}
}
