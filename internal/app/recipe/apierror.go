package recipe

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
)

// Explain turns what the API server or a check of ours said about the object into errors with positions. An error that
// names no field is put at the object.
func (o Object) Explain(err error) []*Error {
	var field *v1alpha1.FieldError
	if errors.As(err, &field) {
		return []*Error{o.At(field.Path, field.Err.Error())}
	}
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return []*Error{o.At("", err.Error())}
	}
	if out := o.strict(status.ErrStatus.Message); len(out) > 0 {
		return out
	}
	return o.causes(status.ErrStatus)
}

// unknownField matches the API server's strict decoding errors, with both ways in which it writes a path.
var unknownField = regexp.MustCompile(`(unknown|duplicate) field "([^"]+)"`)

// applyField matches the errors of server-side apply against the schema: .spec.site: field not declared in schema.
var applyField = regexp.MustCompile(`\.([A-Za-z][^\s:]*): field not declared in schema`)

func (o Object) strict(message string) []*Error {
	var out []*Error
	for _, m := range unknownField.FindAllStringSubmatch(message, -1) {
		path := strings.TrimPrefix(m[2], ".")
		out = append(out, o.At(path, m[1]+" field"+o.suggest(path)))
	}
	for _, m := range applyField.FindAllStringSubmatch(message, -1) {
		out = append(out, o.At(m[1], "unknown field"+o.suggest(m[1])))
	}
	return out
}

// causes turns schema and CEL errors into errors with positions.
func (o Object) causes(s metav1.Status) []*Error {
	if s.Details == nil || len(s.Details.Causes) == 0 {
		return []*Error{o.At("", s.Message)}
	}
	var out []*Error
	for _, c := range s.Details.Causes {
		field := c.Field
		if field == "<nil>" {
			field = ""
		}
		e := o.At(field, plain(c.Message))
		if !slices.ContainsFunc(out, func(x *Error) bool { return *x == *e }) {
			out = append(out, e)
		}
	}
	if len(out) > 1 {
		// The API server adds that it could not check all rules: that says nothing beside the error that caused it.
		out = slices.DeleteFunc(out, func(e *Error) bool { return strings.Contains(e.Message, "some validation rules were not checked") })
	}
	return out
}

// schemaWords are the API server's words before a rule's own message.
var schemaWords = regexp.MustCompile(`^(Invalid value: (?s:.*?): |Invalid value: )`)

// plain takes the printed object out of a CEL error: the position shows it better.
func plain(message string) string {
	m := schemaWords.FindString(message)
	if m == "" {
		return message
	}
	rest := strings.TrimPrefix(message, m)
	value := strings.TrimSuffix(strings.TrimPrefix(m, "Invalid value: "), ": ")
	if strings.HasPrefix(value, "{") || strings.HasPrefix(value, "[") || value == `"object"` || value == "null" || value == "" {
		return rest
	}
	return fmt.Sprintf("%s is not valid: %s", value, rest)
}

// suggest offers the known field that is nearest in spelling.
func (o Object) suggest(path string) string {
	known := fieldsOf(o.GetKind())
	all := steps(path)
	if len(all) == 0 || len(known) == 0 {
		return "; see assay kubectl explain " + strings.ToLower(o.GetKind())
	}
	wrong := all[len(all)-1]
	best, distance := "", len(wrong)/2+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(wrong), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return "; see assay kubectl explain " + strings.ToLower(o.GetKind()) + " --recursive"
	}
	return fmt.Sprintf("; did you mean %q?", best)
}

// editDistance is Levenshtein's.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		diagonal := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			diagonal, row[j] = row[j], min(row[j]+1, row[j-1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
