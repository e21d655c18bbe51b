package rest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"assay.bench/slurmbridge"
)

// Credentials are what one request is made with.
type Credentials struct {
	// User is the name of the user; empty takes the one that the token names.
	User string
	// Token is a JSON web token of Slurm's.
	Token string
}

// life is how long a token is valid; both are zero where it does not say.
type life struct {
	from, until time.Time
	// user is whose token it is; empty where it does not say.
	user string
}

// readLife reads a token's claims. Nobody but Slurm can tell whether it is genuine.
func readLife(token string) (life, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return life{}, errors.New("it is no JSON web token: those have three parts with dots between")
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return life{}, fmt.Errorf("the claims of the token: %w", err)
	}
	var claims struct {
		Issued  float64 `json:"iat"`
		Expires float64 `json:"exp"`
		User    string  `json:"sun"`
	}
	if err := json.Unmarshal(raw, &claims); err != nil {
		return life{}, fmt.Errorf("the claims of the token: %w", err)
	}
	return life{from: instant(claims.Issued), until: instant(claims.Expires), user: claims.User}, nil
}

// instant reads seconds since 1970; the zero time for none.
func instant(seconds float64) time.Time {
	if !(seconds > 0 && seconds < 1e11) {
		return time.Time{}
	}
	return time.Unix(int64(seconds), 0).UTC()
}

// isOver says that the token is not valid any more.
func (l life) isOver(now time.Time) bool { return !l.until.IsZero() && !now.Before(l.until) }

// isHalfOver says that it is time for another.
func (l life) isHalfOver(now time.Time) bool {
	return !l.until.IsZero() && !now.Before(l.from.Add(l.until.Sub(l.from)/2))
}

// keeper gives each request its token, and sees to it that there is a valid one.
type keeper struct {
	read    func(context.Context) (Credentials, error)
	refresh func(context.Context) (string, error)
	now     func() time.Time
	cure    string
	// turn is held by the one request that makes a new token.
	turn chan struct{}

	mu sync.Mutex
	// who is the user of the last request.
	who string
	// made is the token that refresh made when read gave the token given.
	made, given string
	// seen is when the current token was first used: a token that does not say when it was issued counts from then.
	token   string
	seen    time.Time
	expires time.Time
	// tried is the last attempt that failed, and failed why.
	tried  time.Time
	failed error
	// doubted is the last token that was refused, and renewed when a new one was last made.
	doubted string
	renewed time.Time
}

// patience is the time between two attempts at a new token while the old one is valid.
const patience = 30 * time.Second

func newKeeper(o Options) *keeper {
	return &keeper{read: o.Credentials, refresh: o.Refresh, now: o.Now, cure: o.Cure, turn: make(chan struct{}, 1)}
}

func (k *keeper) state() (expires time.Time, refresh error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.expires, k.failed
}

// credentials are those of one request.
func (k *keeper) credentials(ctx context.Context) (Credentials, error) {
	cred, err := k.read(ctx)
	if err != nil {
		return Credentials{}, k.without(ctx, fmt.Errorf("no credentials: %w", err))
	}
	cred.Token = strings.TrimSpace(cred.Token)
	given := cred.Token
	cred.Token = k.current(given)
	if k.isDue(cred.Token) {
		if cred.Token, err = k.renew(ctx, given); err != nil {
			return Credentials{}, k.without(ctx, err)
		}
	}
	if cred.Token == "" {
		return Credentials{}, k.useless("the token is empty")
	}
	if strings.ContainsFunc(cred.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return Credentials{}, k.useless("the token holds a blank or another character that no token has")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.who = cred.User; k.who == "" {
		k.who = k.lifeOf(cred.Token).user
	}
	return cred, nil
}

// user is who the last request was made for; empty where nobody says.
func (k *keeper) user() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.who
}

// without is why a request had no token. That a place did not answer, or not in time, says nothing about the credentials.
func (k *keeper) without(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return unreachable(ctx, err)
	case errors.Is(err, slurmbridge.ErrUnreachable) && !errors.Is(err, slurmbridge.ErrCredentials):
		return fmt.Errorf("slurmrestd: %w", err)
	}
	return refused{err}
}

// refused is why there are no credentials to ask with.
type refused struct{ why error }

func (r refused) Error() string { return "slurmrestd: " + r.why.Error() }

// Unwrap returns the kinds of the error.
func (r refused) Unwrap() []error {
	return []error{slurmbridge.ErrUnreachable, slurmbridge.ErrCredentials, r.why}
}

// useless is what is wrong with a token before anybody is asked, and what to do about it.
func (k *keeper) useless(what string) error {
	return refused{errors.New(strings.TrimSuffix(what+": "+k.cure, ": "))}
}

// doubt notes that a token was refused: a new one is made soon, whatever the old one's age. It returns what may be wrong
// with the token, and what to do about it.
func (k *keeper) doubt() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.doubted = k.token
	if k.lifeOf(k.token).isOver(k.now()) {
		return strings.TrimSuffix("the token has expired: "+k.cure, ": ")
	}
	return k.cure
}

// current is the token that was made in the place of the given one, or that one.
func (k *keeper) current(given string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	token := given
	if k.made != "" && k.given == given {
		token = k.made
	}
	if token != k.token {
		k.token, k.seen = token, k.now()
	}
	k.expires = k.lifeOf(token).until
	return token
}

// lifeOf is a token's; one that we cannot read lives for ever, and Slurm says what it is.
func (k *keeper) lifeOf(token string) life {
	l, err := readLife(token)
	if err != nil {
		return life{}
	}
	if l.from.IsZero() {
		l.from = k.seen
	}
	return l
}

// isDue says that a new token has to be made now.
func (k *keeper) isDue(token string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, now := k.lifeOf(token), k.now()
	switch {
	case k.refresh == nil:
		return false
	case token == "" || l.isOver(now):
		return true
	case token == k.doubted:
		return now.Sub(k.tried) >= patience && now.Sub(k.renewed) >= patience
	}
	return l.isHalfOver(now) && now.Sub(k.tried) >= patience
}

// renew makes a new token, one request at a time. The others go on with the old one while it is valid, and wait when it
// is not.
func (k *keeper) renew(ctx context.Context, given string) (string, error) {
	old := k.current(given)
	usable := old != "" && !k.isOver(old)
	if usable {
		select {
		case k.turn <- struct{}{}:
		default:
			return old, nil
		}
	} else {
		select {
		case k.turn <- struct{}{}:
		case <-ctx.Done():
			return "", context.Cause(ctx)
		}
	}
	defer func() { <-k.turn }()
	if now := k.current(given); now != old {
		return now, nil // somebody made one in the meantime
	}
	made, err := k.refresh(ctx)
	if made = strings.TrimSpace(made); err == nil && made == "" {
		err = errors.New("it is empty")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err != nil {
		k.tried, k.failed = k.now(), fmt.Errorf("a new token: %w", err)
		if usable {
			return old, nil
		}
		return "", k.failed
	}
	k.made, k.given, k.tried, k.failed = made, given, time.Time{}, nil
	k.token, k.seen, k.renewed = made, k.now(), k.now()
	k.expires = k.lifeOf(made).until
	return made, nil
}

func (k *keeper) isOver(token string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.lifeOf(token).isOver(k.now())
}
