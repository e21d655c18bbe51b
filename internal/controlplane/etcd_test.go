package controlplane

import (
	"errors"
	"sync"
	"testing"

	"github.com/go-logr/logr"
	"go.uber.org/zap"
)

// etcd logs a fatal error when it cannot write; the process has more to do than that.
func TestFatalErrorOfEtcd(t *testing.T) {
	for name, fatal := range map[string]func(*zap.Logger){
		"fatal": func(l *zap.Logger) { l.Fatal("failed to save", zap.Error(errors.New("no space left"))) },
		"panic": func(l *zap.Logger) { l.Panic("failed to save", zap.Error(errors.New("no space left"))) },
	} {
		t.Run(name, func(t *testing.T) {
			broken := make(chan error, 1)
			logger := etcdLogger(logr.Discard(), broken)
			var wg sync.WaitGroup
			survived := false
			for range 2 {
				wg.Go(func() {
					fatal(logger)
					survived = true
				})
			}
			wg.Wait()
			if survived {
				t.Error("the code after a fatal error was run")
			}
			if got := (<-broken).Error(); got != "failed to save: no space left" {
				t.Errorf("reason %q", got)
			}
		})
	}
}
