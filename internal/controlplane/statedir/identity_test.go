package statedir

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestIdentity(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	dir := t.TempDir()
	id, err := LoadIdentity(dir, now)
	if err != nil {
		t.Fatal(err)
	}
	if len(id.Token) < 50 {
		t.Errorf("the token %q can be guessed", id.Token)
	}
	if err := id.Store(dir); err != nil {
		t.Fatal(err)
	}
	later := now.Add(5 * 365 * 24 * time.Hour)
	again, err := LoadIdentity(dir, later)
	if err != nil || again.Token != id.Token {
		t.Fatalf("the identity changed: %v", err)
	}
	cert, key, err := again.ServingCert(later)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(id.CACert)
	for _, host := range []string{"127.0.0.1", "localhost"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: host, CurrentTime: later}); err != nil {
			t.Errorf("%s, five years later: %v", host, err)
		}
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: "10.0.0.1", CurrentTime: later}); err == nil {
		t.Error("the certificate is for other hosts too")
	}
}

// FuzzIdentity: whatever is in the file, a start ends with an error that says what to do, or with a certificate.
func FuzzIdentity(f *testing.F) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	id, err := newIdentity(now)
	if err != nil {
		f.Fatal(err)
	}
	good, err := json.Marshal(id)
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{string(good), "", "{}", string(good[:len(good)/2]), `{"CACert":"","CAKey":"eA==","Token":"a","Port":-1}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		id, err := parseIdentity(text)
		if err == nil {
			_, _, err = id.ServingCert(now)
		}
		if err != nil && !strings.Contains(err.Error(), identityFile) {
			t.Errorf("the message does not name the file: %v", err)
		}
	})
}
