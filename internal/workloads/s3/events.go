package s3

import (
	"strconv"

	"assay.bench/internal/load"
)

// unfinished is the outcome of an attempt that the end of the load cut off: it is neither a success nor a failure.
const unfinished = "unfinished"

// log writes the attempt's line for Options.Events, once its times are taken; sent is false where no object was there for
// it. A log that cannot be written is not the server's failure: the line is lost.
func (w *worker) log(op *load.Op, does operation, obj object, out outcome, sent bool) {
	if w.workload.options.Events == nil {
		return
	}
	b := append(op.AppendName(append(w.line[:0], `{"id":"`...)), `","operation":"`...)
	b = append(append(b, does.name()...), `","key":"`...)
	if sent {
		// Neither a prefix nor our own names hold what JSON escapes.
		b = obj.appendKey(append(append(b, w.workload.options.Plan.Prefix...), '/'))
	}
	b = append(append(b, `","phase":"`...), op.Phase.String()...)
	kind := string(out.kind)
	switch {
	case kind == "":
		kind = "ok"
	case out.code == 0 && w.cutOff():
		kind = unfinished
	}
	b = append(append(append(b, `","outcome":"`...), kind...), '"')
	end := op.End
	if end == 0 {
		end = op.Done
	}
	for _, f := range [...]struct {
		name string
		n    int64
	}{
		{"code", int64(out.code)}, {"scheduled", op.Scheduled}, {"sent", op.Sent}, {"first", w.heard}, {"end", end}, {"bytes", w.moved},
	} {
		b = append(append(append(b, `,"`...), f.name...), `":`...)
		b = strconv.AppendInt(b, f.n, 10)
	}
	b = append(b, "}\n"...)
	w.line = b
	w.workload.events.Lock()
	defer w.workload.events.Unlock()
	_, _ = w.workload.options.Events.Write(w.line)
}

// cutOff says that the load has ended.
func (w *worker) cutOff() bool {
	select {
	case <-w.ended:
		return true
	default:
		return false
	}
}
