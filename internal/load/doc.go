// Package load offers requests to a server by a closed or an open loop and records what came of them; it knows no
// workload.
//
// # How a workload plugs in
//
// A workload implements Workload (three methods) and makes a Worker for each stream of requests:
//
//	func (w *worker) Do(op *load.Op) {
//		w.prepare(op.Request)                 // what to send is a function of (seed, op.Request.Key())
//		op.Sent = w.clock.Now()               // the last thing before the first byte goes out
//		...                                   // stamp with the clock right after each read returns
//		if err != nil {
//			op.FailErr(load.KindOf(err), err)
//			return
//		}
//		op.End = last                         // e2e runs to here
//		op.SinceScheduled(metricFirst, first) // only once it is known that the request succeeded
//	}
//
// The package itself counts, retries, records e2e, e2e_from_send and send_lag, and audits the process. A workload names
// its other metrics in Workload.Metrics and feeds them by their place in that list. A new workload needs no change here.
//
// # Time
//
// Every instant is an int64 of nanoseconds on a Clock, in production CLOCK_MONOTONIC: stamps of two processes on one
// machine can be compared. A latency runs from the instant at which its request was due: in an open loop the slot of the
// schedule, in a closed loop the end of the worker's previous request plus the think time.
//
//	T0          T0+Warmup                T0+Warmup+Duration   T0+...+Cooldown
//	|-- warmup --|-------- measure --------|----- cooldown ----|-- wait for what is in flight --|
//
// A request belongs to the phase in which it was due. The phases hand over without a pause. Each phase numbers its
// requests from 0 in a namespace of its own, so that warm-up never sends what the measurement sends.
//
// # Caveats
//
// Requests that wait for maxInFlight are kept in memory, 32 bytes each.
package load
