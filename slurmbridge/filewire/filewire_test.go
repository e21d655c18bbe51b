package filewire

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// ask runs a request.
func ask(t testing.TB, request []byte, err error) []byte {
	t.Helper()
	var out bytes.Buffer
	if err == nil {
		err = Serve(bytes.NewReader(request), &out)
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func reading(t testing.TB, paths ...string) []byte {
	t.Helper()
	request, err := ReadRequest(paths)
	return ask(t, request, err)
}

func writing(t testing.TB, files ...File) []byte {
	t.Helper()
	request, err := WriteRequest(files)
	return ask(t, request, err)
}

func openingAt(t testing.TB, path string, offset int64) []byte {
	t.Helper()
	request, err := OpenRequest(path, offset)
	return ask(t, request, err)
}

func TestReadAndWrite(t *testing.T) {
	dir := t.TempDir()
	a, b, missing := filepath.Join(dir, "new", "a"), filepath.Join(dir, "b c'd"), filepath.Join(dir, "no", "such")
	if err := ParseWrite(writing(t, File{a, []byte("\x00\xff\n")}, File{b, nil})); err != nil {
		t.Fatal(err)
	}
	paths := []string{a, missing, b, filepath.Join(a, "below-a-file")}
	got, err := ParseRead(reading(t, paths...), paths)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string][]byte{a: []byte("\x00\xff\n"), b: {}}, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	for path, want := range map[string]fs.FileMode{filepath.Dir(a): fs.ModeDir | 0o700, a: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want mode %v", path, info, err, want)
		}
	}
}

func TestStream(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log")
	content := bytes.Repeat([]byte("0123456789\n"), 100_000)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	answer := openingAt(t, file, 5)
	for name, r := range map[string]io.Reader{"at once": bytes.NewReader(answer), "byte by byte": iotest.OneByteReader(bytes.NewReader(answer))} {
		s, err := NewStream(r)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(s); err != nil || !bytes.Equal(got, content[5:]) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(content)-5)
		}
	}
	s, err := NewStream(bytes.NewReader(answer[:len(answer)-9]))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(s); !errors.Is(err, errCut) {
		t.Errorf("without its end: %d bytes, %v; want an error", len(got), err)
	}
}

// An error of the other host says the same words as one of this host, and is the same where a caller may look.
func TestFailures(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stream := func(b []byte) error { _, err := NewStream(bytes.NewReader(b)); return err }
	read := func(b []byte, path string) error { _, err := ParseRead(b, []string{path}); return err }
	below := filepath.Join(file, "below")
	for reason, tt := range map[string]struct {
		err  error
		is   error
		want string
	}{
		"a file that is not there":     {stream(openingAt(t, filepath.Join(dir, "no"), 0)), fs.ErrNotExist, "open " + dir + "/no: no such file or directory"},
		"a folder is not opened":       {stream(openingAt(t, dir, 0)), syscall.EISDIR, "open " + dir + ": is a directory"},
		"a folder is not read":         {read(reading(t, dir), dir), syscall.EISDIR, "read " + dir + ": is a directory"},
		"no folder below a file":       {ParseWrite(writing(t, File{below + "/x", nil})), syscall.ENOTDIR, "mkdir " + below + ": not a directory"},
		"a folder in place of a file":  {ParseWrite(writing(t, File{dir, nil})), nil, "write " + dir + ": file exists"},
		"a name that is not to be had": {ParseWrite(writing(t, File{dir + "/" + strings.Repeat("x", 256), nil})), nil, "file name too long"},
	} {
		if tt.err == nil || tt.is != nil && !errors.Is(tt.err, tt.is) || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q that is %v", reason, tt.err, tt.want, tt.is)
		}
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(dir), ".write-*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	for reason, err := range map[string]error{
		"relative paths mean nothing there": second(ReadRequest([]string{"/a", "b"})),
		"nor when written":                  second(WriteRequest([]File{{"b", nil}})),
		"the length would not fit":          second(ReadRequest([]string{"/" + strings.Repeat("x", 1<<16)})),
		"before the beginning":              second(OpenRequest("/a", -1)),
		"two kinds of things":               Serve(bytes.NewReader(mixed(t)), io.Discard),
		"nothing at all":                    Serve(strings.NewReader(""), io.Discard),
		"another version":                   Serve(strings.NewReader("assay-files 2\n.\x00\x00\x00\x00\x00\x00\x00\x00"), io.Discard),
		"a reader that has gone":            Serve(bytes.NewReader(must(ReadRequest(nil))), gone{}),
	} {
		if err == nil {
			t.Errorf("accepted: %s", reason)
		}
	}
}

type gone struct{}

func (gone) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func second[T any](_ T, err error) error { return err }

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func mixed(t *testing.T) []byte {
	var b bytes.Buffer
	f := newFrames(&b)
	f.frame(kindRead, []byte("/a"))
	f.frame(kindWrite, []byte("\x00\x02/b"), []byte("content"))
	if err := f.end(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// No part of an answer is taken for an answer, and no answer with a byte changed or with more behind it.
func TestDamagedAnswers(t *testing.T) {
	dir := t.TempDir()
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	written := writing(t, File{a, []byte("some content")}, File{b, []byte("more")})
	paths := []string{a, filepath.Join(dir, "no"), b}
	parsers := map[string]struct {
		answer []byte
		parse  func([]byte) error
	}{
		"write": {written, ParseWrite},
		"read":  {reading(t, paths...), func(b []byte) error { return second(ParseRead(b, paths)) }},
		"open": {openingAt(t, a, 0), func(b []byte) error {
			s, err := NewStream(bytes.NewReader(b))
			if err != nil {
				return err
			}
			return second(io.ReadAll(s))
		}},
	}
	for name, p := range parsers {
		if err := p.parse(p.answer); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for n := range p.answer {
			if err := p.parse(p.answer[:n]); !errors.Is(err, errCut) {
				t.Fatalf("%s: the first %d bytes of %d pass: %v", name, n, len(p.answer), err)
			}
			for bit := range 8 {
				damaged := bytes.Clone(p.answer)
				damaged[n] ^= 1 << bit
				if err := p.parse(damaged); err == nil {
					t.Fatalf("%s: bit %d of byte %d changed passes", name, bit, n)
				}
			}
		}
		if name != "open" && p.parse(append(bytes.Clone(p.answer), '\n')) == nil {
			t.Errorf("%s: an answer with more behind it passes", name)
		}
	}
}

func FuzzRequest(f *testing.F) {
	for _, r := range []request{
		{}, {read: []string{"/a", "/b c"}}, {write: []File{{"/a", []byte("content")}, {"/b", nil}}}, {open: &opening{"/a", 1 << 40}},
	} {
		f.Add(must(r.encode()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := parseRequest(bytes.NewReader(b))
		if err != nil {
			return
		}
		again, err := r.encode()
		if err != nil || !bytes.HasPrefix(b, again) {
			t.Errorf("%q became %q, %v", b, again, err)
		}
	})
}

func FuzzAnswer(f *testing.F) {
	paths := []string{"/etc/hostname", "/no/such", "/etc"}
	f.Add(reading(f, paths[:2]...))
	f.Add(reading(f, paths...))
	f.Add(openingAt(f, "/etc/hostname", 3))
	f.Add(openingAt(f, "/no/such", 0))
	f.Add(writing(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		cut := b[:max(0, len(b)-1)]
		if second(ParseRead(b, paths)) == nil && second(ParseRead(cut, paths)) == nil {
			t.Errorf("an answer and its part both pass: %q", b)
		}
		if ParseWrite(b) == nil && ParseWrite(cut) == nil {
			t.Errorf("an answer and its part both pass: %q", b)
		}
		if s, err := NewStream(bytes.NewReader(b)); err == nil {
			_, _ = io.Copy(io.Discard, s) // whatever it is, it ends
		}
	})
}
