package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"assay.bench/slurmbridge"
)

// Files runs the cases of slurmbridge.Files alone, below a folder that exists.
func Files(t *testing.T, f slurmbridge.Files, folder string) {
	files(&suite{Harness: Harness{Files: f, WorkDir: folder}, t: t})
}

func files(s *suite) {
	s.needs(s.Files != nil, "Files")
	ctx, dir := s.t.Context(), path.Join(s.WorkDir, "files", "deep", "deeper")
	a, b, missing := path.Join(dir, "a.json"), path.Join(dir, "b c'd.json"), path.Join(dir, "no", "such")
	s.must(s.Files.Write(ctx, map[string][]byte{a: []byte("first"), b: nil}))
	s.must(s.Files.Write(ctx, map[string][]byte{a: []byte("second\n\x00\xff")}))
	got, err := s.Files.Read(ctx, a, b, missing, path.Join(a, "below-a-file"))
	s.must(err)
	want := map[string]string{a: "second\n\x00\xff", b: ""}
	if diff := cmp.Diff(want, asText(got)); diff != "" {
		s.t.Errorf("Read leaves out what is missing and nothing else: -want +got\n%s", diff)
	}
	if got[b] == nil {
		s.t.Error("the content of an empty file is nil, as that of a missing one")
	}
	if got, err = s.Files.Read(ctx); err != nil || len(got) != 0 {
		s.t.Errorf("Read of nothing: %v, %v", got, err)
	}
	// One that cannot be read is named, for the others may be well.
	if _, err = s.Files.Read(ctx, a, dir, b); errors.Is(err, slurmbridge.ErrUnreachable) {
		s.t.Errorf("Read of a folder: %v, want an error of the file", err)
	} else if at, ok := errors.AsType[*fs.PathError](err); !ok || at.Path != dir {
		s.t.Errorf("Read of a folder: %v, want an error that wraps *fs.PathError of %s", err, dir)
	}
	offsets(s, a)
	if _, err := s.Files.Open(ctx, missing, 0); !errors.Is(err, fs.ErrNotExist) {
		s.t.Errorf("Open of a missing file: %v, want fs.ErrNotExist", err)
	}
	if err := s.Files.Write(ctx, map[string][]byte{"relative": nil}); err == nil {
		s.t.Error("Write to a relative path worked: paths are absolute")
	}
	wholeOnly(s, path.Join(dir, "whole"))
	hundreds(s, dir)
}

func asText(m map[string][]byte) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

// offsets: a reader resumes where it stopped, and the end of a file is no error.
func offsets(s *suite, file string) {
	for offset, want := range map[int64]string{0: "second\n\x00\xff", 7: "\x00\xff", 9: "", 100: ""} {
		r, err := s.Files.Open(s.t.Context(), file, offset)
		s.must(err)
		b, err := io.ReadAll(r)
		if err = errors.Join(err, r.Close()); err != nil || string(b) != want {
			s.t.Errorf("from offset %d: %q, %v; want %q", offset, b, err, want)
		}
	}
}

// wholeOnly: whoever reads while somebody writes sees one content or the other.
func wholeOnly(s *suite, file string) {
	contents := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 100_000)}
	s.must(s.Files.Write(s.t.Context(), map[string][]byte{file: contents[0]}))
	written := make(chan error, 1)
	go func() {
		for i := range 20 {
			if err := s.Files.Write(s.t.Context(), map[string][]byte{file: contents[i%2]}); err != nil {
				written <- err
				return
			}
		}
		written <- nil
	}()
	for {
		got, err := s.Files.Read(s.t.Context(), file)
		s.must(err)
		if !bytes.Equal(got[file], contents[0]) && !bytes.Equal(got[file], contents[1]) {
			s.t.Fatalf("a reader saw a part: %d bytes that begin %.20q", len(got[file]), got[file])
		}
		select {
		case err := <-written:
			s.must(err)
			return
		default:
		}
	}
}

// hundreds: many files are one call.
func hundreds(s *suite, dir string) {
	in := map[string][]byte{}
	var paths []string
	for i := range 400 {
		p := path.Join(dir, fmt.Sprintf("rank%d", i), "status.json")
		in[p], paths = []byte(fmt.Sprint(i)), append(paths, p)
	}
	s.must(s.Files.Write(s.t.Context(), in))
	got, err := s.Files.Read(s.t.Context(), paths...)
	s.must(err)
	if diff := cmp.Diff(asText(in), asText(got)); diff != "" {
		s.t.Errorf("-want +got\n%s", diff)
	}
}

// probe: a folder that others may write to is refused in words; one that is missing is made.
func probe(s *suite) {
	p, ok := s.Jobs.(slurmbridge.Prober)
	s.needs(ok, "Prober")
	s.needs(s.BadWorkDirs != nil, "BadWorkDirs")
	s.must(p.Probe(s.t.Context(), s.WorkDir))
	s.must(p.Probe(s.t.Context(), path.Join(s.WorkDir, "new", "folder")))
	bad := map[string]string{"relative/folder": "absolute"}
	maps.Copy(bad, s.BadWorkDirs(s.t))
	for dir, words := range bad {
		err := p.Probe(s.t.Context(), dir)
		if !errors.Is(err, slurmbridge.ErrWorkDir) || !strings.Contains(err.Error(), words) {
			s.t.Errorf("Probe(%q): %v, want ErrWorkDir with %q", dir, err, words)
		}
	}
}
