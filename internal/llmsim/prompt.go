package llmsim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
)

// maxPrompts is the number of prompts that one request may carry.
const maxPrompts = 1024

// prompt is what the simulator needs to know of an input: its length and a hash of what it says.
type prompt struct {
	tokens int
	hash   uint64
}

// prompts is the field "prompt" of a completion: a string, a list of strings, token ids, or a list of lists of them.
type prompts []prompt

// UnmarshalJSON reads any of the four forms.
func (p *prompts) UnmarshalJSON(b []byte) error {
	switch formOf(b) {
	case `"`:
		return decodePrompts(p, b, func(s string) ([]prompt, error) { return []prompt{textPrompt(s)}, nil })
	case `["`:
		return decodePrompts(p, b, func(all []string) ([]prompt, error) {
			return each(all, func(s string) (prompt, error) { return textPrompt(s), nil })
		})
	case `[[`:
		return decodePrompts(p, b, func(all [][]int64) ([]prompt, error) { return each(all, tokenPrompt) })
	case `[`:
		return decodePrompts(p, b, func(ids []int64) ([]prompt, error) {
			one, err := tokenPrompt(ids)
			return []prompt{one}, err
		})
	}
	return errors.New("prompt must be a string, a list of strings, a list of token ids or a list of such lists")
}

// formOf returns the one or two characters that tell the form of a prompt, or "" for none of them.
func formOf(b []byte) string {
	b = bytes.TrimLeft(b, " \t\r\n")
	if len(b) == 0 {
		return ""
	}
	if b[0] != '[' {
		return string(b[:1])
	}
	b = bytes.TrimLeft(b[1:], " \t\r\n")
	if len(b) > 0 && (b[0] == '"' || b[0] == '[') {
		return "[" + string(b[:1])
	}
	return "["
}

// decodePrompts reads b as a T and stores what turn makes of it.
func decodePrompts[T any](p *prompts, b []byte, turn func(T) ([]prompt, error)) error {
	var v T
	if err := json.Unmarshal(b, &v); err != nil {
		return fmt.Errorf("prompt: %w", err)
	}
	all, err := turn(v)
	*p = all
	return err
}

func each[T any](all []T, turn func(T) (prompt, error)) ([]prompt, error) {
	out := make([]prompt, 0, len(all))
	for _, v := range all {
		one, err := turn(v)
		if err != nil {
			return nil, err
		}
		out = append(out, one)
	}
	return out, nil
}

func textPrompt(s string) prompt { return prompt{tokens: countWords(s), hash: hash64(s)} }

func tokenPrompt(ids []int64) (prompt, error) {
	h := fnv.New64a()
	var buf [8]byte
	for _, id := range ids {
		if id < 0 {
			return prompt{}, fmt.Errorf("token id %d is out of vocabulary: use ids of at least 0", id)
		}
		for i := range buf {
			buf[i] = byte(id >> (8 * i))
		}
		h.Write(buf[:])
	}
	return prompt{tokens: len(ids), hash: h.Sum64()}, nil
}

// message is one turn of a chat.
type message struct {
	Role    string  `json:"role"`
	Content content `json:"content"`
}

// content is the text of a message: a string, null, or a list of parts of which the texts count.
type content string

// UnmarshalJSON reads any of the three forms.
func (c *content) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		var parts []struct {
			Text string `json:"text"`
		}
		if err := json.Unmarshal(b, &parts); err != nil {
			return fmt.Errorf("content: %w", err)
		}
		for i, p := range parts {
			if i > 0 {
				*c += " "
			}
			*c += content(p.Text)
		}
		return nil
	}
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("content must be a string or a list of parts: %w", err)
	}
	*c = content(s)
	return nil
}

// chatPrompt is the prompt that a chat becomes: the words of its messages, one token for the role of each, and one
// that asks for the answer.
func chatPrompt(messages []message) prompt {
	p, text := prompt{tokens: 1}, ""
	for _, m := range messages {
		p.tokens += 1 + countWords(string(m.Content))
		text += m.Role + "\x00" + string(m.Content) + "\x00"
	}
	p.hash = hash64(text)
	return p
}
