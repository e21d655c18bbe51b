package node

import (
	"maps"
	"strings"

	"assay.bench/internal/rundir"
)

// expand replaces $(NAME) by the value of NAME, as Kubernetes does in a container's command: an unknown name stays as
// it is, and $$ stands for one $, so that $$(NAME) is a literal $(NAME).
func expand(s string, value func(name string) (string, bool)) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			out.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case '$':
			out.WriteByte('$')
			i++
		case '(':
			name, _, closed := strings.Cut(s[i+2:], ")")
			if !closed {
				out.WriteByte('$')
				continue
			}
			if v, known := value(name); known {
				out.WriteString(v)
			} else {
				out.WriteString("$(" + name + ")")
			}
			i += len(name) + 2
		default:
			out.WriteByte('$')
		}
	}
	return out.String()
}

// eachMark begins a word of a command that stands there once for each rank of the server.
const eachMark = "$(EACH)"

// commandLine replaces the names in a service's environment and in a command. A variable of Env may use the built-in
// names and the variables before it. each are the names of every rank of the server, for the words that ask for them.
func commandLine(argv []string, env []rundir.EnvVar, builtin map[string]string, each []map[string]string) (args, environ []string) {
	known := make(map[string]string, len(builtin)+len(env))
	maps.Copy(known, builtin)
	value := func(name string) (string, bool) { v, ok := known[name]; return v, ok }
	for _, e := range env {
		v := expand(e.Value, value)
		known[e.Name] = v
		environ = append(environ, e.Name+"="+v)
	}
	for _, a := range argv {
		word, repeated := strings.CutPrefix(a, eachMark)
		if !repeated {
			args = append(args, expand(a, value))
			continue
		}
		for _, own := range each {
			args = append(args, expand(word, func(name string) (string, bool) {
				if v, ok := own[name]; ok {
					return v, true
				}
				return value(name)
			}))
		}
	}
	return args, environ
}
