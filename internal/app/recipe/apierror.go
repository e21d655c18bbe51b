package recipe

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
)

// Explain turns what the API server or a check of ours said about the object into errors with positions. An error that
// names no field is put at the object.
func (o Object) Explain(err error) []*Error {
	if field, ok := errors.AsType[*v1alpha1.FieldError](err); ok {
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
		e := o.At(field, o.plain(field, c.Message))
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

// plain says in plain words what the API server means: the position shows the field and the object better.
func (o Object) plain(path, message string) string {
	m := schemaWords.FindString(message)
	if m == "" {
		return message
	}
	rest := strings.TrimPrefix(message, m)
	value := strings.TrimSuffix(strings.TrimPrefix(m, "Invalid value: "), ": ")
	rest = strings.TrimPrefix(rest, path+" in body ")
	rest = strings.TrimPrefix(rest, path+": Invalid value: ")
	if t := ofType.FindStringSubmatch(rest); t != nil {
		return o.written(path) + " is not " + typeWords(t[1])
	}
	if t := pattern.FindStringSubmatch(rest); t != nil {
		rest = patternWords(t[1])
	}
	if strings.HasPrefix(value, "{") || strings.HasPrefix(value, "[") || value == `"object"` || value == "null" || value == "" {
		return rest
	}
	return fmt.Sprintf("%s is not valid: %s", value, rest)
}

var (
	ofType  = regexp.MustCompile(`must be of type (\w+): "`)
	pattern = regexp.MustCompile(`^should match '(.*)'$`)
)

func typeWords(schema string) string {
	switch schema {
	case "integer":
		return "a whole number"
	case "number":
		return "a number"
	case "string":
		return "a text: put it in quotes"
	case "boolean":
		return "true or false"
	case "array":
		return "a list: begin each item with a dash"
	case "object":
		return "a map of fields"
	}
	return "of the type " + schema
}

// written is what stands in the file at a path.
func (o Object) written(path string) string {
	switch n := o.value(path); n.Kind {
	case yaml.ScalarNode:
		return strconv.Quote(n.Value)
	case yaml.SequenceNode:
		return "a list"
	}
	return "a map of fields"
}

// patternWords say what the patterns of the API's own types want.
func patternWords(pattern string) string {
	for _, known := range [][2]string{
		{`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`, "write a length of time such as 500ms, 90s or 1h30m"},
		{`^([0-9]+(\.[0-9]+)?(us|ms|s))+$`, "write a length of time such as 250us, 30ms or 2s"},
		{`^([0-9]+(\.[0-9]+)?(us|ms|s|m|h))+$|^[0-9]+(\.[0-9]+)?$`, "write a length of time such as 500ms, or a number such as 0.99"},
		{`^[0-9]+(\.[0-9]+)?(Ki|Mi|Gi|Ti|k|M|G|T)?$`, "write an amount of bytes such as 64Gi or 500M"},
		{`^[0-9]+(\.[0-9]+)?$`, "write a number such as 12 or 0.05, in quotes"},
		{`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`, "use lower-case letters, digits and dashes, with a letter or a digit at both ends"},
		{`^/[^\n\x00]*$`, "write an absolute path, which begins with /"},
		{`^/[^ \n]*$`, "write a path that begins with / and has no spaces"},
		{`^sha256:[0-9a-f]{64}$`, "write sha256: and 64 hexadecimal digits"},
	} {
		if known[0] == pattern {
			return known[1]
		}
	}
	return "it should match " + pattern
}

// suggest offers the field that is nearest in spelling among those that may stand there, or lists them.
func (o Object) suggest(path string) string {
	all := steps(path)
	if len(all) == 0 {
		return "; see assay kubectl explain " + strings.ToLower(o.GetKind())
	}
	known := fieldsAt(o.GetKind(), all[:len(all)-1])
	if best := nearest(all[len(all)-1], known); best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	const few = 16
	if len(known) > 0 && len(known) <= few {
		return "; the fields there are " + strings.Join(known, ", ")
	}
	return "; see assay kubectl explain " + strings.ToLower(o.GetKind()) + " --recursive"
}

// nearest is the word that is nearest in spelling, or "" when all are far off.
func nearest(wrong string, known []string) string {
	best, distance := "", len(wrong)/2+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(wrong), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	return best
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
