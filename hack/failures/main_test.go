package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShow(t *testing.T) {
	const in = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:1: b\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:1: why\n"}
not JSON
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"fail","Package":"p"}
last`
	const want = `=== RUN   TestA
    b_test.go:1: b
    a_test.go:1: why
not JSON
FAIL
last
FAILED: TestA
=== RUN   TestA
    a_test.go:1: why
`
	var out strings.Builder
	if err := show(strings.NewReader(in), &out); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Errorf("shown (-want +got):\n%s", d)
	}
}

func TestOnlyTheLastLines(t *testing.T) {
	var in, out strings.Builder
	for range 5 * lines {
		in.WriteString(`{"Action":"output","Test":"TestA","Output":"x\n"}` + "\n")
	}
	in.WriteString(`{"Action":"output","Test":"TestA","Output":"end\n"}` + "\n" + `{"Action":"fail","Test":"TestA"}` + "\n")
	if err := show(strings.NewReader(in.String()), &out); err != nil {
		t.Fatal(err)
	}
	_, last, _ := strings.Cut(out.String(), "FAILED: TestA\n")
	if want := strings.Repeat("x\n", lines-1) + "end\n"; last != want {
		t.Errorf("%d lines are shown again, want the last %d:\n%s", strings.Count(last, "\n"), lines, last)
	}
}
