//go:build e2e

package testsite

import (
	"crypto/ed25519"
	"encoding/pem"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"assay.bench/api/v1alpha1"
)

// badSite is a Site that cannot be used, and the one condition that says so.
type badSite struct {
	reason string
	doors  string
	// workDir is the site's own where it is empty.
	workDir string
	// kind of the condition that tells, what it is, and words of its message and of Ready's.
	kind, want string
	words      []string
}

// badSites: each mistake is one clear condition of its Site, and what would run there says the same.
func (p *plane) badSites() {
	all := p.badDoors()
	maps.Copy(all, p.badFolders())
	var texts []string
	for name, in := range all {
		work := in.workDir
		if work == "" {
			work = p.site.Get("WORK")
		}
		texts = append(texts, siteText(name, work, in.doors))
	}
	texts = append(texts, benchmark("nowhere", "site: slurm", "site: others-write"))
	p.apply(append(texts, p.fills()...)...)
	for name, in := range all {
		p.t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := p.For(t)
			var s v1alpha1.Site
			p.until(in.reason, func() bool { s = p.siteNow(name); return is(s.Status.Conditions, in.kind) == in.want }, func() any { return s.Status })
			said := message(s.Status.Conditions, v1alpha1.ConditionReady)
			if got := is(s.Status.Conditions, v1alpha1.ConditionReady); !strings.HasPrefix(got, "False ") {
				t.Errorf("%s: Ready is %q", in.reason, got)
			}
			for _, w := range in.words {
				if !strings.Contains(said, w) {
					t.Errorf("%s: the message is %q, want %q in it", in.reason, said, w)
				}
			}
		})
	}
	p.t.Run("a benchmark there", func(t *testing.T) {
		t.Parallel()
		p.For(t).stalled("nowhere", "others may write to")
	})
	p.t.Run("a work folder that fills", func(t *testing.T) {
		t.Parallel()
		p := p.For(t)
		p.stalled("fills", "no space left on device")
		p.site.Root("bash", "-c", "find "+filepath.Join(p.site.Get("STATE"), "small")+" -name fill -delete")
		b := p.awaitEnd("fills")
		if got := is(b.Status.Conditions, v1alpha1.ConditionSucceeded); got != "False "+v1alpha1.ReasonFailed {
			t.Errorf("once there is room for its result, the Benchmark: %s: %s", got, message(b.Status.Conditions, v1alpha1.ConditionSucceeded))
		}
	})
}

// stalled waits until a Benchmark says what is wrong with its work folder.
func (p *plane) stalled(benchmark, words string) {
	p.t.Helper()
	var b v1alpha1.Benchmark
	p.until(benchmark+" says what is wrong", func() bool {
		b = p.bm(benchmark)
		return is(b.Status.Conditions, v1alpha1.ConditionStalled) == "True "+v1alpha1.ReasonWorkDirUnusable
	}, func() any { return []any{b.Status, p.sj(benchmark).Status} })
	if said := message(b.Status.Conditions, v1alpha1.ConditionStalled); !strings.Contains(said, words) {
		p.t.Errorf("%s says %q, want %q in it", benchmark, said, words)
	}
}

// badDoors are doors that do not open.
func (p *plane) badDoors() map[string]badSite {
	p.t.Helper()
	good := loginDoor(p.t, p.site)
	change := func(pattern, fresh string) string {
		p.t.Helper()
		found := regexp.MustCompile(pattern)
		if !found.MatchString(good) {
			p.t.Fatalf("%s has no %s", good, pattern)
		}
		return "jobs: {ssh: " + found.ReplaceAllString(good, fresh) + "}"
	}
	other, key := newKey(p.t)
	file := p.u.Write("other-key", key)
	return map[string]badSite{
		"host-key": {
			reason: "the host is another one", kind: v1alpha1.ConditionCredentialsValid, want: "False HostKeyRefused",
			doors: change(`ssh-ed25519 [^ \\"]+`, "ssh-ed25519 "+other), words: []string{p.site.Get("SSH_HOST")},
		},
		"key": {
			reason: "the site does not know the key", kind: v1alpha1.ConditionCredentialsValid, want: "False CredentialsRefused",
			doors: change(`privateKey: {file: [^}]+}`, "privateKey: {file: "+file+"}"), words: []string{"hpc"},
		},
		"unreachable": {
			reason: "nobody listens there", kind: v1alpha1.ConditionReachable, want: "False SiteUnreachable",
			doors: change(`port: \d+`, "port: 1"), words: []string{"refuses connections"},
		},
		"token": {
			reason: "the token has expired", kind: v1alpha1.ConditionCredentialsValid, want: "False CredentialsRefused",
			doors: fmt.Sprintf("jobs: {rest: {url: %q, user: hpc, token: {file: %s}}}\n  files: {ssh: %s}",
				p.site.Get("REST_URL"), p.u.Write("token", p.site.Token("1")), good),
			words: []string{"token"},
		},
	}
}

// badFolders are work folders that cannot be used.
func (p *plane) badFolders() map[string]badSite {
	p.t.Helper()
	const stalled = "True " + v1alpha1.ReasonWorkDirUnusable
	base := filepath.Join(p.site.Get("STATE"), "folders")
	p.site.Root("install", "-d", "-o", "hpc", "-m", "0755", base)
	// What is mounted in the site is not seen outside, and ends with it.
	p.smallDisk(filepath.Join(base, "full"), 1<<20)
	p.site.Sh(fmt.Sprintf("mkdir -m 0777 %[1]s/open && chmod 0777 %[1]s/open && touch %[1]s/file", base))
	p.site.Root("install", "-d", "-o", "nobody", "-m", "0777", filepath.Join(base, "foreign"))
	door := p.door("ssh")
	return map[string]badSite{
		"others-write": {reason: "others could put programs there", doors: door, workDir: base + "/open", kind: v1alpha1.ConditionStalled, want: stalled, words: []string{"others may write to", "chmod go-w"}},
		"foreign":      {reason: "its owner could", doors: door, workDir: base + "/foreign", kind: v1alpha1.ConditionStalled, want: stalled, words: []string{"belongs to user"}},
		"below-a-file": {reason: "it cannot be made", doors: door, workDir: base + "/file/work", kind: v1alpha1.ConditionStalled, want: stalled, words: []string{"not a directory"}},
		"full":         {reason: "not even assay-node fits", doors: door, workDir: base + "/full/work", kind: v1alpha1.ConditionStalled, want: stalled, words: []string{"o space left on device"}},
	}
}

// smallDisk mounts a file system of a size. It is not seen outside of the site, and ends with it.
func (p *plane) smallDisk(folder string, size int64) {
	p.t.Helper()
	p.site.Root("bash", "-c", fmt.Sprintf("mkdir -p %[1]s && mount -t tmpfs -o size=%[2]d,mode=0700,uid=20000,gid=20000 none %[1]s", folder, size))
}

// fills is a Site with room for assay-node and little more, and a benchmark there whose server writes until it is full.
func (p *plane) fills() []string {
	p.t.Helper()
	node, err := os.Stat(filepath.Join(built(p.t), "assay-node"))
	if err != nil {
		p.t.Fatal(err)
	}
	folder := filepath.Join(p.site.Get("STATE"), "small")
	p.smallDisk(folder, node.Size()+4<<20)
	const writes = `command: {argv: [bash, -c, "sleep 2; while :; do cat /dev/zero >>$(DIR)/fill; sleep 0.1; done"], ports: [{name: http}], probes: [{exec: {argv: ["true"]}}], model: m, protocol: OpenAI}`
	return []string{
		siteText("small", folder+"/work", p.door("ssh")),
		benchmark("fills", "site: slurm", "site: small", "llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}", writes, "5s", "5m"),
	}
}

// newKey makes a key: the public half as in known_hosts, and the private one.
func newKey(t *testing.T) (public, private string) {
	t.Helper()
	pub, priv, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(priv, "")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.NewPublicKey(pub)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Fields(string(ssh.MarshalAuthorizedKey(key)))[1], string(pem.EncodeToMemory(block))
}
