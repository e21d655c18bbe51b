package s3

import (
	"errors"
	"fmt"
	"html"
	"net/http"
	"strings"

	"assay.bench/internal/load"
	"assay.bench/internal/load/http1"
)

// advised adds to an error of the set-up what to do about it.
func (w *worker) advised(err error) error {
	if errors.Is(err, errNoS3) {
		return err
	}
	if refused, is := errors.AsType[*apiError](err); is {
		return fmt.Errorf("%w: %s", err, advice(refused.Status, refused.Code))
	}
	if http1.DialKind(err) == load.TLS {
		return fmt.Errorf("%w: put the certificate of the authority that vouches for %s into target.ca", err, w.workload.options.URL)
	}
	return fmt.Errorf("%w: see that %s is the address of an S3 server, and that it runs", err, w.workload.options.URL)
}

// advice is what to do about a refusal, by its code in the Amazon S3 API Reference, "Error responses".
func advice(status int, code string) string {
	switch {
	case code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch":
		return "correct the keys username and password of the Secret in target.credentials"
	case code == "RequestTimeTooSkewed":
		return "set the clock of this node, or of the server"
	case status == http.StatusForbidden || status == http.StatusConflict:
		return "use credentials that may, or another bucket"
	case status >= http.StatusInternalServerError || code == "IncompleteBody": // MinIO's word when a disk fills meanwhile
		return "see the log of the server, and whether its disks are full"
	}
	return "see the log of the server"
}

// brief reads the code and the message off the beginning of an error's XML document, which may be cut; without a code it is
// none of S3's. It takes so little time that a storm of errors does not make the client late.
func brief(document string) (code, message string) {
	_, rest, found := strings.Cut(document, "<Code>")
	code, rest, closed := strings.Cut(rest, "</Code>")
	if !found || !closed {
		return "", ""
	}
	if _, rest, found = strings.Cut(rest, "<Message>"); found {
		message, _, _ = strings.Cut(rest, "</Message>")
	}
	return code, sentence(html.UnescapeString(message))
}

// sentence is a server's message without its full stop, for a text that goes on.
func sentence(message string) string { return strings.TrimSuffix(strings.TrimSpace(message), ".") }
