package kubectl_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"assay.bench/internal/controlplane/kubectl"
)

func TestRun(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	for name, tc := range map[string]struct {
		reason           string
		args             []string
		code             int
		wantOut, wantErr string
	}{
		"works":           {"a command without a server", []string{"version", "--client"}, 0, "Client Version", ""},
		"fatal error":     {"kubectl must not end this process", []string{"get", "secrets", "--kubeconfig", missing}, 1, "", "no such file"},
		"unknown flag":    {"an error of the flags comes back another way", []string{"get", "--nonsense"}, 1, "", "unknown flag: --nonsense"},
		"unknown command": {"no plug-in is looked for", []string{"nonsense"}, 1, "", `unknown command "nonsense"`},
		"default config":  {"the given kubeconfig is used", []string{"get", "secrets"}, 1, "", missing},
	} {
		t.Run(name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := kubectl.Run(kubectl.Options{Args: tc.args, Kubeconfig: missing, In: strings.NewReader(""), Out: &out, Err: &errs})
			if code != tc.code || !strings.Contains(out.String(), tc.wantOut) || !strings.Contains(errs.String(), tc.wantErr) {
				t.Errorf("%s: exit code %d, want %d\nout: %s\nerr: %s", tc.reason, code, tc.code, out.String(), errs.String())
			}
		})
	}
}
