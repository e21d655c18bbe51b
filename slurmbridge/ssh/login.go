package ssh

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"assay.bench/slurmbridge"
)

// login is what a login sets. A module environment or a file below /etc/profile.d may set PATH and SLURM_CONF for login
// shells alone, while a command that comes over SSH gets none.
type login struct{ plain, shell map[string]string }

// variables are those that a command may see.
func variables() []string { return []string{"HOME", "USER", "LOGNAME", "SHELL", "PATH", "SLURM_CONF"} }

// environ is the environment of a command: the folders of both PATHs, those of the login shell first.
func (l *login) environ() []string {
	var out []string
	for _, name := range variables() {
		value := l.plain[name]
		switch of := l.shell[name]; {
		case name == "PATH":
			value = union(of, value)
		case name == "SLURM_CONF" && of != "":
			value = of
		}
		if value != "" {
			out = append(out, name+"="+value)
		}
	}
	return out
}

// union joins lists of folders; each stands once, where it comes first. A relative one is left out: it means another
// folder than it did.
func union(lists ...string) string {
	var out []string
	seen := map[string]bool{}
	for _, list := range lists {
		for folder := range strings.SplitSeq(list, ":") {
			if strings.HasPrefix(folder, "/") && !seen[folder] {
				seen[folder], out = true, append(out, folder)
			}
		}
	}
	return strings.Join(out, ":")
}

// loginOf asks the host once. A question outlives the caller that asked it: a slow profile does not become faster by
// being asked again.
func (h *Host) loginOf(ctx context.Context) (*login, error) {
	h.mu.Lock()
	if h.login != nil {
		defer h.mu.Unlock()
		return h.login, nil
	}
	asking := h.asking
	if asking == nil {
		asking = make(chan struct{})
		h.asking = asking
		go func() {
			l, err := h.askLogin(context.WithoutCancel(ctx))
			h.mu.Lock()
			defer h.mu.Unlock()
			h.login, h.asked, h.asking = l, err, nil
			close(asking)
		}()
	}
	h.mu.Unlock()
	select {
	case <-asking:
	case <-ctx.Done():
		return nil, h.unreachable(fmt.Errorf("the login shell has not said its PATH yet: %w", context.Cause(ctx)))
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.login, h.asked
}

// askLogin asks for the variables of this session and of a login shell. A profile that does not end or that fails leaves
// those of the session.
func (h *Host) askLogin(ctx context.Context) (*login, error) {
	plain, err := h.ask(ctx, "the environment", printVariables())
	if err != nil {
		return nil, err
	}
	// csh has no option for a login shell that runs a command; what its users' sessions get is what .cshrc sets.
	const loginShell = `case ${SHELL##*/} in bash|dash|fish|ksh*|mksh|sh|zsh) s=$SHELL ;; *) s=/bin/bash ;; esac; "$s" -l -c `
	shell, err := h.ask(ctx, "the login shell", loginShell+slurmbridge.Quote(line(printVariables()))+" </dev/null")
	slow := errors.Is(err, context.DeadlineExceeded)
	if err != nil && !slow {
		return nil, err
	}
	return &login{plain: plain, shell: shell}, nil
}

// printVariables prints a sign, and NAME=value with a zero byte after each.
func printVariables() string {
	return `printf 'assay-variables\000'; for v in ` + strings.Join(variables(), " ") + `; do eval "w=\${$v-}"; printf '%s=%s\000' "$v" "$w"; done`
}

func (h *Host) ask(ctx context.Context, name, script string) (map[string]string, error) {
	s, m, err := h.start(ctx, name, "( "+script+"\n)")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, h.patience) // for its profile: a connection has times of its own
	defer cancel()
	out, err := h.finish(ctx, s, m, name, bytes.NewReader(nil))
	if err != nil {
		return nil, err
	}
	return parseVariables(out.Stdout), nil
}

// parseVariables reads what printVariables prints, after whatever a profile printed before it. What is not there is "".
func parseVariables(b []byte) map[string]string {
	_, b, _ = bytes.Cut(b, []byte("assay-variables\x00"))
	out := map[string]string{}
	for _, name := range variables() {
		value, rest, whole := bytes.Cut(b, []byte{0})
		value, named := bytes.CutPrefix(value, []byte(name+"="))
		if !whole || !named {
			return map[string]string{}
		}
		out[name], b = string(value), rest
	}
	return out
}
