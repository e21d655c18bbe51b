package llmsim

import (
	"errors"
	"io"
	"net"
	"net/http"
)

// errTruncated ends a whole answer in its middle.
var errTruncated = errors.New("truncated on purpose")

// injectedError is what the faults with an error in their answer say.
func injectedError() *apiError {
	return &apiError{http.StatusInternalServerError, "InternalServerError", "Injected fault: the engine failed."}
}

// failsAtOnce says whether a request with this fault never reaches the queue.
func failsAtOnce(f FaultType) bool {
	switch f {
	case RateLimit, ServerError, Reset, HTML:
		return true
	}
	return false
}

// fail answers with a fault for which failsAtOnce is true.
func fail(w http.ResponseWriter, f FaultType) {
	switch f {
	case RateLimit:
		w.Header().Set("Retry-After", "1")
		writeError(w, &apiError{http.StatusTooManyRequests, "RateLimitError", "Injected fault: too many requests."})
	case ServerError:
		writeError(w, injectedError())
	case HTML:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!DOCTYPE html>\n<html><head><title>Welcome</title></head>"+
			"<body><h1>Injected fault: this is a web page</h1></body></html>\n") // an error means that the client has gone
	case Reset:
		reset(w)
	}
}

// reset closes the connection so that the client gets a TCP RST.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // not HTTP/1.1: close it in the usual way
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // without it the close below is a FIN, which the client sees as well
	}
	_ = conn.Close()
}
