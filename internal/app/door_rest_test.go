package app

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"assay.bench/api/v1alpha1"
	"assay.bench/controllers/site"
	"assay.bench/slurmbridge"
	"assay.bench/slurmbridge/rest"
)

// In a cluster slurmrestd is reached with what stands in the Site and its Secrets alone.
func TestRESTUsesHost(t *testing.T) {
	secret := &v1alpha1.KeySource{SecretKeyRef: &v1alpha1.SecretKey{Name: "keys", Key: "id"}}
	for name, c := range map[string]struct {
		change func(*v1alpha1.SiteSpec)
		want   bool
	}{
		"all named":          {func(*v1alpha1.SiteSpec) {}, false},
		"a token in a file":  {func(s *v1alpha1.SiteSpec) { s.Jobs.REST.Token = &v1alpha1.KeySource{File: "/t"} }, true},
		"made on the login":  {func(s *v1alpha1.SiteSpec) { s.Jobs.REST.Token, s.Jobs.REST.Refresh = nil, &v1alpha1.TokenRefresh{} }, false},
		"files of this host": {func(s *v1alpha1.SiteSpec) { s.Files = v1alpha1.FilesDoor{Local: &v1alpha1.LocalDoor{}} }, true},
		"our own ssh":        {func(s *v1alpha1.SiteSpec) { s.Files.SSH.KnownHosts = "" }, true},
	} {
		s := &v1alpha1.SiteSpec{
			Jobs: v1alpha1.JobsDoor{REST: &v1alpha1.RESTDoor{URL: "https://slurm", Token: secret}},
			Files: v1alpha1.FilesDoor{SSH: &v1alpha1.SSHDoor{
				SSHHost: v1alpha1.SSHHost{Host: "login", User: "me", KnownHosts: "login ssh-ed25519 AAAA"}, PrivateKey: secret,
			}},
		}
		c.change(s)
		if got := restUsesHost(s); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// token is one of Slurm's form that nobody signed, valid for half an hour from then.
func token(from time.Time) string {
	claims := fmt.Sprintf(`{"iat": %d, "exp": %d, "sun": "hpc"}`, from.Unix(), from.Add(30*time.Minute).Unix())
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".secret"
}

// restd plays a slurmrestd that knows one token, which takes all of 30 minutes.
type restd struct {
	*httptest.Server

	mu    sync.Mutex
	takes string
	asked int
	// cluster is what a ping names.
	cluster string
}

func newRestd(t *testing.T) *restd {
	t.Helper()
	r := &restd{}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *restd) accept(token string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.takes = token
}

func (r *restd) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked++
	if req.Header.Get("X-SLURM-USER-TOKEN") != r.takes && !strings.HasSuffix(req.URL.Path, "/ping/") {
		w.WriteHeader(http.StatusNetworkAuthenticationRequired)
		fmt.Fprint(w, `{"errors": [{"error_number": 1007, "error": "Protocol authentication error"}]}`)
		return
	}
	fmt.Fprintf(w, `{"jobs": [], "meta": {"slurm": {"cluster": %q}}, "errors": []}`, r.cluster)
}

// open opens the door's jobs, with what it reads the token from and a clock.
func (r *restd) open(t *testing.T, o *OS, d *v1alpha1.RESTDoor, runner slurmbridge.Runner, secrets site.Secrets) *rest.Slurm {
	t.Helper()
	d.URL = r.URL
	slurm, err := rest.Open(t.Context(), restOptions(o, managerOptions{origin: "0123456789abcdef"}, d, runner, secrets))
	if err != nil {
		t.Fatal(err)
	}
	return slurm
}

// Whoever rotates the Secret or the file needs to tell nobody.
func TestTokenIsReadForEachRequest(t *testing.T) {
	file, now := filepath.Join(t.TempDir(), "token"), time.Unix(1700000000, 0)
	held := ""
	write := func(token string) {
		held = token
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	secrets := func(_ context.Context, name, key string) ([]byte, error) {
		if name+"/"+key != "mel/token" {
			t.Errorf("asked for %s/%s", name, key)
		}
		return []byte(held), nil
	}
	for place, source := range map[string]*v1alpha1.KeySource{
		"the key token of the Secret mel": {SecretKeyRef: &v1alpha1.SecretKey{Name: "mel", Key: "token"}}, file: {File: file},
	} {
		r := newRestd(t)
		write(token(now))
		r.accept(held)
		clock := now
		slurm := r.open(t, &OS{Now: func() time.Time { return clock }}, &v1alpha1.RESTDoor{Token: source}, nil, secrets)
		if _, err := slurm.List(t.Context()); err != nil {
			t.Errorf("%s: %v", place, err)
		}
		clock = now.Add(time.Hour)
		r.accept(token(clock))
		_, err := slurm.List(t.Context())
		if !errors.Is(err, slurmbridge.ErrCredentials) || !strings.Contains(fmt.Sprint(err), "Protocol authentication error: the token has expired: put a new token into "+place) {
			t.Errorf("%v, want what to do about %s", err, place)
		}
		checkSecret(t, err)
		write(token(clock))
		if _, err := slurm.List(t.Context()); err != nil {
			t.Errorf("%s, rotated: %v", place, err)
		}
		if expires, err := slurm.Token(); err != nil || !expires.Equal(clock.Add(30*time.Minute)) {
			t.Errorf("expires %v, %v", expires, err)
		}
	}
}

func checkSecret(t *testing.T, err error) {
	t.Helper()
	if strings.Contains(fmt.Sprintf("%v %+v", err, err), ".secret") {
		t.Errorf("%v: the token has got into a message", err)
	}
}

// scontrol is a login node that makes tokens.
type scontrol struct {
	answer slurmbridge.Output
	err    error
	asked  []string
}

func (s *scontrol) Run(_ context.Context, c slurmbridge.Command) (slurmbridge.Output, error) {
	s.asked = append(s.asked, strings.Join(append(c.Argv, c.Env...), " ")+string(c.Stdin))
	return s.answer, s.err
}

// New tokens are made by scontrol, at half of their life, and are nowhere but in the request.
func TestTokenIsRefreshed(t *testing.T) {
	r, clock := newRestd(t), time.Unix(1700000000, 0)
	login := &scontrol{}
	renew := func() {
		login.answer = slurmbridge.Output{Stdout: []byte("SLURM_JWT=" + token(clock) + "\n")}
		r.accept(token(clock))
	}
	renew()
	slurm := r.open(t, &OS{Now: func() time.Time { return clock }}, &v1alpha1.RESTDoor{Refresh: &v1alpha1.TokenRefresh{Lifetime: "45m"}}, login, nil)
	list := func(calls int) error {
		t.Helper()
		_, err := slurm.List(t.Context())
		if len(login.asked) != calls {
			t.Errorf("%d tokens were made, want %d", len(login.asked), calls)
		}
		return err
	}
	if err := list(1); err != nil {
		t.Error(err)
	}
	if want := "scontrol token lifespan=2700 LC_ALL=C"; login.asked[0] != want {
		t.Errorf("ran %q, want %q", login.asked[0], want)
	}
	clock = clock.Add(15 * time.Minute)
	renew()
	if err := list(2); err != nil {
		t.Error(err)
	}
	clock = clock.Add(15 * time.Minute)
	login.answer = slurmbridge.Output{Code: 1, Stdout: login.answer.Stdout, Stderr: []byte("scontrol: error: no key\n")}
	if err := list(3); err != nil {
		t.Errorf("%v, want the old token as long as it is valid", err)
	}
	if _, stale := slurm.Token(); fmt.Sprint(stale) != "a new token: scontrol token: exit code 1: scontrol: error: no key" {
		t.Errorf("%v, want why there is no new one", stale)
	}
	clock = clock.Add(15 * time.Minute)
	err := list(4)
	if !errors.Is(err, slurmbridge.ErrCredentials) {
		t.Errorf("%v, want ErrCredentials", err)
	}
	checkSecret(t, err)
	login.err = fmt.Errorf("%w: no route", slurmbridge.ErrUnreachable)
	if err := list(5); errors.Is(err, slurmbridge.ErrCredentials) || !errors.Is(err, slurmbridge.ErrUnreachable) {
		t.Errorf("%v, want a site that does not answer", err)
	}
	login.err, login.answer = nil, slurmbridge.Output{Stdout: []byte(token(clock) + "\n")}
	err = list(6)
	if !strings.Contains(fmt.Sprint(err), "printed no SLURM_JWT=") {
		t.Errorf("%v, want what is missing", err)
	}
	checkSecret(t, err)
}

// How long the site lists ended jobs is asked where the files are; where nobody tells, accounting is asked soon.
func TestRemembers(t *testing.T) {
	type memory struct {
		Age        time.Duration
		Accounting bool
		// Longest is between two lists while nothing changes.
		Longest time.Duration
	}
	config := func(age int, storage string) *scontrol {
		return &scontrol{answer: slurmbridge.Output{Stdout: fmt.Appendf(nil, "AccountingStorageType   = accounting_storage/%s\nMinJobAge               = %d sec\nKillWait = 30 sec\n", storage, age)}}
	}
	for reason, c := range map[string]struct {
		says *scontrol
		want memory
	}{
		"what is forgotten stands in the accounts":        {config(30, "slurmdbd"), memory{30 * time.Second, true, time.Minute}},
		"nothing else tells an end: three lists for each": {config(30, "none"), memory{30 * time.Second, false, 10 * time.Second}},
		"it remembers longer than any pace":               {config(300, "none"), memory{5 * time.Minute, false, time.Minute}},
		"it forgets sooner than we may ask":               {config(2, "none"), memory{2 * time.Second, false, 5 * time.Second}},
		"nobody tells":                                    {&scontrol{err: slurmbridge.ErrUnreachable}, memory{unknownAge, true, time.Minute}},
	} {
		var got memory
		got.Age, got.Accounting = remembers(t.Context(), c.says)
		got.Longest = slurmPace(got.Accounting, got.Age).ListMax
		if got != c.want {
			t.Errorf("%s: %+v, want %+v", reason, got, c.want)
		}
	}
}

// login plays a login node of a cluster, whose sbatch refuses everything.
type login struct{ cluster string }

func (l login) Run(_ context.Context, c slurmbridge.Command) (slurmbridge.Output, error) {
	switch argv := strings.Join(c.Argv, " "); {
	case l.cluster == "":
		return slurmbridge.Output{Code: 127}, nil
	case argv == "sbatch --version":
		return slurmbridge.Output{Stdout: []byte("slurm 24.11.5\n")}, nil
	case argv == "scontrol show config":
		return slurmbridge.Output{Stdout: []byte("ClusterName = " + l.cluster + "\n")}, nil
	case strings.HasPrefix(argv, "sbatch ") && strings.HasSuffix(argv, " --test-only"):
		return slurmbridge.Output{Code: 1, Stderr: []byte("allocation failure: Invalid qos specification\n")}, nil
	}
	return slurmbridge.Output{}, fmt.Errorf("%q is not what only asks", c.Argv)
}

// Slurmrestd cannot say whether a job could run: the sbatch of the files' host does, when it is of the same cluster.
func TestRESTIsAskedThroughSbatch(t *testing.T) {
	r := newRestd(t)
	r.accept(token(time.Unix(1700000000, 0)))
	key := slurmbridge.NewKey("0123456789abcdef", "0123456789abcdef", 1)
	script := slurmbridge.Script{Directory: "/work/run/1", Node: "/work/bin/assay-node", Parts: []slurmbridge.Part{{QOS: "best"}}}
	for reason, c := range map[string]struct {
		cluster string
		here    login
		asked   bool
	}{
		"the same":                    {"meluxina", login{"meluxina"}, true},
		"an old server tells none":    {"", login{"meluxina"}, true},
		"another":                     {"meluxina", login{"karolina"}, false},
		"a host without its programs": {"meluxina", login{}, false},
	} {
		r.cluster = c.cluster
		o := &OS{Now: func() time.Time { return time.Unix(1700000000, 0) }}
		secrets := func(context.Context, string, string) ([]byte, error) { return []byte(r.takes), nil }
		slurm := r.open(t, o, &v1alpha1.RESTDoor{Token: &v1alpha1.KeySource{SecretKeyRef: &v1alpha1.SecretKey{Name: "mel", Key: "token"}}}, c.here, secrets)
		jobs := askable(t.Context(), slurm, c.here, "0123456789abcdef")
		if _, ok := jobs.(slurmbridge.Accountant); !ok {
			t.Errorf("%s: no accounting any more", reason)
		}
		asker, ok := jobs.(slurmbridge.Preflighter)
		if ok != c.asked {
			t.Errorf("%s: can be asked: %t, want %t", reason, ok, c.asked)
			continue
		}
		if ok {
			if err := asker.Preflight(t.Context(), key, script); !errors.Is(err, slurmbridge.ErrRefused) || !strings.Contains(err.Error(), "Invalid qos specification") {
				t.Errorf("%s: %v, want Slurm's refusal", reason, err)
			}
		}
	}
}

// A Secret that cannot be read is told from one that is not there.
func TestTokenCannotBeRead(t *testing.T) {
	ref := &v1alpha1.KeySource{SecretKeyRef: &v1alpha1.SecretKey{Name: "mel", Key: "token"}}
	for reason, c := range map[string]struct {
		from    *v1alpha1.KeySource
		err     error
		refused bool
	}{
		"not there":     {ref, fmt.Errorf("%w: create it", slurmbridge.ErrCredentials), true},
		"no API server": {ref, errors.New("connection refused"), false},
		"no file":       {&v1alpha1.KeySource{File: "~/none"}, nil, true},
	} {
		secrets := func(context.Context, string, string) ([]byte, error) { return nil, c.err }
		_, err := readToken(t.Context(), &OS{Home: t.TempDir()}, c.from, secrets)
		if errors.Is(err, slurmbridge.ErrCredentials) != c.refused || errors.Is(err, slurmbridge.ErrUnreachable) == c.refused {
			t.Errorf("%s: %v", reason, err)
		}
	}
}
