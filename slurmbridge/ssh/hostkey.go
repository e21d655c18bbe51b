package ssh

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"assay.bench/slurmbridge"
)

// pins are the keys that a host may show.
type pins struct {
	target Target
	db     *knownhosts.HostKeyDB
}

func newPins(t Target) (*pins, error) {
	if strings.TrimSpace(string(t.KnownHosts)) == "" {
		return nil, fault{fmt.Sprintf("%s: no host key is pinned: ask the site for its fingerprints, and add the line that \"%s\" prints to knownHosts when it has one of them",
			t.address(), keyscan(t)), []error{slurmbridge.ErrHostKey}}
	}
	// The library reads files only.
	f, err := os.CreateTemp("", "assay-known-hosts-*")
	if err != nil {
		return nil, fmt.Errorf("known hosts: %w", err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(t.KnownHosts)
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("known hosts: %w", err)
	}
	db, err := knownhosts.NewDB(f.Name())
	if err != nil {
		words := strings.ReplaceAll(err.Error(), f.Name(), "line") // "line:3: ..."
		return nil, fault{fmt.Sprintf("%s: knownHosts: %s: give lines as in OpenSSH's known_hosts", t.address(), words), []error{slurmbridge.ErrHostKey, err}}
	}
	return &pins{t, db}, nil
}

func keyscan(t Target) string {
	if t.Port == 0 || t.Port == 22 {
		return "ssh-keyscan " + t.Host
	}
	return fmt.Sprintf("ssh-keyscan -p %d %s", t.Port, t.Host)
}

// algorithms are those of the pinned keys, then all others, and certificates last: a host that shows another key can then
// be told which, and what a certificate holds could not be pinned.
func (p *pins) algorithms() []string {
	pinned := p.db.HostKeyAlgorithms(p.target.pinnedAs())
	rank := func(algorithm string) int {
		switch i := slices.Index(pinned, algorithm); {
		case i >= 0:
			return i
		case strings.Contains(algorithm, "-cert-"):
			return len(pinned) + 1
		}
		return len(pinned)
	}
	all := ssh.SupportedAlgorithms().HostKeys
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(rank(a), rank(b)) })
	return all
}

// check accepts a pinned key and no other.
func (p *pins) check(key ssh.PublicKey) error {
	// Only the name counts: behind a jump host there is no address that we could see.
	err := p.db.HostKeyCallback()(p.target.pinnedAs(), &net.TCPAddr{IP: net.IPv4zero}, key)
	if err == nil {
		return nil
	}
	where, shown := p.target.address(), fingerprint(key)
	words := fmt.Sprintf("%s shows %s, which cannot be checked: %v", where, shown, err)
	if revoked, ok := errors.AsType[*xknownhosts.RevokedError](err); ok {
		words = fmt.Sprintf("%s SHOWS A REVOKED HOST KEY, %s (line %d of knownHosts): somebody may be listening in; ask the site before anything else",
			where, shown, revoked.Revoked.Line)
	} else if e, ok := errors.AsType[*xknownhosts.KeyError](err); ok && len(e.Want) > 0 {
		var pinned []string
		for _, w := range e.Want {
			pinned = append(pinned, fingerprint(w.Key))
		}
		words = fmt.Sprintf("THE HOST KEY OF %s HAS CHANGED: pinned is %s, and it shows %s: somebody may be listening in; ask the site, and only if it says that the key is new replace the line in knownHosts",
			where, strings.Join(pinned, " or "), shown)
	} else if ok {
		words = fmt.Sprintf("the host key of %s is not pinned; it shows %s: if that is what the site publishes, add this line to knownHosts: %s",
			where, shown, knownhosts.Line([]string{p.target.pinnedAs()}, key))
	} else if c, ok := key.(*ssh.Certificate); ok {
		words = fmt.Sprintf("%s shows a certificate by %s, which is not to be trusted (%v): if that is the site's authority, pin it by a line with @cert-authority, else pin the host's own key",
			where, fingerprint(c.SignatureKey), err)
	}
	return fault{words, []error{slurmbridge.ErrUnreachable, slurmbridge.ErrHostKey}}
}

func fingerprint(k ssh.PublicKey) string { return k.Type() + " " + ssh.FingerprintSHA256(k) }
