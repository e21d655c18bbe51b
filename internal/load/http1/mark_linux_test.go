package http1

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"assay.bench/internal/load"
)

// What is waited for at once shrinks with what is left, and is one byte before the first content.
func TestMark(t *testing.T) {
	const KiB, MiB = 1 << 10, 1 << 20
	for _, c := range []struct{ left, last, want int64 }{
		{8 * MiB, 1, MiB}, {4 * MiB, 1, MiB}, {2*MiB - 1, 1, MiB / 2}, {MiB, 1, MiB / 2}, {300 * KiB, 1, 128 * KiB},
		{128 * KiB, 1, 64 * KiB}, {128*KiB - 1, 1, 1}, {1, 1, 1}, {8 * MiB, 0, 1},
	} {
		b := Body{in: &Stream{Limits: Limits{last: c.last}}, left: c.left}
		if got := b.mark(); int64(got) != c.want {
			t.Errorf("of %d bytes left, the last content at %d: waits for %d, want %d", c.left, c.last, got, c.want)
		}
	}
}

// slowly serves one connection: for a request it writes what comes from the channel, and closes at its end.
func slowly(t *testing.T, pieces <-chan []byte) string {
	t.Helper()
	return accept(t, func(conn net.Conn) {
		if _, err := io.ReadFull(conn, make([]byte, 4)); err != nil {
			return
		}
		for p := range pieces {
			if _, err := conn.Write(p); err != nil {
				return
			}
		}
	})
}

// ask begins an exchange and returns the body of its answer.
func ask(t *testing.T, c *Connection, limits Timeouts) *Body {
	t.Helper()
	now := c.clock.Now()
	if err := c.Open(now, limits.From(now)); err != nil {
		t.Fatal(err)
	}
	if err := c.Write([]byte("ask\n")); err != nil {
		t.Fatal(err)
	}
	h, err := c.Head()
	if err != nil {
		t.Fatal(err)
	}
	b := NewBody(&c.Stream, h)
	return &b
}

// The first content is seen as it comes, though most is still missing: its instant is a latency.
func TestFirstContentIsNotKeptWaiting(t *testing.T) {
	for name, take := range sinks() {
		t.Run(name, func(t *testing.T) {
			whole := framed(random(4<<20), 0)
			head := len(whole) - 4<<20
			pieces := make(chan []byte, 1)
			conn := connect(t, slowly(t, pieces))
			pieces <- whole[:head]
			body := ask(t, conn, Timeouts{Total: 5 * time.Second})
			pieces <- whole[head : head+1000]
			if n, err := take(body); n == 0 || err != nil {
				t.Fatalf("%d bytes, error %v; want some of 1000", n, err)
			}
			pieces <- whole[head+1000:]
			close(pieces)
		})
	}
}

// A server that is slow, but never silent for the idle limit, gives all it has; one that falls silent is idle, also when
// it gave something after the last wait began.
func TestIdleLimitOfLargeBodies(t *testing.T) {
	const idle = 400 * time.Millisecond
	for name, take := range sinks() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole := framed(random(4<<20), 0)
			pieces := make(chan []byte)
			conn := connect(t, slowly(t, pieces))
			const slow, long = 50_000, 12
			go func() {
				defer close(pieces)
				pieces <- whole[:2<<20]
				rest := whole[2<<20:]
				for tick := time.NewTicker(idle / 4); len(rest) > len(whole)-2<<20-long*slow; rest = rest[slow:] {
					<-tick.C
					pieces <- rest[:slow]
				}
				<-t.Context().Done() // silent, with the connection open
			}()
			body := ask(t, conn, Timeouts{Total: time.Minute, Idle: idle})
			total, began := 0, conn.clock.Now()
			for {
				n, err := take(body)
				if total += n; err == nil {
					conn.Content()
					continue
				}
				var late TimeoutError
				if !errors.As(err, &late) || late.Kind != load.TimeoutIdle {
					t.Fatalf("after %d bytes: %v, want the idle limit", total, err)
				}
				break
			}
			if want := 2<<20 + long*slow - (len(whole) - 4<<20); total != want {
				t.Errorf("%d bytes before the limit, want %d", total, want)
			}
			if took := time.Duration(conn.clock.Now() - began); took < long*idle/4 {
				t.Errorf("idle after %v, while something came", took)
			}
		})
	}
}

// The total limit ends a body whatever still flows.
func TestTotalLimitOfLargeBodies(t *testing.T) {
	for name, take := range sinks() {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, answer(t, framed(random(8<<20), 0), 1<<20))
			body := ask(t, conn, Timeouts{Total: time.Minute, Idle: time.Minute})
			if _, err := take(body); err != nil {
				t.Fatal(err)
			}
			conn.Content()
			conn.Limits.Total = conn.clock.Now()
			conn.arm()
			var late TimeoutError
			if n, err := take(body); !errors.As(err, &late) || late.Kind != load.TimeoutTotal {
				t.Errorf("%d bytes, error %v; want the total limit", n, err)
			}
		})
	}
}

// What was waited for at the end of a body does not keep the head of the next answer waiting.
func TestHeadIsNotKeptWaiting(t *testing.T) {
	conn := connect(t, answer(t, framed(random(1000), 0), 1<<20))
	for range 2 {
		if n, err := exchange(t, conn, (*Body).Discard); n != 1000 || err != nil {
			t.Fatalf("%d bytes of 1000, error %v", n, err)
		}
		conn.socket.await(together)
	}
}

// sinks are the ways to take the next bytes of a large body.
func sinks() map[string]func(*Body) (int, error) {
	return map[string]func(*Body) (int, error){
		"read":    func(b *Body) (int, error) { return b.Read(make([]byte, 256<<10)) },
		"discard": func(b *Body) (int, error) { return b.Discard() },
	}
}

// An exchange on a connection that is kept open allocates nothing, however large its body is.
func TestExchangesAllocateNothing(t *testing.T) {
	conn := connect(t, answer(t, framed(random(1<<20), 0), 100_000))
	buf := make([]byte, 256<<10)
	for name, take := range map[string]func(*Body) (int, error){
		"read": func(b *Body) (int, error) { return b.Read(buf) }, "discard": (*Body).Discard,
	} {
		request := []byte("ask\n")
		var body Body
		once := func() {
			now := conn.clock.Now()
			if err := conn.Open(now, Timeouts{Total: 5 * time.Second, Idle: time.Second}.From(now)); err != nil {
				t.Fatal(err)
			}
			if err := conn.Write(request); err != nil {
				t.Fatal(err)
			}
			h, err := conn.Head()
			if err != nil {
				t.Fatal(err)
			}
			for body = NewBody(&conn.Stream, h); !body.Over(); conn.Content() {
				if _, err := take(&body); err != nil {
					t.Fatal(err)
				}
			}
			conn.Finish(true)
		}
		once()
		if n := testing.AllocsPerRun(100, once); n != 0 {
			t.Errorf("%s: %v allocations for an exchange, want 0", name, n)
		}
	}
}
