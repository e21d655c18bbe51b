package ssh

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestEnviron(t *testing.T) {
	for reason, tt := range map[string]struct {
		of   login
		want []string
	}{
		"the login shell's folders come first, each once": {
			login{plain: map[string]string{"HOME": "/h", "USER": "u", "PATH": "/usr/bin:/bin"}, shell: map[string]string{"HOME": "/x", "PATH": "/opt/slurm/bin:/usr/bin"}},
			[]string{"HOME=/h", "USER=u", "PATH=/opt/slurm/bin:/usr/bin:/bin"},
		},
		"a relative folder is another one there": {login{plain: map[string]string{"PATH": ".:/bin::bin"}}, []string{"PATH=/bin"}},
		"the login shell knows the cluster":      {login{plain: map[string]string{"SLURM_CONF": "/a"}, shell: map[string]string{"SLURM_CONF": "/b"}}, []string{"SLURM_CONF=/b"}},
		"or does not":                            {login{plain: map[string]string{"SLURM_CONF": "/a"}, shell: map[string]string{"SLURM_CONF": ""}}, []string{"SLURM_CONF=/a"}},
	} {
		if diff := cmp.Diff(tt.want, tt.of.environ()); diff != "" {
			t.Errorf("%s: -want +got\n%s", reason, diff)
		}
	}
}

func FuzzVariables(f *testing.F) {
	const whole = "assay-variables\x00HOME=/h\x00USER=u\x00LOGNAME=u\x00SHELL=/bin/sh\x00PATH=/bin\nx\x00SLURM_CONF=\x00"
	f.Add("Welcome to assay\n" + whole)
	f.Add(whole[:len(whole)-1])
	f.Add("HOME=/h\x00")
	f.Fuzz(func(t *testing.T, text string) {
		got := parseVariables([]byte(text))
		if len(got) != 0 && len(got) != len(variables()) {
			t.Errorf("some of the variables: %v", got)
		}
		if again := parseVariables([]byte("noise" + text)); len(got) > 0 && !cmp.Equal(got, again) {
			t.Errorf("noise changes %v to %v", got, again)
		}
	})
}
