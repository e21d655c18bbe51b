package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"time"

	"github.com/go-logr/logr"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// closeTimeout is how long etcd may take to close. It only takes that long when it can no longer write.
const closeTimeout = 10 * time.Second

// store is a running etcd.
type store struct {
	*embed.Etcd
	// broken gets the reason when etcd cannot go on, such as a full disk.
	broken chan error
}

// startEtcd opens the store. It answers only on a unix socket; a single member needs no port for peers.
func startEtcd(ctx context.Context, dir, socket string, log logr.Logger) (*store, error) {
	s := &store{broken: make(chan error, 1)}
	c := etcdConfig(dir, socket)
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(etcdLogger(log, s.broken))
	// In a goroutine of its own, because the logger ends the goroutine of a fatal error.
	opened := make(chan error, 1)
	go func() {
		var err error
		s.Etcd, err = embed.StartEtcd(c)
		opened <- err
	}()
	var err error
	select {
	case err = <-opened:
	case err = <-s.broken:
	}
	if err != nil {
		return nil, fmt.Errorf("etcd in %s: %w; the folder must be on a local disk with free space", dir, err)
	}
	select {
	case <-s.Server.ReadyNotify():
		return s, os.Chmod(socket, 0o600)
	case err = <-s.Err():
	case err = <-s.broken:
	case <-s.Server.StopNotify():
		err = errors.New("it stopped")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	return nil, errors.Join(fmt.Errorf("etcd in %s did not start: %w", dir, err), s.close())
}

func etcdConfig(dir, socket string) *embed.Config {
	c := embed.NewConfig()
	c.Dir = dir
	c.ListenPeerUrls = nil
	c.ListenClientUrls = []url.URL{{Scheme: "unix", Path: socket}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	// A single member elects itself after 1 to 5 ticks. A tick costs CPU for ever.
	c.TickMs, c.ElectionMs = 20, 100
	// Raft keeps this many writes in memory.
	c.SnapshotCount, c.SnapshotCatchUpEntries = 1000, 100
	c.QuotaBackendBytes = 1 << 30
	c.MaxRequestBytes = 4 << 20
	c.EnableGRPCGateway = false
	return c
}

// close ends etcd. An etcd that is broken may never end; it is then left behind.
func (s *store) close() error {
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		s.Close()
	}()
	select {
	case <-closed:
		return nil
	case <-time.After(closeTimeout):
		return fmt.Errorf("etcd did not close within %v", closeTimeout)
	}
}

// etcdLogger hands etcd's warnings to log. By itself etcd ends the process when it cannot go on, in the middle of
// whatever else that does; here it only ends its own goroutine and says why.
func etcdLogger(log logr.Logger, broken chan<- error) *zap.Logger {
	hook := brokenHook{broken}
	return zap.New(zapCore{log: log}, zap.WithFatalHook(hook), zap.WithPanicHook(hook))
}

type brokenHook struct{ broken chan<- error }

// OnWrite is called for a fatal error, after it was logged.
func (h brokenHook) OnWrite(e *zapcore.CheckedEntry, fields []zapcore.Field) {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range fields {
		f.AddTo(m)
	}
	err := errors.New(e.Message)
	if cause := m.Fields["error"]; cause != nil {
		err = fmt.Errorf("%s: %v", e.Message, cause)
	}
	select {
	case h.broken <- err:
	default: // the first reason is the one that counts
	}
	runtime.Goexit()
}
