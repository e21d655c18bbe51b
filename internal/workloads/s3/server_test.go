package s3

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

// store is an object store in memory, for one bucket, that can be made to err. It checks no signature: that is for the
// tests on real servers.
type store struct {
	mu      sync.Mutex
	objects map[string][]byte
	// spoil changes an answer; nil leaves all as they are.
	spoil func(w http.ResponseWriter, r *http.Request, content []byte) (done bool)
	// made says that the bucket exists; refuse is the code with which all questions for it are refused.
	made   bool
	refuse string
	// seen are the requests, as method and path.
	seen []string
}

func newStore(t *testing.T) (*store, string) {
	t.Helper()
	s := &store{objects: map[string][]byte{}}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	return s, server.URL
}

func (s *store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, r.Method+" "+r.URL.Path)
	if !strings.HasPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=") {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	if bucket := strings.Trim(r.URL.Path, "/"); !strings.Contains(bucket, "/") {
		s.bucket(w, r, bucket)
		return
	}
	content, found := s.objects[r.URL.Path]
	if s.spoil != nil && s.spoil(w, r, content) {
		return
	}
	switch {
	case r.Method == http.MethodPut:
		s.objects[r.URL.Path] = body
	case r.Method == http.MethodDelete:
		delete(s.objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	case !found:
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, "<Error><Code>NoSuchKey</Code></Error>")
	default:
		give(w, content)
	}
}

// bucket answers what is asked of a bucket as a whole.
func (s *store) bucket(w http.ResponseWriter, r *http.Request, name string) {
	refuse := func(status int, code string) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<?xml version=\"1.0\"?><Error><Code>"+code+"</Code><Message>words</Message></Error>")
	}
	switch {
	case s.refuse != "":
		refuse(http.StatusForbidden, s.refuse)
	case r.Method == http.MethodPut:
		s.made = true
	case !s.made:
		refuse(http.StatusNotFound, "NoSuchBucket")
	default:
		s.list(w, r, name)
	}
}

// list answers ListObjectsV2, with the last key as the token of the next page.
func (s *store) list(w http.ResponseWriter, r *http.Request, bucket string) {
	q := r.URL.Query()
	most, _ := strconv.Atoi(q.Get("max-keys"))
	var found list
	for _, path := range slices.Sorted(maps.Keys(s.objects)) {
		key := strings.TrimPrefix(path, "/"+bucket+"/")
		if !strings.HasPrefix(key, q.Get("prefix")) || key <= q.Get("continuation-token") {
			continue
		}
		if len(found.Contents) == most {
			found.IsTruncated, found.Next = true, found.Contents[most-1].Key
			break
		}
		found.Contents = append(found.Contents, struct {
			Key string `xml:"Key"`
		}{key})
	}
	b, err := xml.Marshal(found)
	if err == nil {
		_, _ = w.Write(b)
	}
}

// give writes content with its length, as object stores do, also for a HEAD.
func give(w http.ResponseWriter, content []byte) {
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	_, _ = w.Write(content)
}

// fill stores the data set and the victims of an offer.
func (s *store) fill(w *Workload) {
	c := newContent(w.options.Seed)
	for _, phase := range phases {
		for _, set := range []set{dataSet, victims} {
			for n := range w.offer.stored(set, phase) {
				obj := w.offer.object(set, phase, n)
				s.objects[string(obj.appendKey(append([]byte(nil), w.root...)))] = whole(c, obj.identity, obj.size)
			}
		}
	}
}
