package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

const head = `# API reference

Generated from the CRDs by ` + "`make generate`" + `; edit the comments in ` + "`api/`" + ` instead. ` + "`kubectl explain`" + ` shows the same text.
A field is written as its path; ` + "`[]`" + ` stands for each entry of a list, ` + "`{}`" + ` for each value of a map.

`

// write prints the page: a list of the kinds, then a chapter for each.
func write(out *bytes.Buffer, kinds []kind) {
	out.WriteString(head)
	for _, k := range kinds {
		fmt.Fprintf(out, "- [%s](#%s): %s\n", k.Name, strings.ToLower(k.Name), sentence(k.Schema.Description))
	}
	for _, k := range kinds {
		chapter(out, k)
	}
}

func chapter(out *bytes.Buffer, k kind) {
	fmt.Fprintf(out, "\n## %s\n\n%s\n\n", k.Name, strings.TrimSpace(k.Schema.Description))
	names := append([]string{k.Plural + "." + k.Group}, k.ShortNames...)
	fmt.Fprintf(out, "`apiVersion: %s/%s`, `kind: %s`; for kubectl `%s`.\n", k.Group, k.Version, k.Name, strings.Join(names, "`, `"))
	if len(k.Columns) > 0 {
		out.WriteString("\n| Column of `kubectl get` | Shows | Meaning |\n| --- | --- | --- |\n")
		for _, c := range k.Columns {
			name := c.Name
			if c.Priority > 0 {
				name += " (with `-o wide`)"
			}
			fmt.Fprintf(out, "| %s | `%s` | %s |\n", cell(name), cell(c.JSONPath), cell(c.Description))
		}
	}
	var crossField []string
	root := k.Schema
	note(&crossField, "the object", root.Rules)
	for _, part := range []string{"spec", "status"} {
		section, ok := root.Properties[part]
		if !ok {
			continue
		}
		fmt.Fprintf(out, "\n### %s %s\n\n| Field | Type | Limits | Meaning |\n| --- | --- | --- | --- |\n", k.Name, part)
		note(&crossField, "`"+part+"`", section.Rules)
		fields(out, "", section, func(path string, rules []rule) { note(&crossField, "`"+part+"."+path+"`", rules) })
	}
	if len(crossField) > 0 {
		fmt.Fprintf(out, "\n### %s rules between fields\n\n%s\n", k.Name, strings.Join(crossField, "\n"))
	}
}

// fields prints one row for each field below s, depth first and by name; visit sees the rules of each.
func fields(out *bytes.Buffer, prefix string, s schema, visit func(path string, rules []rule)) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		field, path := s.Properties[name], prefix+name
		limits := bounds(field)
		if slices.Contains(s.Required, name) {
			limits = append([]string{"required"}, limits...)
		}
		fmt.Fprintf(out, "| `%s` | %s | %s | %s |\n", path, typeOf(field), cell(strings.Join(limits, ", ")), cell(field.Description))
		visit(path, field.Rules)
		nested(out, path, field, visit)
	}
}

// nested descends through lists and maps to the next level that has named fields.
func nested(out *bytes.Buffer, path string, s schema, visit func(string, []rule)) {
	inner, mark := s.Items, "[]"
	if inner == nil {
		inner, mark = s.AdditionalProperties, "{}"
	}
	if inner == nil {
		fields(out, path+".", s, visit)
		return
	}
	visit(path+mark, inner.Rules)
	nested(out, path+mark, *inner, visit)
}

func typeOf(s schema) string {
	switch {
	case s.Items != nil:
		return "list of " + typeOf(*s.Items)
	case s.AdditionalProperties != nil:
		return "map of " + typeOf(*s.AdditionalProperties)
	case s.IntOrString:
		return "integer or string"
	case s.Format != "":
		return s.Type + " (" + s.Format + ")"
	default:
		return s.Type
	}
}

// bounds lists what a value of s must keep to; those of list entries follow the word each.
func bounds(s schema) []string {
	var out []string
	if s.Default != nil {
		out = append(out, "default `"+literal(s.Default)+"`")
	}
	if len(s.Enum) > 0 {
		values := make([]string, len(s.Enum))
		for i, v := range s.Enum {
			values[i] = "`" + strings.Trim(literal(v), `"`) + "`"
		}
		out = append(out, "one of "+strings.Join(values, ", "))
	}
	out = append(out, between(s.Minimum, s.Maximum, "")...)
	out = append(out, between(s.MinLength, s.MaxLength, " characters")...)
	out = append(out, between(s.MinItems, s.MaxItems, " entries")...)
	out = append(out, between(nil, s.MaxProperties, " keys")...)
	if s.Pattern != "" {
		out = append(out, "matches `"+s.Pattern+"`")
	}
	if s.Items != nil {
		if each := bounds(*s.Items); len(each) > 0 {
			out = append(out, "each "+strings.Join(each, ", "))
		}
	}
	return out
}

func between[N int | float64](low, high *N, unit string) []string {
	number := func(n N) string { return strconv.FormatFloat(float64(n), 'f', -1, 64) }
	switch {
	case low != nil && high != nil:
		return []string{number(*low) + " to " + number(*high) + unit}
	case low != nil:
		return []string{"at least " + number(*low) + unit}
	case high != nil:
		return []string{"at most " + number(*high) + unit}
	default:
		return nil
	}
}

func note(to *[]string, where string, rules []rule) {
	for _, r := range rules {
		message := r.Message
		if message == "" {
			message = strings.Trim(r.MessageExpression, `'"`)
		}
		*to = append(*to, fmt.Sprintf("- %s: %s", where, strings.Join(strings.Fields(message), " ")))
	}
}

func literal(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(raw)
}

// cell makes text fit into one cell of a Markdown table.
func cell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", `\|`)
}

// sentence is the first sentence of a description.
func sentence(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	first, _, found := strings.Cut(text, ". ")
	if found {
		return first + "."
	}
	return text
}
