package llmsim

import (
	"encoding/json"
	"strconv"
)

// api is one of the two APIs that generate text.
type api int

const (
	completions api = iota
	chats
)

// idPrefix stands before the request id in the id of an answer.
func (a api) idPrefix() string {
	if a == chats {
		return "chatcmpl-"
	}
	return "cmpl-"
}

func (a api) object(stream bool) string {
	switch {
	case a == completions:
		return "text_completion"
	case stream:
		return "chat.completion.chunk"
	}
	return "chat.completion"
}

// doneEvent ends a stream.
const doneEvent = "data: [DONE]\n\n"

// usage counts the tokens of an answer.
type usage struct{ prompt, completion int }

// wire words one answer. It only appends to buffers, since a stream has one event for each token.
type wire struct {
	api    api
	stream bool
	head   []byte // the fields that are the same in all events, up to the value of "choices"
}

func newWire(a api, stream bool, id, model string, created int64) wire {
	head := []byte(`{"id":`)
	head = append(head, quote(a.idPrefix()+id)...)
	head = append(head, `,"object":"`+a.object(stream)+`","created":`...)
	head = strconv.AppendInt(head, created, 10)
	head = append(head, `,"model":`...)
	head = append(head, quote(model)...)
	return wire{api: a, stream: stream, head: append(head, `,"choices":[`...)}
}

// quote returns s as a JSON string.
func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return []byte(`""`) // cannot be: every string has a JSON form
	}
	return b
}

// role appends the first event of a chat.
func (w wire) role(b []byte, u *usage) []byte {
	b = append(append(b, "data: "...), w.head...)
	b = append(b, `{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]`...)
	return append(closeUsage(b, u), '\n', '\n')
}

// token appends the event of one token. finish is empty unless it is the last one. Text must need no escapes in JSON.
func (w wire) token(b []byte, index int, text, finish string, u *usage) []byte {
	b = append(append(b, "data: "...), w.head...)
	b = w.choice(b, index, "delta", "", text, finish)
	return append(closeUsage(append(b, ']'), u), '\n', '\n')
}

// last appends the event that tells the usage.
func (w wire) last(b []byte, u usage) []byte {
	b = append(append(b, "data: "...), w.head...)
	return append(closeUsage(append(b, ']'), &u), '\n', '\n')
}

// open and close stand round the choices of a whole answer.
func (w wire) open(b []byte) []byte { return append(b, w.head...) }

func (w wire) close(b []byte, u usage) []byte { return closeUsage(append(b, ']'), &u) }

// whole appends the choice of a whole answer.
func (w wire) whole(b []byte, index int, text, finish string) []byte {
	return w.choice(b, index, "message", `"role":"assistant",`, text, finish)
}

// choice appends an element of "choices"; a chat holds the text in an object of the name field, behind role.
func (w wire) choice(b []byte, index int, field, role, text, finish string) []byte {
	b = strconv.AppendInt(append(b, `{"index":`...), int64(index), 10)
	if w.api == chats {
		b = append(append(append(b, `,"`...), field...), `":{`...)
		b = append(append(append(append(b, role...), `"content":"`...), text...), `"}`...)
	} else {
		b = append(append(append(b, `,"text":"`...), text...), '"')
	}
	b = append(b, `,"logprobs":null,"finish_reason":`...)
	if finish == "" {
		b = append(b, "null"...)
	} else {
		b = append(append(append(b, '"'), finish...), '"')
	}
	return append(b, `,"stop_reason":null}`...)
}

// closeUsage appends the usage, if any, and the end of the answer's object.
func closeUsage(b []byte, u *usage) []byte {
	if u == nil {
		return append(b, '}')
	}
	b = strconv.AppendInt(append(b, `,"usage":{"prompt_tokens":`...), int64(u.prompt), 10)
	b = strconv.AppendInt(append(b, `,"total_tokens":`...), int64(u.prompt+u.completion), 10)
	b = strconv.AppendInt(append(b, `,"completion_tokens":`...), int64(u.completion), 10)
	return append(b, "}}"...)
}
