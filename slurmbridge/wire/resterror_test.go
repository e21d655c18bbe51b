package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// fault is an answer that names one error.
func fault(number int, text, description string) string {
	return fmt.Sprintf(`{"meta": {}, "errors": [{"description": %q, "error_number": %d, "error": %q, "source": "slurm_submit_batch_job()"}], "warnings": []}`,
		description, number, text)
}

func TestParseFaults(t *testing.T) {
	for reason, c := range map[string]struct {
		body string
		want []RESTError
	}{
		"Slurm's own words":          {fault(2066, "Invalid qos specification", "Batch job submission failed"), []RESTError{{2066, "Invalid qos specification"}}},
		"the parser's words":         {fault(9001, "Failure during parsing", "Expected a list\nbut got 7"), []RESTError{{9001, "Failure during parsing: Expected a list but got 7"}}},
		"no words but a description": {fault(0, "", "something"), []RESTError{{0, "something"}}},
		"no words at all":            {fault(2007, "", ""), []RESTError{{2007, "error 2007"}}},
		"nothing found":              {fault(9003, "Nothing found", ""), nil},
		"no error":                   {`{"errors": []}`, nil},
		"no list of errors":          {`{"jobs": []}`, nil},
		"null":                       {`{"errors": null}`, nil},
		"text":                       {"Authentication failure", nil},
		"cut":                        {fault(2066, "x", "y")[:60], nil},
	} {
		t.Run(reason, func(t *testing.T) {
			if diff := cmp.Diff(c.want, ParseFaults([]byte(c.body))); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// What an error says about a submit, by number and, for numbers that we do not know, by words.
func TestFaultRefusal(t *testing.T) {
	for f, want := range map[RESTError]Answer{
		{2066, "Invalid qos specification"}: Final, {2045, "Invalid account or account/partition combination specified"}: Final,
		{2000, "Invalid partition name specified"}: Final, {2014, "Requested node configuration is not available"}: Final,
		{2051, "Requested time limit is invalid (missing or exceeds some limit)"}: Final,
		{9001, "Failure during parsing"}:                                          Final, {9202, "Unable to convert"}: Final, {-1, "Invalid qos specification"}: Final,
		{2050, "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"}: NotNow,
		{2070, "Required partition not available (inactive or drain)"}:                                  NotNow,
		{2015, "Requested partition configuration not available now"}:                                   NotNow,
		{2105, "System submissions disabled"}:                                                           NotNow, {-1, "System submissions disabled"}: NotNow,
		{2007, "Job count limit exceeded"}: Open, {1804, "Backing off"}: Open, {5004, "Socket timed out on send/recv operation"}: Open,
		{2016, "Requested nodes are busy"}: Open, {-1, "Unspecified error"}: Unclear, {7000, "Unable to connect to database"}: Open,
	} {
		if got := f.Refusal(); got.Answer != want || got.Words != f.Words {
			t.Errorf("%+v: %+v, want %d", f, got, want)
		}
	}
	all := slices.Concat(finalNumbers(), notNowNumbers())
	slices.Sort(all)
	if n := finalNumbers(); !slices.IsSorted(n) || len(slices.Compact(all)) != len(n)+len(notNowNumbers()) {
		t.Error("the numbers are not sorted, or one stands there twice")
	}
}

func TestFaultKinds(t *testing.T) {
	for number, want := range map[int]string{
		1007: "credentials", 6000: "credentials", 6001: "credentials", 7000: "database", 2017: "over unknown", 2021: "over", 2084: "over", 2073: "over", 2066: "", 0: "",
	} {
		f := RESTError{Number: number}
		var got []string
		for word, is := range map[string]bool{"credentials": f.IsCredentials(), "database": f.IsDatabase(), "over": f.IsOver(), "unknown": f.IsUnknownJob()} {
			if is {
				got = append(got, word)
			}
		}
		slices.Sort(got)
		if strings.Join(got, " ") != want {
			t.Errorf("%d is %v, want %q", number, got, want)
		}
	}
}

func TestParseSubmitted(t *testing.T) {
	for text, want := range map[string]string{
		`{"job_id": 17, "step_id": "batch", "job_submit_user_msg": "", "errors": []}`:                        "",
		`{"result": {"job_id": 17, "error_code": 0}, "job_id": {"set": true, "number": 17}, "errors": null}`: "",
		`{"job_id": 0, "errors": []}`:                "slurmrestd names no job that it made",
		`{"errors": []}`:                             "slurmrestd: the answer holds no job_id",
		fault(2066, "Invalid qos specification", ""): "Invalid qos specification",
		`{"job_id": 17`:                              "slurmrestd: the answer was cut",
	} {
		got := ""
		if err := ParseSubmitted(strings.NewReader(text)); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

func TestParseDone(t *testing.T) {
	for text, good := range map[string]bool{`{"errors": []}`: true, `{}`: true, fault(2017, "Invalid job id specified", ""): false, "": false, "OK": false} {
		if err := ParseDone(strings.NewReader(text)); err == nil != good {
			t.Errorf("%q: %v, want good %t", text, err, good)
		}
	}
}

func TestParsePing(t *testing.T) {
	for text, want := range map[string]Server{
		`{"pings": [], "meta": {"plugin": {"accounting_storage": "accounting_storage/none"}, "slurm": {"version": {"major": "24"}, "release": "24.11.5", "cluster": "meluxina"}}}`: {
			"24.11.5", "meluxina", "accounting_storage/none"},
		`{"meta": {"plugin": {"type": "openapi/v0.0.39"}, "Slurm": {"version": {"major": 23}, "release": "23.02.7"}}, "errors": []}`: {Release: "23.02.7"},
	} {
		got, err := ParsePing(strings.NewReader(text))
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
	}
	for _, text := range []string{"", "{}", "pong", fault(1007, "Protocol authentication error", "")} {
		if got, err := ParsePing(strings.NewReader(text)); err == nil {
			t.Errorf("%q: %+v, want an error", text, got)
		}
	}
}

func TestParseVersions(t *testing.T) {
	body := `{"paths": {"/openapi/v3": {}, "/slurm/v0.0.38/jobs": {}, "/slurm/v0.0.36/jobs/": {}, "/slurm/v0.0.38/ping": {}, "/slurm/v0.0.100/ping": {}, "/slurmdb/v0.0.37/jobs": {}}}`
	if diff := cmp.Diff([]string{"v0.0.36", "v0.0.38", "v0.0.100"}, ParseVersions([]byte(body))); diff != "" {
		t.Error(diff)
	}
}

func TestParseToken(t *testing.T) {
	if got, err := ParseToken([]byte("welcome\nSLURM_JWT=a.b.c\n")); err != nil || got != "a.b.c" {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := ParseToken([]byte("SLURM_JWT=\n")); err == nil {
		t.Errorf("%q, want an error", got)
	}
}

func FuzzParseFaults(f *testing.F) {
	f.Add([]byte(fault(2066, "Invalid qos specification", "Batch job submission failed")))
	f.Add([]byte(`{"": 0}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, fault := range ParseFaults(body) {
			if fault.Words == "" || strings.ContainsAny(fault.Words, "\n\r") {
				t.Fatalf("%+v", fault)
			}
		}
	})
}

func FuzzParseSubmitted(f *testing.F) {
	f.Add([]byte(`{"job_id": 17, "errors": []}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if ParseSubmitted(strings.NewReader(string(body))) == nil && !strings.Contains(strings.ToLower(string(body)), "job_id") && !strings.Contains(string(body), `\u`) {
			t.Fatal("a job without its id")
		}
	})
}

func FuzzParsePing(f *testing.F) {
	f.Add([]byte(`{"meta": {"slurm": {"release": "24.11.5"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if s, err := ParsePing(strings.NewReader(string(body))); err != nil && s != (Server{}) {
			t.Fatalf("an error and %+v", s)
		}
	})
}

func FuzzParseVersions(f *testing.F) {
	f.Add([]byte(`"/slurm/v0.0.38/jobs"`))
	f.Fuzz(func(t *testing.T, body []byte) {
		if v := ParseVersions(body); len(slices.Compact(slices.Clone(v))) != len(v) {
			t.Fatalf("%v", v)
		}
	})
}

func FuzzParseToken(f *testing.F) {
	f.Add([]byte("SLURM_JWT=a.b.c\n"))
	f.Fuzz(func(t *testing.T, out []byte) {
		if token, err := ParseToken(out); err == nil && (token == "" || strings.ContainsRune(token, '\n')) {
			t.Fatalf("%q", token)
		}
	})
}
