package node

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func FuzzParseParent(f *testing.F) {
	own, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	if parent, live := parseParent(own); parent != os.Getppid() || !live {
		f.Errorf("this process has the parent %d, live %v; want %d", parent, live, os.Getppid())
	}
	for stat, want := range map[string]int{
		"42 (a) b) (c) S 17 42 40 0": 17,
		"42 (a) R 0 0":               0,
		"42 (a) Z 17 42":             -1, // it has ended
		"42 (a) S -17 42":            -1,
		"42 (a) S":                   -1,
		") ":                         -1,
		"":                           -1,
	} {
		if parent, live := parseParent([]byte(stat)); live != (want >= 0) || live && parent != want {
			f.Errorf("%q: parent %d, live %v; want %d", stat, parent, live, want)
		}
		f.Add([]byte(stat))
	}
	f.Add(own)
	f.Fuzz(func(t *testing.T, stat []byte) {
		if parent, live := parseParent(stat); parent < 0 || !live && parent != 0 {
			t.Errorf("%q: parent %d, live %v", stat, parent, live)
		}
	})
}

// tcpTable is what /proc/net/tcp holds: a server on 8080 and a connection to it.
const tcpTable = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 4711 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1000        0 4712 1 0000000000000000 20 4 30 10 -1
   2: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 x 1
`

func FuzzListeners(f *testing.F) {
	if diff := cmp.Diff([]string{"4711"}, listeners([]byte(tcpTable), 8080)); diff != "" {
		f.Errorf("who listens on 8080: -want +got\n%s", diff)
	}
	f.Add([]byte(tcpTable), 8080)
	f.Add([]byte("0: 0:0050 0:0 0A 0 0 0 0 0 -1"), 80)
	f.Add([]byte(strings.Repeat("a ", 100_000)), 0)
	f.Fuzz(func(t *testing.T, table []byte, port int) {
		for _, inode := range listeners(table, port) {
			if n, err := strconv.ParseUint(inode, 10, 64); err != nil || strconv.FormatUint(n, 10) != inode {
				t.Errorf("%q is no inode", inode)
			}
		}
	})
}

func FuzzParseFaults(f *testing.F) {
	for _, seed := range []string{"Reset=0.5", "Reset=", "=0.5", "Reset=NaN", "Reset=-0", "Reset=1e-400", "Reset=0x1p-3", "Reset=1.0001", "a=b=1"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, flag string) {
		got, err := parseFaults([]string{flag})
		if err != nil {
			return
		}
		if x := got[0]; len(got) != 1 || x.Type == "" || math.IsNaN(x.Ratio) || x.Ratio < 0 || x.Ratio > 1 || !strings.HasPrefix(flag, string(x.Type)+"=") {
			t.Errorf("%q is %+v", flag, got)
		}
	})
}

// readable fails when an answer that was refused makes a message that nobody can read.
func readable(t *testing.T, err error) {
	t.Helper()
	text := err.Error()
	if len(text) > 1000 || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		t.Errorf("the message has %d bytes: %q", len(text), text[:min(len(text), 1000)])
	}
}

func FuzzListedModels(f *testing.F) {
	f.Add([]byte(`{"object": "list", "data": [{"id": "m"}, {"id": "n"}]}`))
	f.Add([]byte(`{"data": null}`))
	f.Add([]byte(`{"data": [{"id": "` + strings.Repeat("é", 10_000) + `"}]}`))
	f.Add([]byte("<!doctype html>\x00\xff"))
	f.Fuzz(func(t *testing.T, answer []byte) {
		if err := lists(answer, "m"); err != nil {
			readable(t, err)
			return
		}
		if !json.Valid(answer) || !slices.Contains(answer, 'm') && !slices.Contains(answer, '\\') {
			t.Errorf("%q lists m", answer)
		}
	})
}

func FuzzGeneratedToken(f *testing.F) {
	for answer, want := range map[string]bool{
		`{"choices": [{"text": " world"}], "usage": {"completion_tokens": 1}}`: true,
		`{"choices": [{"text": ""}], "usage": {"completion_tokens": 1}}`:       true, // a token may be no text
		`{"choices": [{"text": "x"}]}`:                                         true,
		`{"choices": [{"text": ""}]}`:                                          false,
		`{"choices": [], "usage": {"completion_tokens": -1}}`:                  false,
		`{"choices": [{"text": 1}]}`:                                           false,
		`{}`:                                                                   false,
		"\x00\xff":                                                             false,
	} {
		if err := generated([]byte(answer)); (err == nil) != want {
			f.Errorf("%q: %v", answer, err)
		}
		f.Add([]byte(answer))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		if err := generated(answer); err != nil {
			readable(t, err)
		} else if !json.Valid(answer) {
			t.Errorf("%q holds a token", answer)
		}
	})
}
