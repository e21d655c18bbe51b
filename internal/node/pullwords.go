package node

import (
	"fmt"
	"slices"
	"strings"

	"assay.bench/internal/rundir"
)

// pullTrouble is something that people meet when an image is pulled.
type pullTrouble struct {
	// signs: one of these stands in what Apptainer said, in small letters.
	signs  []string
	reason string
	// words say what it means and what to do. %s is the image.
	words string
}

// pullTroubles are looked through in this order: the first that fits tells.
func pullTroubles() []pullTrouble {
	return []pullTrouble{
		{[]string{"no space left on device", "disk quota exceeded"}, rundir.ExitReasonDiskFull,
			"there was no room to pull %s: an image needs about three times its size while it is made; free some, or raise the quota"},
		{[]string{"server gave http response to https client"}, rundir.ExitReasonPullFailed,
			"the registry of %s speaks plain HTTP: name it in the Site's images.insecureRegistries if that is meant"},
		{[]string{"x509:", "certificate signed by unknown authority", "tls: failed to verify"}, rundir.ExitReasonPullFailed,
			"the certificate of the registry of %s is not trusted on the node that pulls"},
		{[]string{"toomanyrequests", "too many requests", "rate limit"}, rundir.ExitReasonRegistrySilent,
			"the registry of %s gives no more to this site for now: try again later, or log in there with apptainer registry login"},
		{[]string{"manifest unknown", "name unknown", "manifest_unknown", "name_unknown", "repository not found", "404 (not found)", "404 not found",
			"not exist in the library", "not found in the library"},
			rundir.ExitReasonImageUnknown, "the registry has no %s with this digest: check both"},
		{[]string{"unauthorized", "authentication required", "requested access to the resource is denied", "invalid username/password", "403 (forbidden)", "403 forbidden"},
			rundir.ExitReasonPullUnauthorized, "the registry does not give %s to this user: log in at the site with apptainer registry login, or check the name"},
		{[]string{"connection refused", "no such host", "i/o timeout", "network is unreachable", "no route to host", "tls handshake timeout",
			"connection reset", "name resolution", "server misbehaving", "deadline exceeded", "pinging container registry", "bad gateway", "service unavailable", "unexpected eof"},
			rundir.ExitReasonRegistrySilent, "the registry of %s does not answer the node that pulls: check its address, and whether the compute nodes reach it"},
		{[]string{"no library client"}, rundir.ExitReasonPullFailed,
			"Apptainer at this site knows no library for %s: add one with apptainer remote, or name a docker:// image"},
		{[]string{"signal: killed"}, rundir.ExitReasonPullFailed,
			"the pull of %s was killed: it may need more memory, see the Site's images.resources"},
	}
}

// pullEnding says in a sentence why a pull failed, with the line of Apptainer's that matters.
func pullEnding(pull rundir.ImagePull, said string, err error, scratch string) *ending {
	line := pullLine(said)
	if line == "" {
		line = err.Error()
	}
	// The name of an image may hold anything, so it tells nothing.
	_, name, _ := strings.Cut(pull.URI, "://")
	text := strings.ToLower(strings.ReplaceAll(said, withoutTag(name), "") + "\n" + err.Error())
	reason, words := rundir.ExitReasonPullFailed, "%s cannot be pulled"
	for _, t := range pullTroubles() {
		if slices.ContainsFunc(t.signs, func(sign string) bool { return strings.Contains(text, sign) }) {
			reason, words = t.reason, t.words
			break
		}
	}
	image := pull.URI + " (" + pull.Digest + ")"
	end := endf(reason, "%s; it was unpacked in %s. Apptainer says: %s", fmt.Sprintf(words, image), scratch, line)
	if reason != rundir.ExitReasonDiskFull {
		end = endf(reason, "%s. Apptainer says: %s", fmt.Sprintf(words, image), line)
	}
	return end
}

// pullLine is the line that says why: Apptainer's last word that is not a remark.
func pullLine(said string) string {
	const most = 600
	line := ""
	for l := range strings.Lines(said) {
		l = strings.TrimSpace(strings.Map(printable, strings.ToValidUTF8(l, "")))
		if l != "" && (strings.HasPrefix(l, "FATAL") || !strings.HasPrefix(line, "FATAL")) {
			line = l
		}
	}
	line = strings.TrimSpace(strings.TrimPrefix(line, "FATAL:"))
	if len(line) > most {
		line = strings.ToValidUTF8(line[len(line)-most:], "") // the cause stands last
	}
	return line
}

// containerRuntime finds Apptainer, or Singularity.
func containerRuntime(find lookup, image string) (string, error) {
	for _, name := range []string{"apptainer", "singularity"} {
		if path, err := find(name); err == nil {
			return path, nil
		}
	}
	return "", endf(rundir.ExitReasonProgramMissing,
		"the image %s needs apptainer, which is not in the PATH of this node: name its module in the Site's modules", image)
}
