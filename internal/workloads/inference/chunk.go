package inference

// chunk is what one event of an answer says.
type chunk struct {
	// content: at least one choice has text, a delta's content or reasoning, or a tool call.
	content bool
	// failure: the event is an error.
	failure bool
	// input and output are the tokens so far by usage; -1 where the event has none.
	input, output int
}

// scanChunk reads an event of either API in one pass over its bytes, without making objects of it. It is false for what
// is not a JSON object.
func scanChunk(b []byte) (chunk, bool) {
	c := chunk{input: -1, output: -1}
	s := scanner{b: b}
	for n, more := 0, s.open('{'); more; n++ {
		var key []byte
		if key, more = s.key(n); !more {
			break
		}
		switch string(key) {
		case "choices":
			s.choices(&c)
		case "usage":
			s.usage(&c)
		case "error":
			if !s.null() {
				s.skip()
				c.failure = true
			}
		case "object":
			c.failure = string(s.text()) == "error" || c.failure
		default:
			s.skip()
		}
	}
	s.space()
	return c, !s.bad && s.i == len(s.b)
}

func (s *scanner) choices(c *chunk) {
	if s.null() {
		return
	}
	for n, more := 0, s.open('['); more; n++ {
		if more = s.element(n); more {
			s.choice(c)
		}
	}
}

func (s *scanner) choice(c *chunk) {
	for n, more := 0, s.open('{'); more; n++ {
		var key []byte
		if key, more = s.key(n); !more {
			return
		}
		switch string(key) {
		case "text":
			c.content = len(s.text()) > 0 || c.content
		case "delta":
			s.delta(c)
		default:
			s.skip()
		}
	}
}

func (s *scanner) delta(c *chunk) {
	if s.null() {
		return
	}
	for n, more := 0, s.open('{'); more; n++ {
		var key []byte
		if key, more = s.key(n); !more {
			return
		}
		switch string(key) {
		case "content", "reasoning_content", "reasoning":
			c.content = len(s.text()) > 0 || c.content
		case "tool_calls":
			c.content = s.filled() || c.content
		default:
			s.skip()
		}
	}
}

func (s *scanner) usage(c *chunk) {
	if s.null() {
		return
	}
	for n, more := 0, s.open('{'); more; n++ {
		var key []byte
		if key, more = s.key(n); !more {
			return
		}
		switch string(key) {
		case "prompt_tokens":
			c.input = s.number(c.input)
		case "completion_tokens":
			c.output = s.number(c.output)
		default:
			s.skip()
		}
	}
}
