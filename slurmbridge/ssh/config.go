package ssh

import (
	"bytes"
	"crypto/sha1" //nolint:gosec // OpenSSH names sockets by it
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"strconv"
	"strings"

	"github.com/kevinburke/ssh_config"
)

// Config is what OpenSSH's client would look at, for Resolve.
type Config struct {
	// Text is the content of ~/.ssh/config. What it includes is read from the disk.
	Text []byte
	// Home is the user's folder, User and UID are the user, Hostname is this machine.
	Home, User, Hostname string
	UID                  int
	// Agent is the path of the agent's socket, where one runs.
	Agent string
	// Read reads a file that Text names.
	Read func(path string) ([]byte, error)
}

// Resolved is what an alias stands for.
type Resolved struct {
	Options Options
	// ControlPath is where OpenSSH keeps the socket of a master; "" where it keeps none.
	ControlPath string
}

// Resolve looks up an alias as OpenSSH's client does: HostName, Port, User, IdentityFile, IdentityAgent,
// UserKnownHostsFile, HostKeyAlias, ProxyJump and ControlPath. What turns the check of host keys off is not looked at, nor is
// a Match block whose criterion is not all or host.
func Resolve(alias string, c Config) (Resolved, error) {
	config, err := ssh_config.DecodeBytes(withoutMatches(c.Text))
	if err != nil {
		return Resolved{}, fmt.Errorf("~/.ssh/config: %w", err)
	}
	r := resolver{Config: c, config: config}
	l, err := r.lookUp(alias)
	if err != nil {
		return Resolved{}, fmt.Errorf("~/.ssh/config, for %s: %w", alias, err)
	}
	out := Resolved{Options: Options{Target: l.Target, Agent: l.agent}}
	if out.Options.Jumps, err = r.jumps(l, nil); err != nil {
		return Resolved{}, fmt.Errorf("~/.ssh/config, for %s: %w", alias, err)
	}
	if value := l.get("ControlPath"); value != "" && value != "none" {
		if out.ControlPath, err = l.expand(value); err != nil {
			return Resolved{}, fmt.Errorf("~/.ssh/config, for %s: ControlPath: %w", alias, err)
		}
	}
	return out, nil
}

// withoutMatches empties the lines of Match blocks that the parser refuses the whole file for.
func withoutMatches(text []byte) []byte {
	lines, leave := bytes.Split(text, []byte("\n")), false
	for i, line := range lines {
		words := append(strings.Fields(string(line)), "")
		switch keyword, _, _ := strings.Cut(words[0], "="); strings.ToLower(keyword) {
		case "host":
			leave = false
		case "match":
			known := len(words) == 3 && strings.EqualFold(words[1], "all") || len(words) == 4 && strings.EqualFold(words[1], "host")
			leave = !known
		}
		if leave {
			lines[i] = nil
		}
	}
	return bytes.Join(lines, []byte("\n"))
}

type resolver struct {
	Config
	config *ssh_config.Config
}

// lookup is what one alias stands for.
type lookup struct {
	Target
	*resolver
	alias, agent string
}

// get returns the first value, as OpenSSH does, or "".
func (l *lookup) get(key string) string {
	value, err := l.config.Get(l.alias, key)
	if err != nil {
		return ""
	}
	return value
}

func (r *resolver) lookUp(alias string) (*lookup, error) {
	l := &lookup{resolver: r, alias: alias}
	l.Host, l.User, l.KnownAs = alias, r.User, l.get("HostKeyAlias")
	if value := l.get("User"); value != "" {
		l.User = value
	}
	if value := l.get("Port"); value != "" {
		port, err := strconv.Atoi(value)
		if err != nil {
			return nil, fmt.Errorf("port %q is no number", value)
		}
		l.Port = port
	}
	if value := l.get("HostName"); value != "" {
		name, err := l.expand(value) // of the tokens only %h and %% are known there
		if err != nil {
			return nil, fmt.Errorf("HostName: %w", err)
		}
		l.Host = name
	}
	switch agent := l.get("IdentityAgent"); agent {
	case "", "SSH_AUTH_SOCK":
		l.agent = r.Agent
	case "none":
	default:
		path, err := l.expand(agent)
		if err != nil {
			return nil, fmt.Errorf("IdentityAgent: %w", err)
		}
		l.agent = path
	}
	return l, l.readFiles()
}

// readFiles reads keys and known hosts. As with OpenSSH a file that is not there is passed over.
func (l *lookup) readFiles() error {
	identities, err := l.config.GetAll(l.alias, "IdentityFile")
	if err != nil {
		return err
	}
	if len(identities) == 0 {
		identities = []string{"~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ed25519"}
	}
	for _, file := range identities {
		b, err := l.readFile(file)
		if err != nil {
			return fmt.Errorf("IdentityFile: %w", err)
		}
		if bytes.Contains(b, []byte("PRIVATE KEY")) { // and not the public one of a key that an agent holds
			l.Keys = append(l.Keys, Key{PEM: b})
		}
	}
	known := "~/.ssh/known_hosts ~/.ssh/known_hosts2"
	if value := l.get("UserKnownHostsFile"); value != "" {
		known = value
	}
	for _, file := range append(fields(known), "/etc/ssh/ssh_known_hosts") {
		b, err := l.readFile(file)
		if err != nil {
			return fmt.Errorf("UserKnownHostsFile: %w", err)
		}
		if len(b) > 0 {
			l.KnownHosts = append(append(l.KnownHosts, b...), '\n')
		}
	}
	return nil
}

// fields are the words of a value, of which some may stand in double quotes.
func fields(value string) []string {
	var out []string
	for i, part := range strings.Split(value, `"`) {
		if i%2 == 1 {
			out = append(out, part)
		} else {
			out = append(out, strings.Fields(part)...)
		}
	}
	return out
}

func (l *lookup) readFile(file string) ([]byte, error) {
	if file == "none" {
		return nil, nil
	}
	name, err := l.expand(file)
	if err != nil {
		return nil, err
	}
	b, err := l.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return b, err
}

// jumps are the hosts on the way to one, the nearest first. The first of them may have a way of its own.
func (r *resolver) jumps(to *lookup, seen []string) ([]Target, error) {
	value := to.get("ProxyJump")
	if value == "" && to.get("ProxyCommand") != "" && to.get("ProxyCommand") != "none" {
		return nil, errors.New("it is reached by a ProxyCommand, which is not run here: use ProxyJump, or a master's ControlPath")
	}
	if value == "" || value == "none" {
		return nil, nil
	}
	if len(seen) > 8 {
		return nil, fmt.Errorf("ProxyJump goes in a circle: %s", strings.Join(seen, ", "))
	}
	var out []Target
	for i, hop := range strings.Split(value, ",") {
		l, err := r.lookUpHop(strings.TrimSpace(hop))
		if err != nil {
			return nil, fmt.Errorf("ProxyJump %s: %w", hop, err)
		}
		if i == 0 {
			if out, err = r.jumps(l, append(seen, l.alias)); err != nil {
				return nil, err
			}
		}
		out = append(out, l.Target)
	}
	return out, nil
}

// lookUpHop reads [user@]host[:port], or the same as a URL.
func (r *resolver) lookUpHop(hop string) (*lookup, error) {
	hop = strings.TrimSuffix(strings.TrimPrefix(hop, "ssh://"), "/")
	at := strings.LastIndexByte(hop, '@')
	user, host := hop[:max(0, at)], hop[at+1:]
	port := ""
	if h, p, err := net.SplitHostPort(host); err == nil {
		host, port = h, p
	}
	l, err := r.lookUp(strings.Trim(host, "[]"))
	if err != nil {
		return nil, err
	}
	if user != "" {
		l.User = user
	}
	if port != "" {
		if l.Port, err = strconv.Atoi(port); err != nil {
			return nil, fmt.Errorf("port %q is no number", port)
		}
	}
	return l, nil
}

// expand replaces ~ and the tokens of ssh_config(5).
func (l *lookup) expand(text string) (string, error) {
	if rest, ok := strings.CutPrefix(text, "~/"); ok {
		text = path.Join(l.Home, rest)
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(text, "%")
		out.WriteString(before)
		if !found {
			return out.String(), nil
		}
		if rest == "" {
			return "", fmt.Errorf("%q ends in a single %%", text)
		}
		value, ok := l.token(rest[0])
		if !ok {
			return "", fmt.Errorf("%%%c is not known here: write out what it stands for", rest[0])
		}
		out.WriteString(value)
		text = rest[1:]
	}
}

func (l *lookup) token(letter byte) (string, bool) {
	port := "22"
	if l.Port != 0 {
		port = strconv.Itoa(l.Port)
	}
	short, _, _ := strings.Cut(l.Hostname, ".")
	switch letter {
	case '%':
		return "%", true
	case 'h':
		return l.Host, true
	case 'p':
		return port, true
	case 'r':
		return l.User, true
	case 'n':
		return l.alias, true
	case 'u':
		return l.Config.User, true
	case 'd':
		return l.Home, true
	case 'i':
		return strconv.Itoa(l.UID), true
	case 'l':
		return l.Hostname, true
	case 'L':
		return short, true
	case 'j':
		return l.get("ProxyJump"), true
	case 'C': // since OpenSSH 9.4 with the jump host, before without
		sum := sha1.Sum([]byte(l.Hostname + l.Host + port + l.User + l.get("ProxyJump"))) //nolint:gosec // a name, no secret
		return hex.EncodeToString(sum[:]), true
	}
	return "", false
}
