package statedir

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// lifetime of the certificates. Whoever can read the key can do everything anyway, so expiry protects nothing.
const lifetime = 10 * 365 * 24 * time.Hour

// Identity is what makes a kubeconfig stay valid over restarts.
type Identity struct {
	// CACert and CAKey sign the serving certificate of each start; PEM.
	CACert, CAKey []byte
	// Token of the one user.
	Token string
	// Port of the last start; the next one tries it first.
	Port int
}

// LoadIdentity reads the identity of a state folder, or makes a new one, which Store has to keep.
func LoadIdentity(dir string, now time.Time) (*Identity, error) {
	text, err := os.ReadFile(filepath.Join(dir, identityFile))
	if errors.Is(err, fs.ErrNotExist) {
		return newIdentity(now)
	}
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return parseIdentity(text)
}

func parseIdentity(text []byte) (*Identity, error) {
	id := &Identity{}
	if err := json.Unmarshal(text, id); err != nil {
		return nil, fmt.Errorf("%s: %w; remove the file to get a new identity, existing kubeconfigs then stop working", identityFile, err)
	}
	return id, nil
}

// Store keeps the identity in a state folder.
func (id *Identity) Store(dir string) error {
	text, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return WriteFile(filepath.Join(dir, identityFile), text)
}

func newIdentity(now time.Time) (*Identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := certificate("assay control plane", now)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage |= x509.KeyUsageCertSign
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return &Identity{CACert: encodeCert(der), CAKey: keyPEM, Token: rand.Text() + rand.Text()}, nil
}

// ServingCert signs a new certificate for the loopback addresses; PEM.
func (id *Identity) ServingCert(now time.Time) (cert, key []byte, err error) {
	caBlock, _ := pem.Decode(id.CACert)
	keyBlock, _ := pem.Decode(id.CAKey)
	if caBlock == nil || keyBlock == nil {
		return nil, nil, fmt.Errorf("%s holds no PEM; remove the file to get a new identity", identityFile)
	}
	ca, err := x509.ParseCertificate(caBlock.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", identityFile, err)
	}
	caKey, err := x509.ParseECPrivateKey(keyBlock.Bytes)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", identityFile, err)
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	template := certificate("assay", now)
	template.DNSNames = []string{"localhost"}
	template.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	der, err := x509.CreateCertificate(rand.Reader, template, ca, own.Public(), caKey)
	if err != nil {
		return nil, nil, err
	}
	key, err = encodeKey(own)
	return encodeCert(der), key, err
}

func certificate(name string, now time.Time) *x509.Certificate {
	serial := make([]byte, 16)
	_, _ = rand.Read(serial) // never fails
	return &x509.Certificate{
		SerialNumber: new(big.Int).SetBytes(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

func encodeCert(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}
