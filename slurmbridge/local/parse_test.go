package local

import (
	"os"
	"testing"
)

func TestParseStat(t *testing.T) {
	const line = "42 (a) b) (c) S 1 42 40 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1"
	got, err := parseStat([]byte(line))
	if want := (stat{'S', 40, 777}); err != nil || got != want {
		t.Errorf("%+v, %v; want %+v: the name of a program may hold anything", got, err, want)
	}
	own, err := readStat(os.Getpid())
	if err != nil || own.start == 0 || own.dead() {
		t.Errorf("own process: %+v, %v", own, err)
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (a) S 1 42 40 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 777 1 1"))
	f.Add([]byte(") "))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := parseStat(b); err == nil && s.state == 0 {
			t.Errorf("%q passed without a state", b)
		}
	})
}

func FuzzParseProcess(f *testing.F) {
	f.Add("42.777.aaaa-bbbb")
	f.Add(cancelled)
	f.Fuzz(func(t *testing.T, s string) {
		if p, ok := parseProcess(s); ok && (p.pid <= 0 || p.alive("another boot "+p.boot)) {
			t.Errorf("%q is %+v", s, p)
		}
	})
}

func FuzzParseStarted(f *testing.F) {
	f.Add("42 777 1772000000000000000\n")
	f.Add("0 0 0")
	f.Fuzz(func(t *testing.T, s string) {
		if p, _, ok := parseStarted(s); ok && p.pid < 1 {
			t.Errorf("%q is pid %d", s, p.pid)
		}
	})
}

func FuzzNumber(f *testing.F) {
	f.Add("L12")
	f.Add("L012")
	f.Add("../L1")
	f.Fuzz(func(t *testing.T, id string) {
		if number(id) > 0 && (id[0] != 'L' || id[1] == '0' || id[1] == '+') {
			t.Errorf("%q passed as an id", id)
		}
	})
}
