package load

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Kind is a kind of failure.
type Kind string

// The taxonomy of failures.
const (
	DNS     Kind = "dns"
	Connect Kind = "connect"
	TLS     Kind = "tls"
	// Reset: the connection was reset, or closed before an answer began.
	Reset Kind = "reset"
	// TimeoutFirst, TimeoutIdle, TimeoutTotal: no first content, no next content, no end in time.
	TimeoutFirst Kind = "timeout_first"
	TimeoutIdle  Kind = "timeout_idle"
	TimeoutTotal Kind = "timeout_total"
	// HTTP4xx and HTTP5xx go with the status; a redirect, which is not followed, is an HTTP4xx with its own status.
	HTTP4xx Kind = "http_4xx"
	HTTP5xx Kind = "http_5xx"
	// StreamError: an error inside a 200, or an answer that is none.
	StreamError Kind = "stream_error"
	// Truncated: the answer stopped before its end mark.
	Truncated Kind = "truncated"
	// Empty: a whole answer without content; Short: with less than asked for.
	Empty Kind = "empty"
	Short Kind = "short"
	// Corrupt: an answer with other content than what was stored.
	Corrupt Kind = "corrupt"
	// NoObject: nothing was sent, for the client has nothing that the request could be made for.
	NoObject Kind = "no_object"
)

const (
	ok Kind = ""
	// unfinished was ended by this side, not by its own fault: it is neither a success nor a failure.
	unfinished Kind = "unfinished"
)

// KindOf is the kind of an error of a connection, of its dial or of its handshake.
func KindOf(err error) Kind {
	if is[*net.DNSError](err) {
		return DNS
	}
	if isTLS(err) {
		return TLS
	}
	if op, found := errors.AsType[*net.OpError](err); found && op.Op == "dial" {
		return Connect
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return TimeoutTotal
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Truncated
	}
	return Reset
}

func isTLS(err error) bool {
	return is[tls.RecordHeaderError](err) || is[tls.AlertError](err) || is[*tls.CertificateVerificationError](err) ||
		is[x509.UnknownAuthorityError](err) || is[x509.HostnameError](err) || is[x509.CertificateInvalidError](err)
}

func is[E error](err error) bool {
	_, found := errors.AsType[E](err)
	return found
}

// unreached says that the server was never reached, so that an attempt at once would only spin.
func (k Kind) unreached() bool { return k == DNS || k == Connect || k == NoObject }

// unsent says that nothing of the request was sent.
func (k Kind) unsent() bool { return k.unreached() || k == TLS }

func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

func outOfPorts(err error) bool { return errors.Is(err, syscall.EADDRNOTAVAIL) }
