package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// reply is what a marked command printed on both streams.
type reply struct {
	out, words answer
	err        error
}

// readBoth reads both streams of a session to their end marks, or as far as they come.
func (m mark) readBoth(s *session) *reply {
	var r reply
	var outErr, wordsErr error
	var reading sync.WaitGroup
	reading.Go(func() {
		if r.out, outErr = m.read(s.stdout, maxOutput, s.begun); outErr != nil {
			s.stop()
		}
	})
	reading.Go(func() {
		if r.words, wordsErr = m.read(s.stderr, maxOutput, s.begun); wordsErr != nil {
			s.stop()
		}
	})
	reading.Wait()
	r.err = errors.Join(outErr, wordsErr)
	return &r
}

// cut says why a reply is not whole.
func (r *reply) cut(ctx context.Context, s *session) error {
	if r.err != nil {
		return r.err
	}
	why := errors.New("the session has not ended")
	wait := time.NewTimer(time.Second)
	defer wait.Stop()
	select {
	case <-s.done:
		why = s.why
	case <-ctx.Done():
	case <-wait.C:
	}
	if told, ok := errors.AsType[fault](why); ok {
		return told
	}
	if r.out.begun {
		return fmt.Errorf("its answer is cut off, after %d bytes and the words %q: %w", len(r.out.body), tail(r.words.body), why)
	}
	said := slices.Concat(r.out.noise, r.words.noise)
	return fmt.Errorf("it did not begin, and all that came is %q: check that ssh runs commands there: %w", tail(said), why)
}

// tail is the end of what was printed, for a message.
func tail(b []byte) []byte {
	b = bytes.TrimSpace(b)
	return b[max(0, len(b)-noiseShown):]
}
