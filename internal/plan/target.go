package plan

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/rundir"
)

// setTarget names the service as the node knows it, or the URL.
func (b builder) setTarget(out *rundir.Client, c *v1alpha1.LoadClient) error {
	t := c.Spec.Target
	if t.URL != "" {
		if err := checkURL(t.URL, c.Spec.S3 != nil); err != nil {
			return v1alpha1.At("target.url", err)
		}
		if t.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(t.CA)) {
			return v1alpha1.At("target.ca", errors.New("it holds no certificate in PEM: use the file of the authority that signed the server's"))
		}
		out.Target = rundir.Target{URL: t.URL, CA: t.CA}
		if t.Credentials != nil {
			out.Target.Credential = urlCredential(c)
		}
		return nil
	}
	s, err := b.service(t.Service)
	if err != nil {
		return v1alpha1.At("target.service", err)
	}
	out.Target = rundir.Target{Service: ComponentName(s), Credential: ComponentName(s)}
	// A server that logs when it emitted each token is there to check the client, which then logs its side.
	out.RecordRequests = out.RecordRequests || s.Spec.LLMSim != nil
	return nil
}

// checkURL refuses a URL that a client would not ask as it stands. What may be a password is not repeated: the message
// goes where the URL must not.
func checkURL(address string, s3 bool) error {
	_, rest, _ := strings.Cut(address, "//")
	authority, _, _ := strings.Cut(rest, "/")
	if strings.Contains(authority, "@") {
		return errors.New("it names a user or a password, which everybody would read in the result: name a Secret in target.credentials")
	}
	if strings.ContainsAny(address, "?#") {
		return errors.New("what follows a question mark or a hash would not be sent: leave it out")
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return fmt.Errorf("%q names no server: use a URL such as http://host:8000", address)
	}
	if s3 && strings.Trim(u.Path, "/") != "" {
		return fmt.Errorf("%q has a path: name the endpoint alone, such as %s://%s, and the bucket in s3.bucket", address, u.Scheme, u.Host)
	}
	return nil
}
