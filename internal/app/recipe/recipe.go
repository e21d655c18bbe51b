// Package recipe reads the YAML that people apply, and keeps the position of every field, so that each error names a
// file, a line and a column.
package recipe

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	sigsyaml "sigs.k8s.io/yaml"

	"assay.bench/api/v1alpha1"
)

// Object is one object of a recipe.
type Object struct {
	*unstructured.Unstructured
	// File that the object was read from.
	File string
	root *yaml.Node
}

// Error is what is wrong with a recipe, where, and what to do.
type Error struct {
	File         string
	Line, Column int
	// Path of the field, such as spec.clients[0].duration; empty where the whole object is meant.
	Path    string
	Message string
}

// Error writes file:line:column: path: message.
func (e *Error) Error() string {
	at := fmt.Sprintf("%s:%d:%d: ", e.File, e.Line, e.Column)
	if e.Path == "" {
		return at + e.Message
	}
	return at + e.Path + ": " + e.Message
}

// maxObjects bounds the work on one file.
const maxObjects = 1000

// Parse reads the objects of a file. Lists of kind List are not expanded. The error is an *Error.
func Parse(file string, content []byte) ([]Object, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var out []Object
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, syntaxError(file, content, err)
		}
		if len(document.Content) == 0 || isNull(document.Content[0]) {
			continue
		}
		if root := document.Content[0]; len(out) == maxObjects {
			return nil, &Error{File: file, Line: root.Line, Column: root.Column, Message: fmt.Sprintf("the file holds more than %d objects: put those from here on into another file", maxObjects)}
		}
		object, err := newObject(file, document.Content[0])
		if err != nil {
			return nil, err
		}
		out = append(out, object)
	}
	if len(out) == 0 {
		return nil, &Error{File: file, Line: 1, Column: 1, Message: "the file holds no object; begin with apiVersion: assay.bench/v1alpha1"}
	}
	return out, nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func newObject(file string, root *yaml.Node) (Object, error) {
	at := func(message string) error {
		return &Error{File: file, Line: root.Line, Column: root.Column, Message: message}
	}
	if root.Kind != yaml.MappingNode {
		return Object{}, at("an object is a map with apiVersion, kind, metadata and spec")
	}
	if err := checkKeys(file, root, 0); err != nil {
		return Object{}, err
	}
	text, err := yaml.Marshal(root)
	if err != nil {
		return Object{}, at("the object cannot be read: " + err.Error())
	}
	var content map[string]any
	if err := sigsyaml.Unmarshal(text, &content); err != nil {
		return Object{}, at("the object cannot be read: " + err.Error())
	}
	o := Object{Unstructured: &unstructured.Unstructured{Object: content}, File: file, root: root}
	for _, field := range []string{"apiVersion", "kind"} {
		if s, _, _ := unstructured.NestedString(content, field); s == "" {
			return o, at(field + " is missing")
		}
	}
	if err := o.checkKind(); err != nil {
		return o, err
	}
	if name, _, _ := unstructured.NestedString(content, "metadata", "name"); name == "" {
		return o, o.At("metadata", "metadata.name is missing")
	}
	return o, nil
}

// checkKind refuses what only looks like one of our kinds, which would be taken for somebody else's.
func (o Object) checkKind() error {
	want := v1alpha1.SchemeGroupVersion
	group, version, _ := strings.Cut(o.GetAPIVersion(), "/")
	switch ours := slices.Contains(kindNames(), o.GetKind()); {
	case group == want.Group && version != want.Version:
		return o.At("apiVersion", fmt.Sprintf("there is no version %q of %s: use %s", version, group, want))
	case group == want.Group && !ours:
		words := "the kinds are " + strings.Join(kindNames(), ", ")
		if best := nearest(o.GetKind(), kindNames()); best != "" {
			words = fmt.Sprintf("did you mean %q?", best)
		}
		return o.At("kind", fmt.Sprintf("there is no kind %q in %s; %s", o.GetKind(), want, words))
	case group != want.Group && strings.HasPrefix(group, "assay"), o.GetKind() == "Benchmark" && version == "":
		return o.At("apiVersion", fmt.Sprintf("there is no %s in %s: use %s", o.GetKind(), o.GetAPIVersion(), want))
	}
	return nil
}

// maxDepth bounds the nesting of a recipe: deeper than any object of ours.
const maxDepth = 64

// checkKeys refuses a key that stands twice, which the API server would not see.
func checkKeys(file string, n *yaml.Node, depth int) error {
	if depth > maxDepth {
		return &Error{File: file, Line: n.Line, Column: n.Column, Message: "the object is nested too deeply"}
	}
	if n.Kind == yaml.AliasNode {
		return &Error{File: file, Line: n.Line, Column: n.Column, Message: "aliases are not supported: write the value out"}
	}
	seen := map[string]bool{}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if seen[c.Value] {
				return &Error{File: file, Line: c.Line, Column: c.Column, Message: fmt.Sprintf("the field %q stands twice", c.Value)}
			}
			seen[c.Value] = true
			continue
		}
		if err := checkKeys(file, c, depth+1); err != nil {
			return err
		}
	}
	return nil
}

var yamlLine = regexp.MustCompile(`line (\d+): `)

// syntaxError takes the line out of the parser's words.
func syntaxError(file string, content []byte, err error) error {
	line := 1
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	if m := yamlLine.FindStringSubmatchIndex(message); m != nil {
		line, _ = strconv.Atoi(message[m[2]:m[3]]) // the expression matched digits
		message = message[m[1]:]
		if strings.HasPrefix(message, "did not find expected") {
			line++ // these errors of the library count lines from 0, the others from 1
		}
	}
	return &Error{File: file, Line: max(1, min(line, bytes.Count(content, []byte{'\n'})+1)), Column: 1, Message: "this is not YAML: " + message}
}

// At makes an error at a field. Where the field is not in the file, the nearest parent that is gives the position.
func (o Object) At(path, message string) *Error {
	n := o.find(path)
	return &Error{File: o.File, Line: n.Line, Column: n.Column, Path: path, Message: message}
}

// find returns the node of a path, or of its nearest parent. A map's field is found at its key.
func (o Object) find(path string) *yaml.Node {
	at, _ := o.walk(path)
	return at
}

// value returns what stands at a path, or at its nearest parent.
func (o Object) value(path string) *yaml.Node {
	_, value := o.walk(path)
	return value
}

func (o Object) walk(path string) (at, value *yaml.Node) {
	at, value = o.root, o.root
	for _, step := range steps(path) {
		key, next := child(value, step)
		if next == nil {
			break
		}
		at, value = key, next
	}
	return at, value
}

// child returns where a step stands and the value there.
func child(n *yaml.Node, step string) (at, value *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == step {
				return n.Content[i], n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(step); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i], n.Content[i]
		}
	}
	return nil, nil
}

// steps cuts spec.services[0].llmsim, or metadata.labels[a.b/c], into its parts.
func steps(path string) []string {
	var out []string
	for path != "" {
		switch i := strings.IndexAny(path, ".["); {
		case i < 0:
			return append(out, path)
		case path[i] == '.':
			if i > 0 {
				out = append(out, path[:i])
			}
			path = path[i+1:]
		default:
			if i > 0 {
				out = append(out, path[:i])
			}
			end := strings.IndexByte(path[i:], ']')
			if end < 0 {
				return append(out, path[i+1:])
			}
			out = append(out, strings.Trim(path[i+1:i+end], `"'`))
			path = path[i+end+1:]
		}
	}
	return out
}
