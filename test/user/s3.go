package user

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/minio/minio-go/v7/pkg/signer"
)

// Account is somebody with keys for an S3 server, who is not assay.
type Account struct {
	URL            string
	Access, Secret string

	t testing.TB
}

// NewAccount is an account that the server at a URL has, or has not.
func NewAccount(t testing.TB, url, access, secret string) Account {
	return Account{URL: url, Access: access, Secret: secret, t: t}
}

// Do makes a request, signed by Signature Version 4 with the region us-east-1. A path is /bucket or /bucket/key.
func (a Account) Do(method, path, query string, body []byte) (status int, answer []byte) {
	a.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, a.URL+path+"?"+query, bytes.NewReader(body))
	if err != nil {
		a.t.Fatal(err)
	}
	sum := sha256.Sum256(body)
	r.Header.Set("X-Amz-Content-Sha256", hex.EncodeToString(sum[:]))
	res, err := http.DefaultTransport.RoundTrip(signer.SignV4(*r, a.Access, a.Secret, "", "us-east-1"))
	if err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	if answer, err = io.ReadAll(res.Body); err != nil {
		a.t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode, answer
}

// Put makes a bucket, stores an object, or sets what the query names. It has to work.
func (a Account) Put(path, query string, body []byte) {
	a.t.Helper()
	if status, answer := a.Do(http.MethodPut, path, query, body); status/100 != 2 {
		a.t.Fatalf("PUT %s: HTTP %d: %s", path, status, answer)
	}
}

// Get reads an object, which has to be there.
func (a Account) Get(path string) string {
	a.t.Helper()
	status, answer := a.Do(http.MethodGet, path, "", nil)
	if status != http.StatusOK {
		a.t.Fatalf("GET %s: HTTP %d: %s", path, status, answer)
	}
	return string(answer)
}

// Keys are the keys in a bucket, of which there are less than a thousand; none where there is no bucket.
func (a Account) Keys(bucket, prefix string) []string {
	a.t.Helper()
	status, answer := a.Do(http.MethodGet, "/"+bucket, "list-type=2&prefix="+url.QueryEscape(prefix), nil)
	if status == http.StatusNotFound {
		return nil
	}
	var list struct {
		Contents []struct {
			Key string `xml:"Key"`
		} `xml:"Contents"`
		IsTruncated bool `xml:"IsTruncated"`
	}
	if err := xml.Unmarshal(answer, &list); status != http.StatusOK || err != nil || list.IsTruncated {
		a.t.Fatalf("list %s: HTTP %d, %v: %s", bucket, status, err, answer)
	}
	var keys []string
	for _, c := range list.Contents {
		keys = append(keys, c.Key)
	}
	return keys
}
