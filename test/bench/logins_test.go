//go:build bench

package bench

import (
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"assay.bench/test/site"
)

// logins is what the login node saw of those who came over SSH to run a command.
type logins struct {
	t    *testing.T
	file string
}

// login is one command over SSH: when it began, and what it was: the name of the program, or what assay-node was asked to
// do with which file first, or "other".
type login struct {
	at   time.Time
	what string
}

// profile is read by the user's shell before each command that comes over SSH. What assay-node is asked for stands on its
// standard input.
const profile = `log=LOG
case $BASH_EXECUTION_STRING in
*"assay-node files"*) exec < <(exec perl WITNESS "$log" "$EPOCHREALTIME") ;;
*--test-only*) printf '%s sbatch--test-only\n' "$EPOCHREALTIME" >>"$log" ;;
*"command -v "*) name=${BASH_EXECUTION_STRING#*command -v } && printf '%s %s\n' "$EPOCHREALTIME" "${name%%[!a-z]*}" >>"$log" ;;
*) printf '%s other\n' "$EPOCHREALTIME" >>"$log" ;;
esac
unset log name
`

// witness passes on what assay-node is asked for, and writes down how it begins: after a line of its own the kind of the
// request, numbers, and a path.
const witness = `my ($log, $now) = @ARGV;
open(my $to, '>>', $log) or die;
binmode STDIN;
for (my $begun = 0; sysread(STDIN, my $part, 65536); $begun = 1) {
	my $words = substr($part, 0, 400);
	$words =~ s/\A[^\n]*\n//;
	$words =~ tr/ -~//cd;
	syswrite($to, "$now files:$words\n") unless $begun;
	syswrite(STDOUT, $part);
}
`

// watchLogins has the login node write down who comes.
func watchLogins(t *testing.T, at *site.Site) *logins {
	t.Helper()
	l := &logins{t, filepath.Join(at.Get("WORK"), "logins")}
	program := filepath.Join(at.Get("SHARE"), "witness.pl")
	for path, text := range map[string]string{
		program:                                  witness,
		filepath.Join(at.Get("HOME"), ".bashrc"): strings.NewReplacer("LOG", l.file, "WITNESS", program).Replace(profile),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

// since are those who came after an instant.
func (l *logins) since(at time.Time) []login {
	l.t.Helper()
	text, err := os.ReadFile(l.file)
	if err != nil {
		l.t.Fatal(err)
	}
	var out []login
	for line := range strings.Lines(string(text)) {
		when, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		seconds, micro, _ := strings.Cut(when, ".")
		if began := time.Unix(number(l.t, seconds), number(l.t, micro)*1000); began.After(at) {
			out = append(out, login{began, what})
		}
	}
	slices.SortFunc(out, func(a, b login) int { return a.at.Compare(b.at) })
	return out
}

// between are those who came from one instant on, and before another.
func (l *logins) between(from, to time.Time) []login {
	return slices.DeleteFunc(l.since(from.Add(-1)), func(l login) bool { return !l.at.Before(to) })
}

// Those that the site's limit is for ask Slurm; the others ask assay-node for files.
var (
	asksSlurm  = regexp.MustCompile(`^(squeue|sacct|sbatch|sbatch--test-only|scontrol|scancel)$`)
	readsRuns  = regexp.MustCompile(`^files:r.*/exit\.json`)
	writesRuns = regexp.MustCompile(`^files:w.*/control\.json`)
)

// only are those of a kind.
func only(all []login, kind *regexp.Regexp) []login {
	return slices.DeleteFunc(slices.Clone(all), func(l login) bool { return !kind.MatchString(l.what) })
}

// kinds counts them, for people.
func kinds(all []login) map[string]int {
	out := map[string]int{}
	for _, l := range all {
		switch {
		case readsRuns.MatchString(l.what):
			out["files read of runs"]++
		case writesRuns.MatchString(l.what):
			out["control.json written"]++
		case strings.HasPrefix(l.what, "files:r"):
			out["other files read"]++
		case strings.HasPrefix(l.what, "files:"):
			out["other files written"]++
		default:
			out[l.what]++
		}
	}
	return out
}

// fastest is the highest rate in any window of a length, less the burst that a silence before it allows.
func fastest(all []login, window time.Duration) float64 {
	most, first := 0, 0
	for i, l := range all {
		for l.at.Sub(all[first].at) > window {
			first++
		}
		most = max(most, i-first+1)
	}
	return max(0, float64(most-siteBurst)/window.Seconds())
}

// perTick is how many come after the first for each tick from the first to the last. Ticks are whole: each is late by what
// it takes to notice it.
func perTick(all []login, tick time.Duration) float64 {
	if len(all) == 0 {
		return 0
	}
	span := all[len(all)-1].at.Sub(all[0].at)
	return float64(len(all)-1) / max(1, math.Round(float64(span)/float64(tick)))
}
