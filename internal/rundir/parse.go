package rundir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// VersionError says that a file has a version that this program does not know.
type VersionError struct {
	// File is the kind of file, such as plan.json.
	File string
	// Got is the file's version.
	Got int
}

// Error says what to do about it.
func (e *VersionError) Error() string {
	return fmt.Sprintf("%s has version %d; this program knows %s: use the assay and the assay-node of one release",
		e.File, e.Got, knownVersions())
}

func knownVersions() string {
	if Version == oldest() {
		return fmt.Sprintf("version %d", Version)
	}
	return fmt.Sprintf("versions %d to %d", oldest(), Version)
}

// oldest is the first version that a reader of this release accepts.
func oldest() int { return max(1, Version-1) }

// ParsePlan reads plan.json. An unknown version is a *VersionError; an unknown field, a second value and a plan that
// contradicts itself are errors, for a node never guesses what a plan means.
func ParsePlan(b []byte) (*Plan, error) {
	var p Plan
	if err := parse(PlanFile, b, &p); err != nil {
		return nil, err
	}
	if err := p.Check(); err != nil {
		return nil, fmt.Errorf("%s: %w", PlanFile, err)
	}
	return &p, nil
}

// ParseControl reads control.json. An unknown version is a *VersionError.
func ParseControl(b []byte) (*Control, error) {
	var c Control
	if err := parse(ControlFile, b, &c); err != nil {
		return nil, err
	}
	if c.Want != WantRun && c.Want != WantDrain && c.Want != WantStop {
		return nil, fmt.Errorf("%s: want %q: it is %s, %s or %s", ControlFile, c.Want, WantRun, WantDrain, WantStop)
	}
	return &c, nil
}

// ParseStatus reads status.json. An unknown version is a *VersionError.
func ParseStatus(b []byte) (*Status, error) {
	var s Status
	if err := parse(StatusFile, b, &s); err != nil {
		return nil, err
	}
	if s.Phase == "" {
		return nil, fmt.Errorf("%s: no phase", StatusFile)
	}
	return &s, nil
}

// ParseExit reads exit.json. An unknown version is a *VersionError.
func ParseExit(b []byte) (*Exit, error) {
	var e Exit
	if err := parse(ExitFile, b, &e); err != nil {
		return nil, err
	}
	if e.Reason == "" {
		return nil, fmt.Errorf("%s: no reason", ExitFile)
	}
	return &e, nil
}

// parse reads one JSON value and nothing after it. The version is looked at first: a file of another version may have
// other fields, and the version is then what to complain about.
func parse(file string, b []byte, v any) error {
	var head struct {
		Version *int `json:"version"`
	}
	if err := json.Unmarshal(b, &head); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if head.Version == nil {
		return fmt.Errorf("%s: no version", file)
	}
	if *head.Version < oldest() || *head.Version > Version {
		return &VersionError{File: file, Got: *head.Version}
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%s: more than one value", file)
	}
	return nil
}

// Check finds what would make a node guess: ParsePlan refuses it, and nobody may write it.
func (p *Plan) Check() error {
	if p.Launcher != LaunchProcess && p.Launcher != LaunchSrun {
		return fmt.Errorf("launcher %q: it is %s or %s", p.Launcher, LaunchProcess, LaunchSrun)
	}
	if p.Repeats.First < 1 || p.Repeats.Count < 1 {
		return fmt.Errorf("repeats %d+%d: both are at least 1", p.Repeats.First, p.Repeats.Count)
	}
	switch p.Repeats.Restart {
	case RestartProcess, RestartJob, RestartNone:
	default:
		return fmt.Errorf("restart %q: it is %s, %s or %s", p.Repeats.Restart, RestartProcess, RestartJob, RestartNone)
	}
	if err := p.checkImages(); err != nil {
		return err
	}
	names := map[string]bool{}
	for _, s := range p.Services {
		if err := checkComponent(names, s.Name, s.Ranks); err != nil {
			return err
		}
		if len(s.Argv) == 0 || s.Worker != nil && len(s.Worker.Argv) == 0 {
			return fmt.Errorf("service %s: no command", s.Name)
		}
		if err := checkGroup(s); err != nil {
			return err
		}
		if err := checkScrapes(s); err != nil {
			return err
		}
	}
	for _, c := range p.Clients {
		if err := checkComponent(names, c.Name, c.Ranks); err != nil {
			return err
		}
		if (c.Target.Service == "") == (c.Target.URL == "") {
			return fmt.Errorf("client %s: exactly one of a target service and a target URL", c.Name)
		}
		if (c.Inference == nil) == (c.S3 == nil) {
			return fmt.Errorf("client %s: exactly one workload of inference and s3", c.Name)
		}
		if (c.ClosedLoop == nil) == (c.OpenLoop == nil) {
			return fmt.Errorf("client %s: exactly one of a closed and an open loop", c.Name)
		}
	}
	return nil
}

// checkGroup refuses servers of unequal size, and a wait for a port that nobody takes.
func checkGroup(s Service) error {
	if s.Group < 0 || s.Ranks%max(1, s.Group) != 0 {
		return fmt.Errorf("service %s: %d ranks are no whole number of servers of %d", s.Name, s.Ranks, s.Group)
	}
	if s.Worker == nil || s.Worker.After == "" || slices.ContainsFunc(s.Ports, func(p Port) bool { return p.Name == s.Worker.After }) {
		return nil
	}
	return fmt.Errorf("service %s: its workers wait for the port %q, which the leader does not have", s.Name, s.Worker.After)
}

// checkScrapes refuses names that are no plain file names or that stand twice: each has a file of samples.
func checkScrapes(s Service) error {
	seen := map[string]bool{}
	for _, sc := range s.Scrapes {
		switch {
		case !plainName(sc.Name):
			return fmt.Errorf("service %s: scrape %q: a name is of a-z, 0-9 and dashes", s.Name, sc.Name)
		case seen[sc.Name]:
			return fmt.Errorf("service %s: scrape %s stands twice", s.Name, sc.Name)
		}
		seen[sc.Name] = true
	}
	return nil
}

// checkComponent refuses names that are no plain folder names, that stand twice or that a file of the attempt has.
func checkComponent(seen map[string]bool, name string, ranks int) error {
	switch {
	case !plainName(name):
		return fmt.Errorf("component %q: a name is of a-z, 0-9 and dashes", name)
	case name == SecretsDir || name == ClaimLink:
		return fmt.Errorf("component %q: the attempt has a file of that name: take another", name)
	case seen[name]:
		return fmt.Errorf("component %s stands twice", name)
	case ranks < 1:
		return fmt.Errorf("component %s: %d ranks", name, ranks)
	}
	seen[name] = true
	return nil
}

func plainName(s string) bool {
	for _, r := range s {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' {
			return false
		}
	}
	return s != ""
}
