package inference

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// split reads events from pieces of the given sizes, over and over.
func split(text []byte, sizes ...int) (all []string) {
	var e events
	e.reset()
	return splitWith(&e, text, sizes...)
}

func splitWith(e *events, text []byte, sizes ...int) (all []string) {
	for i := 0; len(text) > 0; i++ {
		n := min(len(text), max(1, sizes[i%len(sizes)]))
		e.feed(text[:n])
		for data, found := e.next(); found; data, found = e.next() {
			all = append(all, string(data))
		}
		text = text[n:]
	}
	if data, found := e.rest(); found {
		all = append(all, "rest:"+string(data))
	}
	return all
}

func TestEvents(t *testing.T) {
	for name, c := range map[string]struct {
		reason, in string
		want       []string
	}{
		"two":        {"a blank line ends an event", "data: a\n\ndata: b\n\n", []string{"a", "b"}},
		"crlf":       {"CRLF and CR end lines too", "data: a\r\n\r\ndata: b\r\rdata: c\n\n", []string{"a", "b", "c"}},
		"crlf lines": {"a LF after a CR is no blank line", "data: a\r\ndata: b\r\n\r\n", []string{"a\nb"}},
		"no space":   {"one space after the colon goes, if it is there", "data:a\n\ndata:  b\n\n", []string{"a", " b"}},
		"many lines": {"data lines are joined", "data: a\ndata: b\ndata\n\n", []string{"a\nb\n"}},
		"others":     {"comments and other fields are dropped", ": ping\n\nevent: x\nid: 1\ndatum: no\ndata: a\n: c\n\n", []string{"a"}},
		"empty":      {"an event of empty data is one", "data:\n\n", []string{""}},
		"cut":        {"what the end of the stream cut off", "data: a\n\ndata: b\n", []string{"a", "rest:b"}},
		"cut line":   {"even inside a line", "data: [DONE]", []string{"rest:[DONE]"}},
	} {
		t.Run(name, func(t *testing.T) {
			for size := 1; size <= len(c.in); size++ {
				if diff := cmp.Diff(c.want, split([]byte(c.in), size)); diff != "" {
					t.Fatalf("%s, in pieces of %d (-want +got):\n%s", c.reason, size, diff)
				}
			}
		})
	}
}

// Without a limit a server that never ends a line would fill the memory.
func TestLongEvents(t *testing.T) {
	line := func(n int) string { return "data: " + strings.Repeat("x", n-len("data: ")) }
	half := line(longestEvent/2+10) + "\n"
	for name, c := range map[string]struct {
		reason, in string
		events     int
		long       bool
	}{
		"longest":         {"up to the limit it is an event", line(longestEvent) + "\n\n", 1, false},
		"line":            {"one more byte is too many", "data: a\n\n" + line(longestEvent+1) + "\n\ndata: b\n\n", 1, true},
		"no end":          {"the end of the line is not waited for", line(longestEvent + 1), 0, true},
		"comment":         {"whatever the line is", ": " + strings.Repeat("x", longestEvent), 0, true},
		"many lines":      {"the lines of an event count together", half + half + "\n", 0, true},
		"many events":     {"those of two do not", half + "\n" + half + "\n", 2, false},
		"cut, many lines": {"what is too long is no rest either", half + strings.TrimRight(half, "\n"), 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			for _, size := range []int{len(c.in), 64 << 10, 1000} {
				var e events
				e.reset()
				if got := len(splitWith(&e, []byte(c.in), size)); got != c.events || e.long != c.long {
					t.Errorf("%s, in pieces of %d: %d events, too long %t; want %d, %t", c.reason, size, got, e.long, c.events, c.long)
				}
				if most := max(cap(e.line), cap(e.data)); most > 3*longestEvent/2 {
					t.Errorf("%s, in pieces of %d: %d KiB are kept", c.reason, size, most>>10)
				}
			}
		})
	}
}

func FuzzEvents(f *testing.F) {
	f.Add([]byte("data: a\n\ndata: b\r\n\r\n: c\n\n"), uint8(3), uint8(1))
	f.Add([]byte("data: a\rdata: b\r\r\n\n"), uint8(1), uint8(2))
	f.Add([]byte("data\n\ndata"), uint8(7), uint8(1))
	f.Fuzz(func(t *testing.T, in []byte, a, b uint8) {
		whole, pieces := split(in, len(in)), split(in, int(a), int(b))
		if diff := cmp.Diff(whole, pieces); diff != "" {
			t.Errorf("the pieces matter (-whole +pieces):\n%s", diff)
		}
	})
}

func TestScanChunk(t *testing.T) {
	for name, c := range map[string]struct {
		reason, in string
		want       chunk
		invalid    bool
	}{
		"text":         {"a completion", `{"choices":[{"index":0,"text":" a","logprobs":null}]}`, chunk{true, false, -1, -1}, false},
		"quotes":       {"escapes inside a string", `{"x":"\\\"}]","choices":[{"text":"\\"}]}`, chunk{true, false, -1, -1}, false},
		"second":       {"any choice counts", `{"choices":[{"text":""},{"text":"b"}]}`, chunk{true, false, -1, -1}, false},
		"usage":        {"in a chunk of its own", `{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":4,"x":{"y":[1]}}}`, chunk{false, false, 3, 4}, false},
		"null":         {"nulls say nothing", `{"choices":null,"usage":null,"error":null,"object":null}`, chunk{false, false, -1, -1}, false},
		"odd usage":    {"what is no whole number says nothing", `{"usage":{"prompt_tokens":-3,"completion_tokens":4.5}}`, chunk{false, false, -1, -1}, false},
		"role":         {"no content", `{"choices":[{"delta":{"role":"assistant","content":""}}]}`, chunk{false, false, -1, -1}, false},
		"tools":        {"a tool call is content", `{"choices":[{"delta":{"tool_calls":[{"a":1}]}}]}`, chunk{true, false, -1, -1}, false},
		"no tools":     {"an empty list is none", `{"choices":[{"delta":{"tool_calls":[ ]}}]}`, chunk{false, false, -1, -1}, false},
		"error":        {"an error", `{"error":{"message":"x"}}`, chunk{false, true, -1, -1}, false},
		"error object": {"an error as older vLLM writes it", `{"object":"error","message":"x"}`, chunk{false, true, -1, -1}, false},
		"spaces":       {"JSON may have them", " {\n\"choices\" : [ { \"text\" : \"a\" } ] } ", chunk{true, false, -1, -1}, false},
		"cut":          {"a cut object", `{"choices":[{"text":"a"`, chunk{}, true},
		"array":        {"not an object", `[1]`, chunk{}, true},
		"two":          {"more than one", `{}{}`, chunk{}, true},
		"comma":        {"a list without its comma", `{"a":1 "b":2}`, chunk{}, true},
		"word":         {"no JSON at all", `Internal Server Error`, chunk{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			got, valid := scanChunk([]byte(c.in))
			if valid == c.invalid {
				t.Fatalf("%s: valid %t", c.reason, valid)
			}
			if valid && got != c.want {
				t.Errorf("%s: got %+v, want %+v", c.reason, got, c.want)
			}
		})
	}
}

// FuzzScanChunk compares with encoding/json on whatever that accepts.
func FuzzScanChunk(f *testing.F) {
	for _, seed := range []string{
		`{"choices":[{"index":0,"text":"a"}],"usage":{"prompt_tokens":1,"completion_tokens":2}}`,
		`{"choices":[{"delta":{"content":"a","role":"b","tool_calls":[1]}}],"error":null}`,
		`{"object":"error"}`, `{"error":{}}`, `{"usage":{"prompt_tokens":1e3}}`, `{"a":[{"b":"]}"},1,-2.5e7,true,null]}`, `{`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		got, valid := scanChunk(in)
		var v map[string]any
		err := json.Unmarshal(in, &v)
		if bytes.ContainsRune(in, '\\') || !isObject(in) || hasTwice(in) {
			return // keys may be written with escapes, and of two equal keys the last counts there
		}
		if err == nil && !valid {
			if !shaped(v) {
				return // JSON, but not the shape that a server answers in
			}
			t.Fatalf("%s is refused", in)
		}
		if err != nil || !valid || !shaped(v) {
			return
		}
		if want := contentOf(v); got.content != want {
			t.Errorf("%s: content %t, want %t", in, got.content, want)
		}
		object, _ := v["object"].(string)
		if want := v["error"] != nil || object == "error"; got.failure != want {
			t.Errorf("%s: failure %t, want %t", in, got.failure, want)
		}
	})
}

func isObject(in []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(in, " \t\r\n"), []byte("{"))
}

// hasTwice says that a key may stand twice: one that we look at.
func hasTwice(in []byte) bool {
	for _, key := range []string{"choices", "usage", "error", "object", "text", "delta", "content", "tool_calls", "reasoning"} {
		if strings.Count(string(in), `"`+key+`"`) > 1 {
			return true
		}
	}
	return strings.Count(string(in), `"reasoning_content"`) > 1
}

// shaped says that choices and usage have the types of the API.
func shaped(v map[string]any) bool {
	choices, isList := v["choices"].([]any)
	if v["choices"] != nil && !isList {
		return false
	}
	for _, c := range choices {
		choice, isMap := c.(map[string]any)
		if !isMap {
			return false
		}
		if _, isMap := choice["delta"].(map[string]any); choice["delta"] != nil && !isMap {
			return false
		}
	}
	_, isMap := v["usage"].(map[string]any)
	return v["usage"] == nil || isMap
}

func contentOf(v map[string]any) bool {
	choices, _ := v["choices"].([]any)
	for _, c := range choices {
		choice := c.(map[string]any)
		delta, _ := choice["delta"].(map[string]any)
		for _, s := range []any{choice["text"], delta["content"], delta["reasoning"], delta["reasoning_content"]} {
			if s, isText := s.(string); isText && s != "" {
				return true
			}
		}
		if calls, _ := delta["tool_calls"].([]any); len(calls) > 0 {
			return true
		}
	}
	return false
}

// Parsing an event allocates nothing.
func TestParsingAllocatesNothing(t *testing.T) {
	answer := []byte(event(`{"choices":[{"text":"hello"}],"usage":{"completion_tokens":7}}`) + ": ping\n\n" +
		event(`{"choices":[{"text":"there"}],"usage":{"completion_tokens":8}}`))
	var e events
	found := 0
	read := func() {
		e.feed(answer)
		for data, more := e.next(); more; data, more = e.next() {
			if c, valid := scanChunk(data); valid && c.content {
				found++
			}
		}
	}
	read()
	if n := testing.AllocsPerRun(1000, read); n != 0 {
		t.Errorf("%v allocations for two events, want 0", n)
	}
	if found != 2*1002 {
		t.Errorf("%d chunks with content, want 2004", found)
	}
}
