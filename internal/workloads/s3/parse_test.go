package s3

import (
	"errors"
	"strings"
	"testing"

	"assay.bench/internal/load"
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

// A name is ours if and only if the load makes it.
func FuzzIsKey(f *testing.F) {
	for _, s := range []string{"d/m/0", "p/w/18446744073709551615", "v/c/7", "d/m/", "d/m/07", "d/m/+1", "dv/m/1", "x/m/1", "assay", "d/m/1/2"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if !isKey(name) {
			return
		}
		if len(name) < len("d/m/0") || name[1] != '/' || name[3] != '/' || strings.Trim(name[4:], "0123456789") != "" || name[4] == '0' && len(name) > 5 {
			t.Errorf("%q is taken for ours", name)
		}
	})
	for _, phase := range []load.Phase{load.Warmup, load.Measure, load.Cooldown} {
		for _, set := range []set{dataSet, victims, written} {
			if key := (object{set: set, phase: phase, number: 17}).appendKey(nil); !isKey(string(key)) {
				f.Errorf("%s is not taken for ours", key)
			}
		}
	}
}
