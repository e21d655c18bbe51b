package s3

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"assay.bench/internal/rundir"
)

// Whatever a server says in the place of an error's document, what is told of it is short and one line of plain words.
func FuzzBrief(f *testing.F) {
	for _, s := range []string{
		"", "<Error><Code>SlowDown</Code><Message>Wait &amp; see.</Message></Error>", "<Code>half", "<Code></Code><Message>",
		"<html><Code>x</Code>", "<Code>&#x41;</Code><Message>&bogus;</Message>",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, document string) {
		code, message := brief(document)
		if strings.Contains(code, "</Code>") || len(code) > len(document) || len(message) > 4*len(document) {
			t.Errorf("code %q, message %q", code, message)
		}
		if code == "" && message != "" {
			t.Errorf("a message %q without a code", message)
		}
	})
}

// Any answer is a list, a refusal or none of S3's.
func FuzzAnswers(f *testing.F) {
	f.Add(`<ListBucketResult><Contents><Key>a</Key></Contents><IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken></ListBucketResult>`, 200)
	f.Add("<Error><Code>SlowDown</Code></Error>", 503)
	f.Add("<html>", 502)
	f.Add("", 404)
	f.Fuzz(func(t *testing.T, answer string, code int) {
		if found, err := parseList([]byte(answer)); err != nil && len(found.Contents) > 0 {
			t.Errorf("%d keys beside %v", len(found.Contents), err)
		}
		err := refusal("GET", code, []byte(answer))
		if err == nil || status(err) != code && !errors.Is(err, errNoS3) {
			t.Errorf("%v", err)
		}
	})
}

// A name is read if and only if the load makes it.
func FuzzParseKey(f *testing.F) {
	for _, s := range []string{"d/m/0", "p/w/18446744073709551615", "v/c/7", "s/m/3", "d/m/", "d/m/07", "d/m/+1", "dv/m/1", "x/m/1", "assay", "d/m/1/2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		s, phase, number, found := parseKey(name)
		if key := (object{set: s, phase: phase, number: number}); found && string(key.appendKey(nil)) != name {
			t.Errorf("%q is taken for %+v", name, key)
		}
	})
	for _, phase := range phases {
		for _, s := range []byte(sets) {
			want := object{set: set(s), phase: phase, number: 17}
			if of, phase, number, found := parseKey(string(want.appendKey(nil))); !found || of != want.set || phase != want.phase || number != 17 {
				f.Errorf("%+v is not found again", want)
			}
		}
	}
}

// A manifest is read again as it was written, and nothing of one makes a look-up fail.
func FuzzParseManifest(f *testing.F) {
	for _, s := range []string{`{"rank":1,"begun":{"p/m":[3,0,7]},"unanswered":true}`, `{}`, `{"rank":-1}`, `{"rank":99,"begun":{"p/m":null}}`, `{"begun":{"":[1]}}`, `[]`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ParseManifest([]byte(text))
		if err != nil {
			return
		}
		o := options("http://host:9000", rundir.S3Mix{Put: 2, Get: 1, Delete: 1}, fixed(1))
		o.Ranks, o.Closed = 2, true
		w, err := New(o)
		if err != nil {
			t.Fatal(err)
		}
		all := w.owners([]Manifest{m, m})
		for _, key := range []string{"p/m/0", "p/m/18446744073709551615", "d/c/1"} {
			if all.own(key) && len(m.Begun) == 0 {
				t.Errorf("%s is taken for ours, and nothing was begun", key)
			}
		}
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseManifest(b); err != nil || !cmp.Equal(m, again, cmpopts.EquateEmpty()) {
			t.Errorf("%s is read as %+v, %v", b, again, err)
		}
	})
}
