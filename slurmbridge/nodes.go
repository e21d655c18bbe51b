package slurmbridge

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var nodeName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?$`)

// isNodeName says whether a text is the name of one node: nothing that a batch system would take for a list or a file.
func isNodeName(text string) bool { return nodeName.MatchString(text) }

// NodeNames takes a list in the batch system's notation apart, such as mel[2001-2003,2007],login1: the names in the
// order of the list. It refuses a list of more than most nodes, and one that it does not understand.
func NodeNames(list string, most int) ([]string, error) {
	var out []string
	for rest := list; rest != ""; {
		var one string
		if one, rest = firstOfList(rest); one == "" {
			return nil, fmt.Errorf("%q is not a list of nodes", list)
		}
		names, err := spread(one, most-len(out))
		if err != nil {
			return nil, fmt.Errorf("the list of nodes %.200q: %w", list, err)
		}
		out = append(out, names...)
	}
	return out, nil
}

// firstOfList cuts a list at the first comma that is outside of brackets.
func firstOfList(list string) (first, rest string) {
	depth := 0
	for i, r := range list {
		switch {
		case r == '[':
			depth++
		case r == ']':
			depth--
		case r == ',' && depth == 0:
			return list[:i], list[i+1:]
		}
	}
	return list, ""
}

// spread writes out the brackets of one entry, the first ones first.
func spread(entry string, most int) ([]string, error) {
	before, rest, found := strings.Cut(entry, "[")
	if !found {
		if most < 1 {
			return nil, errTooMany
		}
		if !isNodeName(entry) {
			return nil, fmt.Errorf("%q is not the name of a node", entry)
		}
		return []string{entry}, nil
	}
	inside, after, closed := strings.Cut(rest, "]")
	if !closed {
		return nil, fmt.Errorf("%q has a bracket that is not closed", entry)
	}
	var out []string
	for numbers := range strings.SplitSeq(inside, ",") {
		first, last, width, err := span(numbers)
		if err != nil {
			return nil, err
		}
		for n := first; n <= last; n++ {
			names, err := spread(fmt.Sprintf("%s%0*d%s", before, width, n, after), most-len(out))
			if err != nil {
				return nil, err
			}
			out = append(out, names...)
		}
	}
	return out, nil
}

// errTooMany ends the writing out of a list that is longer than anybody wants.
var errTooMany = errors.New("it names more nodes than were asked for")

// span reads 7 or 001-012, and the width of its numbers.
func span(text string) (first, last uint64, width int, err error) {
	low, high, isSpan := strings.Cut(text, "-")
	if !isSpan {
		high = low
	}
	first, err = strconv.ParseUint(low, 10, 32)
	if err == nil {
		last, err = strconv.ParseUint(high, 10, 32)
	}
	if err != nil || last < first {
		return 0, 0, 0, fmt.Errorf("%q is not a number or a span of numbers", text)
	}
	return first, last, len(low), nil
}
