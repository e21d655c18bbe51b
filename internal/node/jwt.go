package node

import (
	"crypto/hmac"
	"crypto/sha512"
	"encoding/base64"
	"fmt"
	"time"

	"assay.bench/internal/rundir"
)

// tokenLife is longer than any run.
const tokenLife = 10 * 365 * 24 * time.Hour

// minioJWT is the JSON web token by which MinIO lets a scrape in: what `mc admin prometheus generate` makes. It is signed
// with HMAC-SHA512 (RFC 7519, RFC 7515); the key is the secret key.
func minioJWT(c *rundir.Credential, now time.Time) string {
	if c == nil {
		return ""
	}
	part := base64.RawURLEncoding.EncodeToString
	signed := part([]byte(`{"alg":"HS512","typ":"JWT"}`)) + "." +
		part(fmt.Appendf(nil, `{"exp":%d,"sub":%q,"iss":"prometheus"}`, now.Add(tokenLife).Unix(), c.Username))
	mac := hmac.New(sha512.New, []byte(c.Password))
	mac.Write([]byte(signed))
	return signed + "." + part(mac.Sum(nil))
}
