package ssh

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/filewire"
)

// Files is the host's file system, through the assay-node program there. It implements slurmbridge.Files: Read and Write
// are one round trip each, whatever the number of files.
type Files struct {
	host *Host
	node string
}

// Files returns the host's files. The node is the path that Stage returned.
func (h *Host) Files(node string) Files { return Files{h, node} }

// Read returns the files that exist.
func (f Files) Read(ctx context.Context, paths ...string) (map[string][]byte, error) {
	if len(paths) == 0 {
		return map[string][]byte{}, nil
	}
	request, err := filewire.ReadRequest(paths)
	if err != nil {
		return nil, err
	}
	answer, err := f.ask(ctx, "the reading of files", request)
	if err != nil {
		return nil, err
	}
	found, err := filewire.ParseRead(answer, paths)
	return found, f.failed(err)
}

// Write makes or replaces each file whole, mode 0600, in folders of mode 0700.
func (f Files) Write(ctx context.Context, files map[string][]byte) error {
	list := make([]filewire.File, 0, len(files))
	for path, content := range files {
		list = append(list, filewire.File{Path: path, Content: content})
	}
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, func(a, b filewire.File) int { return cmp.Compare(a.Path, b.Path) })
	request, err := filewire.WriteRequest(list)
	if err != nil {
		return err
	}
	answer, err := f.ask(ctx, "the writing of files", request)
	if err != nil {
		return err
	}
	return f.failed(filewire.ParseWrite(answer))
}

// ask runs assay-node for one request.
func (f Files) ask(ctx context.Context, name string, request []byte) ([]byte, error) {
	command, err := f.host.command(ctx, f.command())
	if err != nil {
		return nil, err
	}
	out, err := f.host.run(ctx, name, command, bytes.NewReader(request))
	switch {
	case err != nil:
		return nil, err
	case out.Code != 0:
		return nil, f.host.unreachable(fmt.Errorf("%s: %s files ended with code %d and the words %q", name, f.node, out.Code, tail(out.Stderr)))
	}
	return out.Stdout, nil
}

func (f Files) command() slurmbridge.Command {
	return slurmbridge.Command{Argv: []string{f.node, "files"}}
}

// failed tells an error of the host's file system from an answer that cannot be read: only the first says something.
func (f Files) failed(err error) error {
	if _, told := errors.AsType[*filewire.FileError](err); err == nil || told {
		return err
	}
	return f.host.unreachable(err)
}

// Open reads a file from an offset. The stream takes one of the sessions until it is closed, or the context ends; few are
// open at once, and more wait.
func (f Files) Open(ctx context.Context, path string, offset int64) (io.ReadCloser, error) {
	request, err := filewire.OpenRequest(path, offset)
	if err != nil {
		return nil, err
	}
	command, err := f.host.command(ctx, f.command())
	if err != nil {
		return nil, err
	}
	select {
	case f.host.streams <- struct{}{}:
	case <-ctx.Done():
		return nil, f.host.unreachable(fmt.Errorf("%s waited for other files to be closed: %w", path, context.Cause(ctx)))
	}
	s := &stream{files: f, ctx: ctx}
	if err := s.open(ctx, "the reading of "+path, command, request); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// stream is an open file.
type stream struct {
	files   Files
	ctx     context.Context //nolint:containedctx // that of Open, which ends the stream as well
	session *session
	content *filewire.Stream
	// streams are those of the session, which can be ended from here.
	stdout, stderr *io.PipeReader
	unhook         func() bool
	once           sync.Once
}

func (s *stream) open(ctx context.Context, name, command string, request []byte) error {
	session, m, err := s.files.host.start(ctx, name, command)
	if err != nil {
		return err
	}
	s.session = session
	s.stdout, s.stderr = pump(session.stdout), pump(session.stderr)
	s.unhook = context.AfterFunc(ctx, func() { s.end(context.Cause(ctx)) }) // a connection that is stuck ends no reader
	go feed(session, bytes.NewReader(request))
	words := make(chan answer, 1)
	go func() {
		w, _ := m.read(s.stderr, maxOutput, session.begun) // for a message, as far as it comes
		words <- w
	}()
	r := &reply{}
	var rest []byte
	r.out, rest, r.err = m.readBegin(s.stdout)
	if r.out.begun {
		s.content, err = filewire.NewStream(io.MultiReader(bytes.NewReader(rest), s.stdout))
		if err == nil {
			return nil
		}
		if _, told := errors.AsType[*filewire.FileError](err); told {
			return err
		}
	}
	session.stop()
	r.words = <-words // has ended as well, or ends with the context
	return s.files.host.unreachable(fmt.Errorf("%s: %w", name, r.cut(ctx, session)))
}

// pump lets a reader be ended from here.
func pump(from io.Reader) *io.PipeReader {
	r, w := io.Pipe()
	go func() {
		_, err := io.Copy(w, from)
		_ = w.CloseWithError(err)
	}()
	return r
}

// Read reads the content. It ends with io.EOF after the whole content only.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.content.Read(p)
	if err == nil || errors.Is(err, io.EOF) {
		return n, err
	}
	if s.ctx.Err() != nil {
		err = context.Cause(s.ctx)
	}
	return n, s.files.failed(err)
}

func (s *stream) end(cause error) {
	s.session.stop()
	_ = s.stdout.CloseWithError(cause)
	_ = s.stderr.CloseWithError(cause)
}

// Close ends the stream.
func (s *stream) Close() error {
	s.once.Do(func() {
		if s.session != nil {
			s.unhook()
			s.end(fs.ErrClosed)
		}
		<-s.files.host.streams
	})
	return nil
}
