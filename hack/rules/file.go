package main

import (
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
)

// The longest that a file and a function may be without a written reason.
const (
	fileLines     = 400
	testFileLines = 800
	funcLines     = 60
)

// reason is the comment that lets a file (before its first declaration) or a function (in its doc) be longer.
var reason = regexp.MustCompile(`(?m)^//assay:long [^\s].{14,}$`)

// openEnd finds the words that mark work left undone.
var openEnd = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

type file struct {
	path  string
	set   *token.FileSet
	ast   *ast.File
	lines int
	test  bool
}

func load(path string) (file, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return file{}, fmt.Errorf("read: %w", err)
	}
	set := token.NewFileSet()
	parsed, err := parser.ParseFile(set, path, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, fmt.Errorf("parse: %w", err)
	}
	lines := strings.Count(string(source), "\n")
	return file{path: path, set: set, ast: parsed, lines: lines, test: strings.HasSuffix(path, "_test.go")}, nil
}

// check returns the faults within one file; generated ones have none.
func (f file) check() []string {
	if ast.IsGenerated(f.ast) {
		return nil
	}
	faults := slices.Concat(f.length(), f.functions(), f.comments())
	if f.test {
		faults = append(faults, f.calls()...)
	}
	return faults
}

// ignored tells whether a build constraint keeps the file out of every build, as that of a file that only names tools.
func (f file) ignored() bool {
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if expr, err := constraint.Parse(c.Text); err == nil && c.Pos() < f.ast.Package {
				return !expr.Eval(func(tag string) bool { return tag != "tools" && tag != "ignore" })
			}
		}
	}
	return false
}

func (f file) fault(at token.Pos, format string, args ...any) string {
	return fmt.Sprintf("%s:%d: %s", f.path, f.set.Position(at).Line, fmt.Sprintf(format, args...))
}

func (f file) length() []string {
	limit := fileLines
	if f.test {
		limit = testFileLines
	}
	if f.lines <= limit || f.reasoned() {
		return nil
	}
	return []string{f.fault(f.ast.FileStart, "%d lines, the limit is %d: split it by concern, or say why not with //assay:long REASON above its first declaration", f.lines, limit)}
}

// reasoned looks for the reason above the first declaration, imports aside.
func (f file) reasoned() bool {
	first := f.ast.FileEnd
	for _, d := range f.ast.Decls {
		if g, ok := d.(*ast.GenDecl); !ok || g.Tok != token.IMPORT {
			first = d.Pos()
			break
		}
	}
	return slices.ContainsFunc(f.ast.Comments, func(g *ast.CommentGroup) bool { return g.Pos() < first && hasReason(g) })
}

func hasReason(g *ast.CommentGroup) bool {
	return g != nil && slices.ContainsFunc(g.List, func(c *ast.Comment) bool { return reason.MatchString(c.Text) })
}

func (f file) functions() []string {
	var faults []string
	for _, d := range f.ast.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Body == nil {
			continue
		}
		lines := f.span(fn)
		if f.test {
			lines -= f.dataLines(fn)
		}
		if lines > funcLines && !hasReason(fn.Doc) {
			faults = append(faults, f.fault(fn.Pos(), "func %s has %d lines, the limit is %d: it is two things, or its doc says why not with //assay:long REASON", fn.Name.Name, lines, funcLines))
		}
		if fn.Name.Name == "init" && fn.Recv == nil {
			faults = append(faults, f.fault(fn.Pos(), "func init: register in a list that one can read"))
		}
	}
	return faults
}

// span counts the lines of n.
func (f file) span(n ast.Node) int {
	return f.set.Position(n.End()).Line - f.set.Position(n.Pos()).Line + 1
}

// dataLines counts the lines between the braces of literals: the table of a test is data and may be long.
func (f file) dataLines(fn *ast.FuncDecl) int {
	lines := 0
	ast.Inspect(fn, func(n ast.Node) bool {
		if _, ok := n.(*ast.CompositeLit); ok {
			lines += max(0, f.span(n)-2)
			return false
		}
		return true
	})
	return lines
}

func (f file) comments() []string {
	var faults []string
	for _, group := range f.ast.Comments {
		for _, c := range group.List {
			if word := openEnd.FindString(c.Text); word != "" {
				faults = append(faults, f.fault(c.Pos(), "%s in a comment: do it now, or file it and say here what holds today", word))
			}
		}
	}
	return faults
}

// calls finds what a test must not do: sleep, since it is either too short or too long, and skip, since nobody looks.
// In a bubble of testing/synctest a sleep is exact: a file that imports it may sleep, and so may a line that says so.
func (f file) calls() []string {
	var faults []string
	bubble := f.bubbles()
	ast.Inspect(f.ast, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		receiver, ok := sel.X.(*ast.Ident)
		if !ok {
			return true
		}
		switch receiver.Name + "." + sel.Sel.Name {
		case "time.Sleep":
			if bubble(call.Pos()) {
				break
			}
			faults = append(faults, f.fault(call.Pos(), "time.Sleep in a test: use testing/synctest, or wait for a condition with a deadline"))
		case "t.Skip", "t.Skipf", "t.SkipNow", "b.Skip", "b.Skipf", "b.SkipNow", "tb.Skip", "tb.Skipf", "tb.SkipNow":
			faults = append(faults, f.fault(call.Pos(), "%s.%s: a test that does not run proves nothing; make what it needs, or fail", receiver.Name, sel.Sel.Name))
		}
		return true
	})
	return faults
}

// bubbles returns whether the clock at a place is that of a synctest bubble.
func (f file) bubbles() func(token.Pos) bool {
	if slices.ContainsFunc(f.ast.Imports, func(i *ast.ImportSpec) bool { return i.Path.Value == `"testing/synctest"` }) {
		return func(token.Pos) bool { return true }
	}
	lines := map[int]bool{}
	for _, group := range f.ast.Comments {
		if strings.Contains(group.Text(), "synctest") {
			lines[f.set.Position(group.Pos()).Line] = true
		}
	}
	return func(at token.Pos) bool { return lines[f.set.Position(at).Line] }
}

// checkScript looks for open ends in a shell script or a Makefile.
func checkScript(path string) ([]string, error) {
	source, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	var faults []string
	for i, line := range strings.Split(string(source), "\n") {
		if _, comment, ok := strings.Cut(line, "#"); ok && openEnd.MatchString(comment) {
			faults = append(faults, fmt.Sprintf("%s:%d: %s in a comment: do it now", path, i+1, openEnd.FindString(comment)))
		}
	}
	return faults, nil
}

// undocumented names the folders whose package has no comment.
func undocumented(documented map[string]bool) []string {
	var faults []string
	for _, dir := range slices.Sorted(maps.Keys(documented)) {
		if !documented[dir] {
			faults = append(faults, dir+": the package has no comment; one useful sentence above a package clause")
		}
	}
	return faults
}
