package controlplane

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"

	"github.com/go-logr/logr"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// startEtcd opens the store. It answers only on a unix socket; a single member needs no port for peers.
func startEtcd(ctx context.Context, dir, socket string, log logr.Logger) (*embed.Etcd, error) {
	c := embed.NewConfig()
	c.Dir = dir
	c.ListenPeerUrls = nil
	c.ListenClientUrls = []url.URL{{Scheme: "unix", Path: socket}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.New(zapCore{log: log}))
	// A single member elects itself after 1 to 5 ticks. A tick costs CPU for ever.
	c.TickMs, c.ElectionMs = 20, 100
	// Raft keeps this many writes in memory.
	c.SnapshotCount, c.SnapshotCatchUpEntries = 1000, 100
	c.QuotaBackendBytes = 1 << 30
	c.MaxRequestBytes = 4 << 20
	c.EnableGRPCGateway = false

	e, err := embed.StartEtcd(c)
	if err != nil {
		return nil, fmt.Errorf("etcd in %s: %w; use a state folder on local disk", dir, err)
	}
	select {
	case <-e.Server.ReadyNotify():
		return e, os.Chmod(socket, 0o600)
	case err = <-e.Err():
	case <-e.Server.StopNotify():
		err = errors.New("it stopped")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	e.Close()
	return nil, fmt.Errorf("etcd in %s did not start: %w", dir, err)
}
