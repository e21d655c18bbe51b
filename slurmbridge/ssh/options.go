package ssh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"assay.bench/slurmbridge"
)

// Options of Open.
type Options struct {
	// Target is the login node.
	Target
	// Jumps are the hosts on the way there, the nearest first.
	Jumps []Target
	// Agent is the path of an agent's socket, which offers its keys to every host after those of its own; "" for none.
	Agent string
	// Sessions is the most that we open on the connection at once; 0 takes 8, for OpenSSH allows 10.
	Sessions int
	// Dial opens the connection to the first host; nil takes that of package net.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// ConnectTimeout is how long each host may take to let us in, and its profile to say what a login sets; 0 takes 10 s.
	ConnectTimeout time.Duration
	// KeepAlive is how often a connection is asked whether it lives; when it has missed three answers, it is dead. 0 takes
	// 15 s.
	KeepAlive time.Duration
}

// Target is a host to log in to.
type Target struct {
	// Host is a name or an address; Port 0 is 22.
	Host string
	Port int
	User string
	// KnownHosts pins the host's keys: lines as in OpenSSH's known_hosts. Without one for this host there is no connection.
	KnownHosts []byte
	// KnownAs is the name under which KnownHosts lists the host, where that is not Host and Port.
	KnownAs string
	// Keys to log in with.
	Keys []Key
}

// Key is a private key in PEM, as ssh-keygen writes it.
type Key struct {
	PEM []byte
	// Passphrase is needed where the key is encrypted.
	Passphrase []byte
}

func (t Target) address() string { return net.JoinHostPort(t.Host, strconv.Itoa(cmp.Or(t.Port, 22))) }

// pinnedAs is the address under which the host's keys are looked up.
func (t Target) pinnedAs() string {
	if t.KnownAs != "" {
		return net.JoinHostPort(t.KnownAs, "22")
	}
	return t.address()
}

// Open checks the options and returns the host. The first call to it connects.
func Open(o Options) (*Host, error) {
	o.Sessions = max(1, cmp.Or(o.Sessions, defaultSessions))
	o.ConnectTimeout = cmp.Or(o.ConnectTimeout, defaultPatience)
	o.KeepAlive = cmp.Or(o.KeepAlive, 15*time.Second)
	if o.Dial == nil {
		o.Dial = (&net.Dialer{}).DialContext
	}
	p := &pool{o: o}
	for _, t := range append(slices.Clip(o.Jumps), o.Target) {
		h, err := newHop(t, o.Agent)
		if err != nil {
			return nil, err
		}
		p.hops = append(p.hops, h)
	}
	return newHost(p, o.Sessions, o.ConnectTimeout), nil
}

// hop is a Target whose keys were read.
type hop struct {
	Target
	pins    *pins
	signers []ssh.Signer
	agent   string
}

func newHop(t Target, agent string) (*hop, error) {
	if t.Host == "" || strings.ContainsAny(t.Host, " \t\n/@[]") || t.Port < 0 || t.Port > 65535 {
		return nil, fmt.Errorf("host %q, port %d: give the host's name or address, and its port apart from it", t.Host, t.Port)
	}
	if t.User == "" {
		return nil, fmt.Errorf("%s: name the user to log in as", t.address())
	}
	p, err := newPins(t)
	if err != nil {
		return nil, err
	}
	h := &hop{Target: t, pins: p, agent: agent}
	for i, k := range t.Keys {
		s, err := k.signer()
		if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted && agent != "" {
			continue // an agent that holds it needs no passphrase
		}
		if err != nil {
			return nil, fault{fmt.Sprintf("private key %d for %s: %v", i+1, t.address(), err), []error{slurmbridge.ErrCredentials, err}}
		}
		h.signers = append(h.signers, s)
	}
	if len(h.signers) == 0 && agent == "" {
		return nil, fault{t.address() + ": there is no way to log in: give a private key, or the socket of an agent", []error{slurmbridge.ErrCredentials}}
	}
	return h, nil
}

func (k Key) signer() (ssh.Signer, error) {
	if len(k.Passphrase) == 0 {
		s, err := ssh.ParsePrivateKey(k.PEM)
		if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted {
			return nil, fmt.Errorf("it is encrypted: give its passphrase, or use an agent (%w)", err)
		}
		return s, err
	}
	s, err := ssh.ParsePrivateKeyWithPassphrase(k.PEM, k.Passphrase)
	if err != nil {
		return nil, fmt.Errorf("it does not open with the passphrase: %w", err)
	}
	return s, nil
}

// fault is an error that is told in words of its own, besides the kinds that it wraps.
type fault struct {
	words string
	kinds []error
}

// Error is the words alone.
func (f fault) Error() string { return f.words }

// Unwrap returns the kinds.
func (f fault) Unwrap() []error { return f.kinds }
