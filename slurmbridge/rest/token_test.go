package rest

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"assay.bench/slurmbridge"
)

// jwt is a token with these claims, signed by nobody.
func jwt(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".x"
}

// lasting is a token of the half hour that begins then.
func lasting(name string, from time.Time) string {
	return jwt(fmt.Sprintf(`{"iat": %d, "exp": %d, "sun": %q}`, from.Unix(), from.Add(30*time.Minute).Unix(), name))
}

// source gives a token, and makes others.
type source struct {
	now   time.Time
	given string
	made  string
	fails error
	calls int
}

func (s *source) keeper() *keeper {
	return newKeeper(Options{
		Credentials: func(context.Context) (Credentials, error) { return Credentials{User: "hpc", Token: s.given}, nil },
		Refresh: func(context.Context) (string, error) {
			s.calls++
			return s.made, s.fails
		},
		Now: func() time.Time { return s.now },
	})
}

func TestReadLife(t *testing.T) {
	for token, want := range map[string]string{
		jwt(`{"exp": 1700001800, "iat": 1700000000, "sun": "hpc"}`): "1700000000 1700001800",
		jwt(`{"exp": 1700001800.5}`):                                "-62135596800 1700001800",
		jwt(`{"exp": 1e300, "iat": -5}`):                            "-62135596800 -62135596800",
		jwt(`{}`):                                                   "-62135596800 -62135596800",
	} {
		l, err := readLife(token)
		if got := fmt.Sprint(l.from.Unix(), " ", l.until.Unix()); err != nil || got != want {
			t.Errorf("%s: %s, %v; want %s", token, got, err, want)
		}
	}
	for _, token := range []string{"", "a.b", "a.!.c", jwt("[]"), jwt(`{"exp": "soon"}`)} {
		if l, err := readLife(token); err == nil {
			t.Errorf("%q: %v, want an error", token, l)
		}
	}
}

// Whose jobs are ours is what the credentials say, or else the token.
func TestUser(t *testing.T) {
	for want, cred := range map[string]Credentials{"hpc": {User: "hpc", Token: jwt(`{"sun": "root"}`)}, "u100000": {Token: jwt(`{"sun": "u100000"}`)}, "": {Token: "opaque"}} {
		k := newKeeper(Options{Credentials: func(context.Context) (Credentials, error) { return cred, nil }, Now: func() time.Time { return time.Unix(1700000000, 0) }})
		if _, err := k.credentials(t.Context()); err != nil || k.user() != want {
			t.Errorf("%q, %v; want %q", k.user(), err, want)
		}
	}
}

func FuzzReadLife(f *testing.F) {
	f.Add(jwt(`{"exp": 1700001800, "iat": 1700000000}`))
	f.Fuzz(func(t *testing.T, token string) {
		l, err := readLife(token)
		if err != nil && l != (life{}) {
			t.Fatalf("an error and %v", l)
		}
		if now := time.Unix(1700000000, 0); l.isOver(now) && !l.isHalfOver(now) && l.from.Before(l.until) {
			t.Fatalf("%v is over before half of it is", l)
		}
	})
}

// A token is made when half of the old one's life is over, and used until the source gives another.
func TestRefresh(t *testing.T) {
	begin := time.Unix(1700000000, 0).UTC()
	s := &source{now: begin, given: lasting("given", begin)}
	k := s.keeper()
	expect := func(reason, token string, calls int) {
		t.Helper()
		cred, err := k.credentials(t.Context())
		if err != nil || cred.Token != token || s.calls != calls || cred.User != "hpc" {
			t.Fatalf("%s: %+v, %v after %d calls; want %q after %d", reason, cred, err, s.calls, token, calls)
		}
	}
	expect("young", s.given, 0)
	s.now = begin.Add(14 * time.Minute)
	expect("before half of it", s.given, 0)
	s.now = begin.Add(15 * time.Minute)
	s.made = lasting("second", s.now)
	second := s.made
	expect("at half of it", second, 1)
	if expires, err := k.state(); err != nil || !expires.Equal(begin.Add(45*time.Minute)) {
		t.Errorf("expires %v, %v; want the new token's", expires, err)
	}
	expect("the new one is young", second, 1)
	s.now = begin.Add(31 * time.Minute)
	s.fails = errors.New("no route")
	expect("a failed attempt leaves the old one", second, 2)
	expect("and is not repeated at once", second, 2)
	if _, err := k.state(); err == nil || err.Error() != "a new token: no route" {
		t.Errorf("state %v, want why it failed", err)
	}
	s.now = s.now.Add(patience)
	s.fails, s.made = nil, lasting("third", s.now)
	expect("but later", s.made, 3)
	s.given = lasting("from the user", s.now)
	expect("the source gives another", s.given, 3)
	s.now, s.fails = s.now.Add(time.Hour), errors.New("no route")
	for range 2 {
		if cred, err := k.credentials(t.Context()); !errors.Is(err, slurmbridge.ErrCredentials) || !errors.Is(err, slurmbridge.ErrUnreachable) {
			t.Errorf("over, and none can be made: %+v, %v; want ErrCredentials", cred, err)
		}
	}
	if s.calls != 5 {
		t.Errorf("%d calls: what is over is renewed at every request", s.calls)
	}
}

// A token that does not say when it was issued counts from its first use; one that never ends is never renewed.
func TestRefreshOfOtherTokens(t *testing.T) {
	begin := time.Unix(1700000000, 0).UTC()
	s := &source{now: begin, given: jwt(fmt.Sprintf(`{"exp": %d}`, begin.Add(10*time.Minute).Unix())), made: "made"}
	k := s.keeper()
	for minutes, calls := range []int{0, 0, 0, 0, 0, 1} {
		s.now = begin.Add(time.Duration(minutes) * time.Minute)
		if _, err := k.credentials(t.Context()); err != nil || s.calls != calls {
			t.Errorf("after %d minutes: %d calls, %v; want %d", minutes, s.calls, err, calls)
		}
	}
	s = &source{now: begin, given: "opaque"}
	k = s.keeper()
	s.now = begin.Add(1000 * time.Hour)
	if cred, err := k.credentials(t.Context()); err != nil || cred.Token != "opaque" || s.calls != 0 {
		t.Errorf("%+v, %v after %d calls", cred, err, s.calls)
	}
	s = &source{now: begin, made: "made"}
	if cred, err := s.keeper().credentials(t.Context()); err != nil || cred.Token != "made" {
		t.Errorf("no token at first: %+v, %v; want the one that was made", cred, err)
	}
}

// While one request makes a token, the others go on with the old one, or wait where that is over.
func TestRefreshOfMany(t *testing.T) {
	begin := time.Unix(1700000000, 0).UTC()
	for reason, age := range map[string]time.Duration{"half over": 20 * time.Minute, "over": 40 * time.Minute} {
		t.Run(reason, func(t *testing.T) {
			made, entered, inside := lasting("made", begin.Add(age)), make(chan struct{}, 8), make(chan struct{})
			old := lasting("old", begin)
			k := newKeeper(Options{
				Credentials: func(context.Context) (Credentials, error) { return Credentials{Token: old}, nil },
				Refresh: func(context.Context) (string, error) {
					entered <- struct{}{}
					<-inside
					return made, nil
				},
				Now: func() time.Time { return begin.Add(age) },
			})
			got := make(chan string)
			ask := func() {
				cred, err := k.credentials(context.WithoutCancel(t.Context()))
				got <- fmt.Sprint(cred.Token == made, cred.Token == old, err)
			}
			const one, other = "true false <nil>", "false true <nil>"
			go ask()
			<-entered
			waiting := 1
			for range 3 {
				go ask()
				if waiting++; reason == "half over" {
					waiting--
					if g := <-got; g != other {
						t.Errorf("%s, want the old token", g)
					}
				}
			}
			close(inside)
			for range waiting {
				if g := <-got; g != one {
					t.Errorf("%s, want the new token", g)
				}
			}
			if len(entered) > 0 {
				t.Errorf("%d more tokens were made", len(entered))
			}
		})
	}
}

// A token that was refused before its time is replaced, once in a while.
func TestDoubt(t *testing.T) {
	begin := time.Unix(1700000000, 0).UTC()
	s := &source{now: begin, given: lasting("given", begin)}
	k := s.keeper()
	k.cure = "mend it"
	for i, want := range []struct {
		later time.Duration
		calls int
	}{{0, 0}, {time.Second, 1}, {time.Second, 1}, {patience, 2}, {patience, 3}} {
		s.now = s.now.Add(want.later)
		s.made = lasting(fmt.Sprint("made ", i), s.now)
		if _, err := k.credentials(t.Context()); err != nil || s.calls != want.calls {
			t.Errorf("request %d: %d calls, %v; want %d", i, s.calls, err, want.calls)
		}
		if advice := k.doubt(); advice != "mend it" {
			t.Errorf("advice %q", advice)
		}
	}
	if s.now = s.now.Add(time.Hour); k.doubt() != "the token has expired: mend it" {
		t.Errorf("advice %q", k.doubt())
	}
}

// A place of the token that does not answer is told from a token that is not there.
func TestNoAnswerIsNoRefusal(t *testing.T) {
	begin := time.Unix(1700000000, 0).UTC()
	away := fmt.Errorf("%w: login", slurmbridge.ErrUnreachable)
	over, end := context.WithCancel(t.Context())
	end()
	for reason, c := range map[string]struct {
		ctx context.Context
		o   Options
	}{
		"of the credentials": {t.Context(), Options{Credentials: func(context.Context) (Credentials, error) { return Credentials{}, away }}},
		"of the refresh": {t.Context(), Options{Credentials: func(context.Context) (Credentials, error) { return Credentials{}, nil },
			Refresh: func(context.Context) (string, error) { return "", away }}},
		"in time": {over, Options{Credentials: func(ctx context.Context) (Credentials, error) { return Credentials{}, ctx.Err() }}},
	} {
		c.o.Now = func() time.Time { return begin }
		_, err := newKeeper(c.o).credentials(c.ctx)
		if !errors.Is(err, slurmbridge.ErrUnreachable) || errors.Is(err, slurmbridge.ErrCredentials) {
			t.Errorf("%s: %v, want no word about the credentials", reason, err)
		}
	}
}

func TestCredentialsAreRefused(t *testing.T) {
	for words, o := range map[string]Options{
		"no credentials: no such file": {Credentials: func(context.Context) (Credentials, error) { return Credentials{}, errors.New("no such file") }},
		"the token is empty":           {Credentials: func(context.Context) (Credentials, error) { return Credentials{User: "hpc", Token: " \n"}, nil }},
		"the token holds a blank":      {Credentials: func(context.Context) (Credentials, error) { return Credentials{Token: "a\nb"}, nil }},
		"it is empty": {Credentials: func(context.Context) (Credentials, error) { return Credentials{}, nil },
			Refresh: func(context.Context) (string, error) { return "\n", nil }},
	} {
		o.Now = func() time.Time { return time.Unix(1700000000, 0) }
		_, err := newKeeper(o).credentials(t.Context())
		if !errors.Is(err, slurmbridge.ErrCredentials) || !errors.Is(err, slurmbridge.ErrUnreachable) || !strings.Contains(err.Error(), words) {
			t.Errorf("%v, want ErrCredentials and %q", err, words)
		}
	}
}
