package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"assay.bench/api/v1alpha1"
	"assay.bench/slurmbridge"
)

// askOutside begins to ask a service from outside. It does not wait, for a node behind a firewall takes its time and other
// services have theirs; there is one question to a service at a time.
func (k *Kind) askOutside(ctx context.Context, s *v1alpha1.Service, e AskOutside) {
	door, err := k.deps.Doors.Door(s.Namespace, e.Site)
	if err != nil || door.Dialer == nil || !k.outside.begin(s.UID, e, k.deps.Now()) {
		return // the next look says why, or asks again
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), roundTimeout)
	go func() {
		defer cancel()
		answer := ask(ctx, door.Dialer, e)
		answer.At = k.deps.Now()
		k.outside.end(s.UID, answer)
	}()
}

// ask asks every server of a service in turn, up to the first that does not answer as it should.
func ask(ctx context.Context, d slurmbridge.Dialer, e AskOutside) Answer {
	for _, endpoint := range e.Endpoints {
		if err := askOne(ctx, d, endpoint, e); err != nil {
			return answerOf(err)
		}
	}
	what := "takes connections"
	if e.Path != "" {
		what = "answers GET " + e.Path
	}
	who := "it"
	if n := len(e.Endpoints); n > 1 {
		who = fmt.Sprintf("each of its %d servers", n)
	}
	return Answer{Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonServiceAnswers, Message: fmt.Sprintf("%s %s through the SSH connection of Site %s", who, what, e.Site)}
}

// unexpectedError says that a server answered otherwise than the probe wants.
type unexpectedError struct {
	endpoint, path string
	got, want      int
}

// Error is a sentence.
func (e unexpectedError) Error() string {
	return fmt.Sprintf("%s answered GET %s with HTTP %d, not %d", e.endpoint, e.path, e.got, e.want)
}

// answerOf is what an error says of the service. A login node that does not answer says nothing of it.
func answerOf(err error) Answer {
	a := Answer{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonServiceSilent, Message: err.Error()}
	_, unexpected := errors.AsType[unexpectedError](err)
	switch {
	case errors.Is(err, slurmbridge.ErrUnreachable):
		a.Status, a.Reason = metav1.ConditionUnknown, v1alpha1.ReasonSiteUnreachable
	case errors.Is(err, slurmbridge.ErrForwarding):
		a.Reason = v1alpha1.ReasonForwardingRefused
	case unexpected:
		a.Reason = v1alpha1.ReasonUnexpectedAnswer
	}
	return a
}

// askOne asks one server.
func askOne(ctx context.Context, d slurmbridge.Dialer, endpoint string, e AskOutside) error {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	conn, err := d.Dial(ctx, endpoint)
	if err != nil {
		return err
	}
	defer conn.Close()
	if e.Path == "" {
		return nil
	}
	status, err := get(ctx, conn, "http://"+endpoint+e.Path)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("%s took the connection and did not answer GET %s within %s", endpoint, e.Path, askTimeout)
	case err != nil:
		return fmt.Errorf("%s took the connection and did not answer GET %s (%w): does the server speak HTTP on its first port", endpoint, e.Path, err)
	case status == e.Status || status == http.StatusUnauthorized || status == http.StatusForbidden:
		return nil
	}
	return unexpectedError{endpoint, e.Path, status, e.Status}
}

// get makes a request over a connection, without credentials, and returns the status of the answer.
func get(ctx context.Context, conn net.Conn, address string) (int, error) {
	transport := &http.Transport{
		DialContext:       func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		DisableKeepAlives: true, MaxResponseHeaderBytes: 64 << 10,
	}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return 0, err
	}
	res, err := client.Do(req)
	if about, ok := errors.AsType[*url.Error](err); ok {
		return 0, about.Err // the address is said by the caller
	}
	if err != nil {
		return 0, err
	}
	return res.StatusCode, res.Body.Close()
}
