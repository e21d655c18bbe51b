package wire

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"assay.bench/slurmbridge"
)

// ParseJobs reads the jobs that slurmrestd answered with, in each of its versions from v0.0.39 on, as ParseSqueue does:
// an answer that was cut, that names errors or that we cannot read says nothing. It keeps our own jobs only, for an answer
// holds everybody's, thirty kilobytes each: those that have a key for a name, and where a user is named, are that user's.
func ParseJobs(r io.Reader, user string) ([]slurmbridge.Job, error) {
	return parseJobs(r, user, func(raw []byte) (restJob, error) {
		var j restJob
		err := json.Unmarshal(raw, &j)
		return j, err
	})
}

// ParsePastJobs reads the jobs that the accounting of slurmrestd (slurmdb) answered with. Of several records of one id,
// which a job leaves that was started again, the last counts, as in sacct.
func ParsePastJobs(r io.Reader, user string) ([]slurmbridge.Job, error) {
	jobs, err := parseJobs(r, user, func(raw []byte) (restJob, error) {
		var j pastJob
		err := json.Unmarshal(raw, &j)
		return j.job(), err
	})
	if err != nil {
		return nil, err
	}
	var last []slurmbridge.Job
	at := map[string]int{}
	for _, j := range jobs {
		i, again := at[j.ID]
		switch {
		case !again:
			at[j.ID] = len(last)
			last = append(last, j)
		case j.Submitted.After(last[i].Submitted):
			last[i] = j
		}
	}
	return last, nil
}

func parseJobs(r io.Reader, user string, read func(raw []byte) (restJob, error)) ([]slurmbridge.Job, error) {
	var g gathering
	mark := []byte(`"` + slurmbridge.Prefix)
	take := func(raw []byte) error {
		if !bytes.Contains(raw, mark) {
			return nil
		}
		rest, err := read(raw)
		if err != nil {
			return fmt.Errorf("a job: %w", err)
		}
		if rest.isAnothers(user) {
			return nil
		}
		j, leader, err := rest.settle()
		if err == nil {
			g.add(j, leader, !rest.isArray())
		}
		return err
	}
	faults, err := readAnswer(r, "jobs", func(dec *json.Decoder) error { return elements(dec, take) })
	if err == nil && len(faults) > 0 {
		err = faults[0]
	}
	if err != nil {
		return nil, fmt.Errorf("slurmrestd: %w", err)
	}
	return g.merged(), nil
}

// Component is one of the jobs that make up a heterogeneous job; a plain job has one, itself.
type Component struct {
	// ID is the component's own; Job is that of the whole.
	ID, Job string
	Key     slurmbridge.Key
	// Held says that it waits for a release of its own.
	Held bool
}

// ParseComponents reads the jobs of an answer one by one. The leader of a heterogeneous job comes after its components.
func ParseComponents(r io.Reader, user string) ([]Component, error) {
	var out []Component
	_, err := parseJobs(r, user, func(raw []byte) (restJob, error) {
		var j restJob
		if err := json.Unmarshal(raw, &j); err != nil {
			return j, err
		}
		whole, _, err := j.settle()
		if err != nil || j.isAnothers(user) {
			return j, err
		}
		settle(&whole, j.Priority.known && j.Priority.value == 0, j.State...)
		out = append(out, Component{ID: j.ID.text(), Job: whole.ID, Key: whole.Key, Held: whole.Held})
		return j, nil
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(out, func(a, b Component) int { return cmp.Compare(a.leads(), b.leads()) })
	return out, nil
}

func (c Component) leads() int {
	if c.ID == c.Job {
		return 1
	}
	return 0
}

// readAnswer reads an object that slurmrestd answered with to its end; read reads the value of the wanted field,
// which has to be there unless it is "". The errors that the object names come back.
func readAnswer(r io.Reader, want string, read func(*json.Decoder) error) ([]RESTError, error) {
	faults, err := readObject(json.NewDecoder(r), want, read)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, errors.New("the answer was cut")
	}
	return faults, err
}

func readObject(dec *json.Decoder, want string, read func(*json.Decoder) error) ([]RESTError, error) {
	if err := expect(dec, '{'); err != nil {
		return nil, err
	}
	var faults []RESTError
	found := false
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return nil, err
		}
		found = found || name == want
		switch {
		case name == "errors":
			faults, err = readFaults(dec)
		case name == want && read != nil:
			err = read(dec)
		default:
			err = dec.Decode(new(json.RawMessage))
		}
		if err != nil {
			return nil, err
		}
	}
	if err := expect(dec, '}'); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows the answer")
	}
	if want != "" && !found && len(faults) == 0 {
		return nil, fmt.Errorf("the answer holds no %s", want)
	}
	return faults, nil
}

// elements hands each element of a list to take; null is a list of none.
func elements(dec *json.Decoder, take func(raw []byte) error) error {
	t, err := dec.Token()
	if err != nil || t == nil {
		return err
	}
	if t != json.Delim('[') {
		return fmt.Errorf("%v is not a list", t)
	}
	for dec.More() {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return err
		}
		if err := take(raw); err != nil {
			return err
		}
	}
	return expect(dec, ']')
}

// expect reads one delimiter.
func expect(dec *json.Decoder, want json.Delim) error {
	t, err := dec.Token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("%v stands where %v should", t, want)
	}
	return nil
}

// restJob is a job of slurmctld as slurmrestd writes it.
type restJob struct {
	ID          number `json:"job_id"`
	Name        string `json:"name"`
	User        string `json:"user_name"`
	State       words  `json:"job_state"`
	Reason      string `json:"state_reason"`
	Description string `json:"state_description"`
	Priority    number `json:"priority"`
	Restarts    number `json:"restart_cnt"`
	Submitted   number `json:"submit_time"`
	Started     number `json:"start_time"`
	Ended       number `json:"end_time"`
	Exit        exit   `json:"exit_code"`
	Nodes       string `json:"nodes"`
	HetID       number `json:"het_job_id"`
	HetOffset   number `json:"het_job_offset"`
	ArrayID     number `json:"array_job_id"`
}

// pastJob is a job of slurmdbd as slurmrestd writes it.
type pastJob struct {
	ID    number `json:"job_id"`
	Name  string `json:"name"`
	User  string `json:"user"`
	State struct {
		Current words `json:"current"`
	} `json:"state"`
	Restarts number `json:"restart_cnt"`
	Time     struct {
		Submitted number `json:"submission"`
		Started   number `json:"start"`
		Ended     number `json:"end"`
	} `json:"time"`
	Exit  exit   `json:"exit_code"`
	Nodes string `json:"nodes"`
	Het   struct {
		ID     number `json:"job_id"`
		Offset number `json:"job_offset"`
	} `json:"het"`
	Array struct {
		ID number `json:"job_id"`
	} `json:"array"`
}

// job is the same as a job of slurmctld. Why it waited once is left out: it says nothing about how the job ended. The
// priority is the last one, and says nothing about a hold either.
func (p pastJob) job() restJob {
	return restJob{
		ID: p.ID, Name: p.Name, User: p.User, State: p.State.Current, Priority: number{value: 1, known: true}, Restarts: p.Restarts,
		Submitted: p.Time.Submitted, Started: p.Time.Started, Ended: p.Time.Ended, Exit: p.Exit, Nodes: p.Nodes,
		HetID: p.Het.ID, HetOffset: p.Het.Offset, ArrayID: p.Array.ID,
	}
}

// isAnothers says that a job belongs to another user. A server that does not know the users' names tells none, or a number.
func (r restJob) isAnothers(user string) bool {
	return user != "" && r.User != user && strings.Trim(r.User, "0123456789") != ""
}

func (r restJob) isArray() bool { return r.ArrayID.known && r.ArrayID.value != 0 }

// settle says what the fields mean. The leader of a heterogeneous job is the one whose id is the job's.
func (r restJob) settle() (j slurmbridge.Job, leader bool, err error) {
	if !r.ID.known || r.ID.value <= 0 {
		return j, false, fmt.Errorf("job %q has no id", r.Name)
	}
	id := r.ID.value
	if r.HetID.known && r.HetID.value > 0 {
		id = r.HetID.value
	}
	j = slurmbridge.Job{
		ID: strconv.FormatInt(id, 10), Key: slurmbridge.Key(r.Name), State: strings.Join(r.State, ","),
		Nodes: nodes(r.Nodes), Message: said(r.Reason), Restarts: int(r.Restarts.value),
	}
	if r.Description != "" {
		j.Message = r.Description
	}
	if id != r.ID.value || r.isArray() || !j.Key.Valid() {
		return j, false, nil
	}
	settle(&j, r.Priority.known && r.Priority.value == 0, r.State...)
	if err := setTimes(&j, r.Submitted.text(), r.Started.text(), r.Ended.text()); err != nil {
		return j, false, fmt.Errorf("job %s: %w", j.ID, err)
	}
	if j.Over() {
		j.ExitCode, j.Signal = r.Exit.code, r.Exit.signal
	}
	return j, true, nil
}
