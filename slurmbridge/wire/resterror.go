package wire

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
)

// RESTError is one of the errors that slurmrestd names in an answer.
type RESTError struct {
	// Number is one of slurm_errno.h; 0 where there is none.
	Number int
	// Words are Slurm's own.
	Words string
}

func (f RESTError) Error() string { return f.Words }

// Numbers of slurm_errno.h. They are the same in all versions.
const (
	errAuthentication = 1007 // SLURM_PROTOCOL_AUTHENTICATION_ERROR
	errInvalidJobID   = 2017 // ESLURM_INVALID_JOB_ID
	errAlreadyDone    = 2021 // ESLURM_ALREADY_DONE
	errNotPending     = 2073 // ESLURM_JOB_NOT_PENDING
	errJobFinished    = 2084 // ESLURM_JOB_FINISHED
	errNeitherNor     = 2086 // ESLURM_JOB_NOT_PENDING_NOR_RUNNING
	errAuthFirst      = 6000 // the first of slurm_auth's
	errAuthLast       = 6099
	errDatabase       = 7000 // ESLURM_DB_CONNECTION
	errEmptyResult    = 9003 // ESLURM_REST_EMPTY_RESULT
	errRESTFirst      = 9000 // the first of slurmrestd's and of its parsers
	errRESTLast       = 9399
)

// IsCredentials says that the token was refused.
func (f RESTError) IsCredentials() bool {
	return f.Number == errAuthentication || f.Number >= errAuthFirst && f.Number <= errAuthLast
}

// IsDatabase says that slurmdbd let nobody in. It says the same when it is down and when a token has expired.
func (f RESTError) IsDatabase() bool { return f.Number == errDatabase }

// IsOver says that there was nothing to release or to end: the job is not known, or has ended, or does not wait any more.
func (f RESTError) IsOver() bool {
	return slices.Contains([]int{errInvalidJobID, errAlreadyDone, errNotPending, errJobFinished, errNeitherNor}, f.Number)
}

// IsUnknownJob says that there is no job of this id.
func (f RESTError) IsUnknownJob() bool { return f.Number == errInvalidJobID }

// Refusal is what a fault says about a submit.
func (f RESTError) Refusal() Refusal {
	r := Refusal{Words: f.Words, Answer: answer("", f.Words)}
	switch {
	case slices.Contains(notNowNumbers(), f.Number):
		r.Answer = NotNow
	case slices.Contains(finalNumbers(), f.Number), f.Number >= errRESTFirst && f.Number <= errRESTLast:
		r.Answer = Final
	}
	return r
}

// notNowNumbers are the errors of a submit that are about the site as it is now. 2050 is a limit that is not named: of the
// number of jobs, which passes, or one of a job, for which a limit has to be told to refuse (DenyOnLimit).
func notNowNumbers() []int { return []int{2015, 2050, 2070, 2105} }

// finalNumbers are the errors of a submit that stay the same for the same request.
func finalNumbers() []int {
	return []int{
		2000, 2001, 2002, 2003, 2004, 2005, 2006, 2008, 2009, 2012, 2014, 2018, 2023, 2025, 2029, 2038, 2039, 2044, 2045, 2048,
		2051, 2052, 2053, 2054, 2057, 2060, 2062, 2063, 2066, 2069, 2071, 2072, 2081, 2092, 2094, 2099, 2102, 2112, 2114, 2115, 2119, 2121,
		2122, 2123, 2124, 2127, 2130, 2132, 2133, 2135, 8000,
	}
}

// ParseFaults reads the errors of an answer of slurmrestd; none where it is not one.
func ParseFaults(body []byte) []RESTError {
	faults, err := readAnswer(bytes.NewReader(body), "", nil)
	if err != nil {
		return nil
	}
	return faults
}

// readFaults reads the list of errors. That nothing was found is no error.
func readFaults(dec *json.Decoder) ([]RESTError, error) {
	var faults []RESTError
	err := elements(dec, func(raw []byte) error {
		var e struct {
			Number      number `json:"error_number"`
			Error       string `json:"error"`
			Description string `json:"description"`
		}
		if err := json.Unmarshal(raw, &e); err != nil {
			return fmt.Errorf("an error: %w", err)
		}
		if e.Number.value == errEmptyResult {
			return nil
		}
		faults = append(faults, RESTError{Number: int(e.Number.value), Words: sentence(int(e.Number.value), e.Error, e.Description)})
		return nil
	})
	return faults, err
}

// sentence is what an error says, on one line: its own text, which is the same as in Slurm's programs. What slurmrestd
// adds tells what it tried, and only for its own errors what is wrong.
func sentence(number int, text, description string) string {
	out := text
	switch {
	case text == "":
		out = description
	case number >= errRESTFirst && number <= errRESTLast && description != "":
		out = text + ": " + description
	}
	if out == "" {
		out = fmt.Sprintf("error %d", number)
	}
	return strings.Join(strings.Fields(out), " ")
}

// ParseSubmitted reads the answer to a submit: an error unless it names the job that was made.
func ParseSubmitted(r io.Reader) error {
	var id number
	faults, err := readAnswer(r, "job_id", func(dec *json.Decoder) error { return dec.Decode(&id) })
	switch {
	case err != nil:
		return fmt.Errorf("slurmrestd: %w", err)
	case len(faults) > 0:
		return faults[0]
	case !id.known || id.value <= 0:
		return errors.New("slurmrestd names no job that it made")
	}
	return nil
}

// ParseDone reads the answer to a change: an error where it names one.
func ParseDone(r io.Reader) error {
	faults, err := readAnswer(r, "", nil)
	switch {
	case err != nil:
		return fmt.Errorf("slurmrestd: %w", err)
	case len(faults) > 0:
		return faults[0]
	}
	return nil
}

// Server is what a ping of slurmrestd tells.
type Server struct {
	// Release of Slurm, such as 24.11.5, and Cluster; empty where it does not tell.
	Release, Cluster string
	// Accounting is the plugin that keeps accounts, such as accounting_storage/slurmdbd; empty where it does not tell.
	Accounting string
}

// ParsePing reads the answer to a ping.
func ParsePing(r io.Reader) (Server, error) {
	type about struct {
		Release string `json:"release"`
		Cluster string `json:"cluster"`
	}
	var meta struct {
		Plugin struct {
			Accounting string `json:"accounting_storage"`
		} `json:"plugin"`
		// v0.0.39 writes Slurm, which is the same field to this decoder.
		Slurm about `json:"slurm"`
	}
	faults, err := readAnswer(r, "meta", func(dec *json.Decoder) error { return dec.Decode(&meta) })
	if err == nil && len(faults) > 0 {
		err = faults[0]
	}
	if err != nil {
		return Server{}, fmt.Errorf("slurmrestd: %w", err)
	}
	return Server{Release: meta.Slurm.Release, Cluster: meta.Slurm.Cluster, Accounting: meta.Plugin.Accounting}, nil
}

var pathFormat = regexp.MustCompile(`"/slurm/(v0\.0\.\d{1,4})/`)

// ParseVersions lists the versions of its API that slurmrestd names in its own description (/openapi/v3), oldest first.
func ParseVersions(body []byte) []string {
	var out []string
	for _, m := range pathFormat.FindAllSubmatch(body, -1) {
		out = append(out, string(m[1]))
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return slices.Compact(out)
}

// ParseToken reads what "scontrol token" prints: SLURM_JWT=TOKEN.
func ParseToken(out []byte) (string, error) {
	for line := range bytes.Lines(out) {
		if token, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "SLURM_JWT="); ok && token != "" {
			return token, nil
		}
	}
	return "", errors.New("scontrol token printed no SLURM_JWT=")
}
