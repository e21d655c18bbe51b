package rundir

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const (
	digestOf1 = "sha256:1111111111111111111111111111111111111111111111111111111111111111"
	hexOf2    = "2222222222222222222222222222222222222222222222222222222222222222"
)

func TestImageRecord(t *testing.T) {
	want := ImageRecord{Version: Version, URI: "docker://a/b:v1", Digest: digestOf1, SHA256: hexOf2, Size: 7,
		Time: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC), Runtime: "apptainer version 1.4.5"}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseImageRecord(b)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&want, got); diff != "" {
		t.Errorf("-written +read\n%s", diff)
	}
	cases := map[string]struct{ reason, in, want string }{
		"cut":        {"a copy that broke off", string(b[:len(b)/2]), "unexpected end"},
		"empty":      {"a file that was never written", "", "unexpected end"},
		"version":    {"a later release wrote it", strings.Replace(string(b), `"version":1`, `"version":9`, 1), "version 9"},
		"digest":     {"it is a file name", strings.Replace(string(b), digestOf1, "sha256:../../x", 1), "64 digits"},
		"big digits": {"two names of one image", strings.Replace(string(b), hexOf2, strings.Repeat("A", 64), 1), "64 digits"},
		"size":       {"an empty file is no image", strings.Replace(string(b), `"size":7`, `"size":0`, 1), "0 bytes"},
	}
	for name, c := range cases {
		if _, err := ParseImageRecord([]byte(c.in)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s: %v, want %q", name, c.reason, err, c.want)
		}
	}
}

func TestStoredImage(t *testing.T) {
	sif := StoredImage("/w", digestOf1)
	if want := "/w/images/" + strings.Repeat("1", 64) + ".sif"; sif != want {
		t.Errorf("%s, want %s", sif, want)
	}
	if got, want := ImageRecordOf(sif), "/w/images/"+strings.Repeat("1", 64)+".json"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A plan cannot have a node put an image where another one belongs, or anywhere else.
func TestPlanRefusesPulls(t *testing.T) {
	good := ImagePull{URI: "docker://a/b", Digest: digestOf1, SIF: StoredImage("/w", digestOf1)}
	cases := map[string]struct {
		change func(*ImagePull)
		want   string
	}{
		"good":        {func(*ImagePull) {}, ""},
		"local":       {func(p *ImagePull) { p.URI = "/a.sif" }, "only what comes from a registry"},
		"no scheme":   {func(p *ImagePull) { p.URI = "a/b" }, "only what comes from a registry"},
		"no digest":   {func(p *ImagePull) { p.Digest = "" }, "64 digits"},
		"other image": {func(p *ImagePull) { p.SIF = "/w/images/" + hexOf2 + ".sif" }, "no path of a store"},
		"relative":    {func(p *ImagePull) { p.SIF = strings.TrimPrefix(p.SIF, "/") }, "no path of a store"},
		"dots":        {func(p *ImagePull) { p.SIF = "/w/../" + strings.Repeat("1", 64) + ".sif" }, "no path of a store"},
	}
	for name, c := range cases {
		pull := good
		c.change(&pull)
		p := Plan{Launcher: LaunchSrun, Repeats: Repeats{First: 1, Count: 1, Restart: RestartNone}, Images: []ImagePull{pull}}
		if err := p.Check(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func FuzzParseImageRecord(f *testing.F) {
	f.Add([]byte(`{"version":1,"uri":"docker://a","digest":"` + digestOf1 + `","sha256":"` + hexOf2 + `","size":3,"time":"2026-11-30T12:00:00Z","runtime":"x"}`))
	f.Add([]byte(`{"image":{"uri":"docker://a","digest":"x"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseImageRecord(b); err == nil && (r.Size <= 0 || len(StoredImage("/", r.Digest)) != len("/images/.sif")+64) {
			t.Errorf("read %+v", r)
		}
		if u, err := ParseUsedImage(b); err != nil && u != nil {
			t.Errorf("read %+v beside %v", u, err)
		}
	})
}
