// Package memory is an object store in memory, for tests. It passes the suite that real servers pass, package
// internal/workloads/s3/conformance, and can be made to err.
package memory

import (
	"encoding/xml"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Store is an object store for one bucket. It checks no signature: that is for the tests on real servers. Its fields may be
// touched while no request is under way, or under its lock.
type Store struct {
	sync.Mutex

	// Objects by path, which begins with the bucket.
	Objects map[string][]byte
	// Spoil changes an answer; nil leaves all as they are.
	Spoil func(w http.ResponseWriter, r *http.Request, content []byte) (done bool)
	// Made says that the bucket exists; Refuse is the code with which all questions for it are refused.
	Made   bool
	Refuse string
	// Seen are the requests, as method and path.
	Seen []string
}

// New starts a store until the end of the test, and returns its URL too.
func New(t *testing.T) (*Store, string) {
	t.Helper()
	s := &Store{Objects: map[string][]byte{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

// ServeHTTP answers a request.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.Lock()
	defer s.Unlock()
	s.Seen = append(s.Seen, r.Method+" "+r.URL.Path)
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=") {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if bucket := strings.Trim(r.URL.Path, "/"); !strings.Contains(bucket, "/") {
		s.bucket(w, r, bucket)
		return
	}
	content, found := s.Objects[r.URL.Path]
	if s.Spoil != nil && s.Spoil(w, r, content) {
		return
	}
	switch {
	case r.Method == http.MethodPut:
		s.Objects[r.URL.Path] = body
	case r.Method == http.MethodDelete:
		delete(s.Objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	case !found:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<Error><Code>NoSuchKey</Code></Error>")
	default:
		Give(w, content)
	}
}

// bucket answers what is asked of a bucket as a whole.
func (s *Store) bucket(w http.ResponseWriter, r *http.Request, name string) {
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<?xml version=\"1.0\"?><Error><Code>"+code+"</Code><Message>words</Message></Error>")
	}
	switch {
	case s.Refuse != "":
		refuse(http.StatusForbidden, s.Refuse)
	case r.Method == http.MethodPut:
		s.Made = true
	case !s.Made:
		refuse(http.StatusNotFound, "NoSuchBucket")
	default:
		s.list(w, r, name)
	}
}

type listing struct {
	XMLName     xml.Name `xml:"ListBucketResult"`
	Contents    []entry  `xml:"Contents"`
	IsTruncated bool     `xml:"IsTruncated"`
	Next        string   `xml:"NextContinuationToken"`
}

type entry struct {
	Key string `xml:"Key"`
}

// list answers ListObjectsV2, with the last key as the token of the next page.
func (s *Store) list(w http.ResponseWriter, r *http.Request, bucket string) {
	q := r.URL.Query()
	most, _ := strconv.Atoi(q.Get("max-keys"))
	var found listing
	for _, path := range slices.Sorted(maps.Keys(s.Objects)) {
		key := strings.TrimPrefix(path, "/"+bucket+"/")
		if !strings.HasPrefix(key, q.Get("prefix")) || key <= q.Get("continuation-token") {
			continue
		}
		if len(found.Contents) == most {
			found.IsTruncated, found.Next = true, found.Contents[most-1].Key
			break
		}
		found.Contents = append(found.Contents, entry{key})
	}
	b, err := xml.Marshal(found)
	if err == nil {
		_, _ = w.Write(b)
	}
}

// Give writes content with its length, as object stores do, also for a HEAD.
func Give(w http.ResponseWriter, content []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content)
}
