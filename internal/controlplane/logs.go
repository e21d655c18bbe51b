package controlplane

import (
	"sync"

	"github.com/go-logr/logr"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.uber.org/zap/zapcore"
	"k8s.io/klog/v2"
)

// libraryLevel is the logr verbosity of everything that the API server and etcd say. They report as errors what is
// normal here, such as a watch that ends when the server stops; what matters reaches the caller as an error.
const libraryLevel = 1

// walSegment is the size of a file of etcd's log, in bytes.
const walSegment = 8 << 20

// processOnce guards what the libraries keep for the whole process and what must not change while it is used.
//
//nolint:gochecknoglobals // it stands for state of the process, which other modules keep in their variables
var processOnce sync.Once

// setUpProcess gives klog the logger of the first server. It also makes the files of etcd's log smaller: etcd fills
// two of them with zeros beforehand, by default 128 MB, in a folder that is often below a quota.
func setUpProcess(log logr.Logger) {
	processOnce.Do(func() {
		if sink := log.GetSink(); sink != nil {
			log = log.WithSink(quietSink{sink})
		}
		klog.SetLoggerWithOptions(log, klog.ContextualLogger(true))
		wal.SegmentSizeBytes = walSegment
	})
}

// quietSink sends every line, errors included, as information of libraryLevel.
type quietSink struct{ logr.LogSink }

func (q quietSink) Init(info logr.RuntimeInfo) {
	info.CallDepth++
	q.LogSink.Init(info)
}

func (q quietSink) Enabled(level int) bool { return q.LogSink.Enabled(level + libraryLevel) }

func (q quietSink) Info(level int, msg string, kv ...any) {
	q.LogSink.Info(level+libraryLevel, msg, kv...)
}

func (q quietSink) Error(err error, msg string, kv ...any) {
	if q.Enabled(0) {
		q.LogSink.Info(libraryLevel, msg, append([]any{"error", err}, kv...)...)
	}
}

func (q quietSink) WithValues(kv ...any) logr.LogSink { return quietSink{q.LogSink.WithValues(kv...)} }

func (q quietSink) WithName(name string) logr.LogSink { return quietSink{q.LogSink.WithName(name)} }

// zapCore hands etcd's warnings and errors to a logr.Logger.
type zapCore struct {
	log    logr.Logger
	fields []zapcore.Field
}

// Enabled leaves out etcd's information; there is a lot of it.
func (zapCore) Enabled(level zapcore.Level) bool { return level >= zapcore.WarnLevel }

func (c zapCore) With(fields []zapcore.Field) zapcore.Core {
	return zapCore{c.log, append(append([]zapcore.Field(nil), c.fields...), fields...)}
}

func (c zapCore) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if c.Enabled(e.Level) && c.log.V(libraryLevel).Enabled() {
		return ce.AddCore(e, c)
	}
	return ce
}

func (c zapCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	m := zapcore.NewMapObjectEncoder()
	for _, f := range append(append([]zapcore.Field(nil), c.fields...), fields...) {
		f.AddTo(m)
	}
	c.log.V(libraryLevel).Info(e.Message, "level", e.Level.String(), "fields", m.Fields)
	return nil
}

func (zapCore) Sync() error { return nil }
