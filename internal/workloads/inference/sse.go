package inference

import "bytes"

// events takes a stream of server-sent events apart, in whatever pieces it comes. It keeps only the data of an event;
// comments and other fields are dropped. It allocates nothing once its buffers have grown to the longest event.
type events struct {
	in   []byte // what was fed and not read yet
	line []byte // the beginning of a line whose end was not fed yet
	data []byte // the data of the event so far
	any  bool   // the event has data
	cr   bool   // the last line ended in CR, so that a LF now belongs to it
	long bool   // a line, or the data of an event, passed longestEvent: nothing more is read
}

// longestEvent is far more than any server puts into an event: whoever sends more without an end would fill the memory.
const longestEvent = 1 << 20

// reset forgets the stream before.
func (e *events) reset() {
	e.in, e.line, e.data = nil, e.line[:0], e.data[:0]
	e.any, e.cr, e.long = false, false, false
}

// feed gives the next piece; the one before must have been read to its end by next.
func (e *events) feed(piece []byte) { e.in = piece }

// next is the data of the next event whose end was fed. It holds until the call after it.
func (e *events) next() (data []byte, found bool) {
	if !e.any {
		e.data = e.data[:0]
	}
	for len(e.in) > 0 && !e.long {
		if e.cr && e.in[0] == '\n' {
			e.in, e.cr = e.in[1:], false
			continue
		}
		e.cr = false
		end := bytes.IndexByte(e.in, '\n')
		if cr := bytes.IndexByte(e.in[:max(end, 0)], '\r'); end < 0 {
			end = bytes.IndexByte(e.in, '\r')
		} else if cr >= 0 {
			end = cr
		}
		length := end
		if end < 0 {
			length = len(e.in)
		}
		if e.long = len(e.line)+length > longestEvent; e.long {
			return nil, false
		}
		if end < 0 {
			e.line = append(e.line, e.in...)
			e.in = nil
			return nil, false
		}
		line := e.in[:end]
		e.cr = e.in[end] == '\r'
		e.in = e.in[end+1:]
		if len(e.line) > 0 {
			e.line = append(e.line, line...)
			line = e.line
			e.line = e.line[:0]
		}
		if e.take(line) {
			e.any = false
			return e.data, true
		}
	}
	return nil, false
}

// take reads one line and says whether it ended an event that has data.
func (e *events) take(line []byte) bool {
	if len(line) == 0 {
		return e.any
	}
	value, isData := bytes.CutPrefix(line, []byte("data"))
	if !isData || len(value) > 0 && value[0] != ':' {
		return false
	}
	value = bytes.TrimPrefix(bytes.TrimPrefix(value, []byte(":")), []byte(" "))
	if e.long = len(e.data)+len(value) >= longestEvent; e.long {
		return false
	}
	if e.any {
		e.data = append(e.data, '\n')
	}
	e.data = append(e.data, value...)
	e.any = true
	return false
}

// rest is the data of an event that the end of the stream cut off before its blank line.
func (e *events) rest() (data []byte, found bool) {
	if len(e.line) > 0 && !e.long {
		e.take(e.line)
		e.line = e.line[:0]
	}
	if !e.any || e.long {
		return nil, false
	}
	e.any = false
	return e.data, true
}
