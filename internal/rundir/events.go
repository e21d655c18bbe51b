package rundir

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"time"
)

// Event is one line of events.jsonl.
type Event struct {
	// Seq counts the lines of one writer from 1; PID tells the writers of one file apart.
	Seq int64 `json:"seq"`
	PID int   `json:"pid"`
	// Time is the wall clock, for people; Mono is CLOCK_MONOTONIC in nanoseconds: all processes of a host share it.
	Time time.Time `json:"time"`
	Mono int64     `json:"mono"`
	// Component and Rank are the writer; "" and 0 for the batch step.
	Component string `json:"component,omitempty"`
	Rank      int    `json:"rank"`
	// Event is a CamelCase word; Fields say more.
	Event  string         `json:"event"`
	Fields map[string]any `json:"fields,omitempty"`
}

// EventLog appends to an events.jsonl. Its methods may be called concurrently, and several processes may append to
// one file: each line is one write at the end of the file.
type EventLog struct {
	component string
	rank      int
	pid       int
	clock     func() (wall time.Time, mono int64)

	mu   sync.Mutex
	file *os.File
	seq  int64
	torn bool // the file does not end with a line end: the next line begins with one
}

// OpenEvents opens a log for appending and makes it when it is missing. clock returns the wall clock and
// CLOCK_MONOTONIC.
func OpenEvents(path, component string, rank, pid int, clock func() (time.Time, int64)) (*EventLog, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, writeError(path, err)
	}
	l := &EventLog{component: component, rank: rank, pid: pid, clock: clock, file: f}
	if st, err := f.Stat(); err == nil && st.Size() > 0 {
		last := make([]byte, 1)
		if _, err := f.ReadAt(last, st.Size()-1); err == nil {
			l.torn = last[0] != '\n'
		}
	}
	return l, nil
}

// Log appends one event; fields come as key, value, key, value. A value that JSON cannot hold is written as text.
func (l *EventLog) Log(event string, fields ...any) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seq++
	wall, mono := l.clock()
	line, err := json.Marshal(Event{Seq: l.seq, PID: l.pid, Time: wall, Mono: mono, Component: l.component,
		Rank: l.rank, Event: event, Fields: fieldMap(fields)})
	if err != nil {
		return fmt.Errorf("event %s: %w", event, err)
	}
	if l.torn {
		line = append([]byte{'\n'}, line...)
	}
	n, err := l.file.Write(append(line, '\n'))
	if err != nil {
		l.torn = l.torn || n > 0
		return writeError(l.file.Name(), err)
	}
	l.torn = false
	return nil
}

func fieldMap(fields []any) map[string]any {
	if len(fields) == 0 {
		return nil
	}
	m := make(map[string]any, len(fields)/2)
	for i := 0; i+1 < len(fields); i += 2 {
		v := fields[i+1]
		switch x := v.(type) {
		case error:
			v = x.Error()
		case time.Duration:
			v = x.String()
		}
		if _, err := json.Marshal(v); err != nil {
			v = fmt.Sprint(v)
		}
		m[fmt.Sprint(fields[i])] = v
	}
	return m
}

// Close closes the file.
func (l *EventLog) Close() error { return l.file.Close() }

// ParseEvents returns the events of a log, in the order of the file, and how many broken pieces it left out: a writer
// that is killed may leave a part of a line at the end, or one that another writer's line goes on.
func ParseEvents(b []byte) (events []Event, broken int) {
	for len(b) > 0 {
		line, rest, whole := bytes.Cut(b, []byte{'\n'})
		b = rest
		if len(line) == 0 {
			continue
		}
		if e, ok := parseEvent(line); ok && whole {
			events = append(events, e)
			continue
		}
		broken++
		if i := bytes.LastIndex(line, []byte(`{"seq":`)); i > 0 && whole {
			if e, ok := parseEvent(line[i:]); ok {
				events = append(events, e)
			}
		}
	}
	return events, broken
}

func parseEvent(line []byte) (Event, bool) {
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		return Event{}, false
	}
	return e, e.Event != "" && e.Seq > 0
}
