// Failures shows what 'go test -v -json' writes to its standard input as 'go test -v' would, and at the end once more the
// last lines of each test that failed: among a thousand lines of tests side by side nobody finds them.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
)

// lines is how many of a test's last are shown again.
const lines = 40

func main() {
	if err := show(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "failures:", err)
		os.Exit(1)
	}
}

// event is a line of 'go doc test2json', as far as it matters here.
type event struct {
	Action, Package, Test, Output string
}

// show ends with an error only when it cannot read or write: that a test failed is go test's to say.
func show(in io.Reader, out io.Writer) error {
	type test struct{ of, name string }
	said, failed := map[test][]string{}, []test{}
	r := bufio.NewReader(in)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return err
		}
		e := event{}
		if json.Unmarshal(line, &e) != nil {
			e.Output = string(line) // the build's own words, or those of a program that died
		}
		if _, err := io.WriteString(out, e.Output); err != nil {
			return err
		}
		t := test{e.Package, e.Test}
		switch e.Action {
		case "output":
			said[t] = append(said[t], e.Output)
			if n := len(said[t]); n > 2*lines {
				said[t] = slices.Delete(said[t], 0, n-lines)
			}
		case "fail":
			if e.Test != "" {
				failed = append(failed, t)
			}
		case "pass", "skip":
			delete(said, t)
		}
		if err == io.EOF {
			break
		}
	}
	for _, t := range failed {
		fmt.Fprintf(out, "\nFAILED: %s\n", t.name)
		last := said[t]
		for _, line := range last[max(0, len(last)-lines):] {
			fmt.Fprint(out, line)
		}
	}
	return nil
}
