package llmsim

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// monotonic reads CLOCK_MONOTONIC in nanoseconds: every process of the machine reads the same, unlike Go's own
// monotonic time.
func monotonic() int64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &t); err != nil {
		return 0 // cannot be: every system that Go runs on has this clock
	}
	return t.Nano()
}

// emissionLog writes one line for each prompt: {"id":"...","t":[ns,ns,...]}.
type emissionLog struct {
	mu  sync.Mutex
	out io.Writer
	err error // the first one; nothing is written after it
}

// write adds the record of one prompt.
func (l *emissionLog) write(id string, times []int64) {
	b := append(append(make([]byte, 0, 32+len(id)+20*len(times)), `{"id":`...), quote(id)...)
	b = append(b, `,"t":[`...)
	for i, t := range times {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, t, 10)
	}
	b = append(b, "]}\n"...)

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return
	}
	if _, err := l.out.Write(b); err != nil {
		l.err = fmt.Errorf("emission log: %w", err)
	}
}

// failure returns the first error of a write.
func (l *emissionLog) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// ReadEmissions reads an emission log: for each request id the times in nanoseconds on CLOCK_MONOTONIC at which its
// tokens were handed to the connection, the first token first. A request with several prompts has an entry "<id>-<i>"
// for each. If an id occurs more than once (a log that several processes appended to), the last one counts. A last
// line without its end, as a killed server leaves it, is ignored; any other line that is no record is an error.
func ReadEmissions(r io.Reader) (map[string][]int64, error) {
	out := map[string][]int64{}
	br := bufio.NewReaderSize(r, 1<<16)
	for n := 1; ; n++ {
		line, err := br.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, fmt.Errorf("emission log: line %d: %w", n, err)
		}
		var rec struct {
			ID *string `json:"id"`
			T  []int64 `json:"t"`
		}
		if err := json.Unmarshal(bytes.TrimSuffix(line, []byte("\n")), &rec); err != nil {
			return nil, fmt.Errorf("emission log: line %d is not a record: %w", n, err)
		}
		if rec.ID == nil {
			return nil, fmt.Errorf(`emission log: line %d is not a record: it has no "id"`, n)
		}
		out[*rec.ID] = rec.T
	}
}
