package slurmjob

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/plan"
	"assay.bench/internal/rundir"
	"assay.bench/slurmbridge"
)

// credential turns a Secret into a file of secrets/. Secrets are read live: a cache of them would hold every Secret of
// the cluster.
func (k *Kind) credential(ctx context.Context, namespace string, want plan.Secret) ([]byte, error) {
	var s corev1.Secret
	err := k.Live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: want.Name}, &s)
	if apierrors.IsNotFound(err) {
		return nil, waitsFor("waits for the Secret %s, which does not exist", want.Name)
	}
	if err != nil {
		return nil, fmt.Errorf("secret %s: %w", want.Name, err)
	}
	c := rundir.Credential{Token: string(s.Data["token"]), Username: string(s.Data["username"]), Password: string(s.Data["password"])}
	switch {
	case want.Needs == plan.NeedsToken && unprintable(c.Token):
		return nil, invalid("the key token of the Secret %s holds a space or a line end, which no header can carry: store it without, as kubectl create secret --from-literal does", want.Name)
	case want.Needs == plan.NeedsPair && (c.Username == "" || c.Password == ""):
		return nil, invalid("the Secret %s does not hold the keys username (the access key) and password (the secret key), by which s3 signs: add them", want.Name)
	case want.Needs == plan.NeedsPair && unprintable(c.Username+c.Password):
		return nil, invalid("the key username or password of the Secret %s holds a space or a line end, which no S3 key has: store it without, as kubectl create secret --from-literal does", want.Name)
	case c.Token != "":
	case want.Needs == plan.NeedsToken:
		return nil, invalid("the Secret %s does not hold the key token, and inference sends nothing else: add it", want.Name)
	case c.Username == "" || c.Password == "":
		return nil, invalid("the Secret %s holds neither the key token nor the keys username and password: add them", want.Name)
	}
	b, err := json.Marshal(c) //nolint:gosec // secrets/ is where the credential belongs
	return append(b, '\n'), err
}

// unprintable says whether a header cannot carry the text.
func unprintable(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f })
}

// invalid is an error that only a person can lift.
func invalid(format string, args ...any) error {
	return &hindrance{blocked{stalled: true, reason: v1alpha1.ReasonInvalidParameters, message: fmt.Sprintf(format, args...)}}
}

// repeatWindow is how many open repeats of a rank are looked at: more are never closed between two looks.
const repeatWindow = 8

// ranksOf calls f with every rank of the plan.
func ranksOf(p *rundir.Plan, directory string, f func(component string, index, ranks int, folder string)) {
	each := func(i int, name string, ranks int) {
		for rank := range ranks {
			f(name, i, rank, rundir.Rank(directory, name, rank))
		}
	}
	for i, s := range p.Services {
		each(i, s.Name, s.Ranks)
	}
	for i, c := range p.Clients {
		each(i, c.Name, c.Ranks)
	}
}

// pathsOf are the files to look at: all of them, or those that may still change. Without a plan it is the job's own end.
func pathsOf(p *rundir.Plan, status v1alpha1.SlurmJobStatus, all bool) []string {
	paths := []string{filepath.Join(status.Directory, rundir.ExitFile)}
	if p == nil {
		return paths
	}
	first, last := p.Repeats.First, p.Repeats.First+p.Repeats.Count-1
	if !all {
		first += leastDone(status.Components)
		last = min(last, first+repeatWindow-1)
	}
	ranksOf(p, status.Directory, func(_ string, _, _ int, folder string) {
		paths = append(paths, filepath.Join(folder, rundir.StatusFile), filepath.Join(folder, rundir.ExitFile))
		for k := first; k <= last; k++ {
			paths = append(paths, filepath.Join(rundir.Repeat(folder, k), rundir.ExitFile))
		}
	})
	return paths
}

// leastDone is the number of repeats that every component closed.
func leastDone(list []v1alpha1.ComponentStatus) int {
	if len(list) == 0 {
		return 0
	}
	least := list[0].RepeatsDone
	for i := range list {
		least = min(least, list[i].RepeatsDone)
	}
	return int(least)
}

// parseFiles reads what the node side wrote. A file that cannot be read says nothing, but for the job's own end.
func parseFiles(p *rundir.Plan, directory string, files map[string][]byte) (*rundir.Exit, map[string][]rankSight) {
	var exit *rundir.Exit
	if b, ok := files[filepath.Join(directory, rundir.ExitFile)]; ok {
		var err error
		if exit, err = rundir.ParseExit(b); err != nil {
			exit = &rundir.Exit{Reason: rundir.ExitReasonError, Code: rundir.ExitFailed, Message: err.Error()}
		}
	}
	if p == nil {
		return exit, nil
	}
	ranks := map[string][]rankSight{}
	ranksOf(p, directory, func(name string, _, _ int, folder string) {
		ranks[name] = append(ranks[name], parseRank(folder, p.Repeats, files))
	})
	return exit, ranks
}

func parseRank(folder string, repeats rundir.Repeats, files map[string][]byte) rankSight {
	r := rankSight{repeats: map[int]*rundir.Exit{}}
	if s, err := rundir.ParseStatus(files[filepath.Join(folder, rundir.StatusFile)]); err == nil {
		r.status = s
	}
	if e, err := rundir.ParseExit(files[filepath.Join(folder, rundir.ExitFile)]); err == nil {
		r.exit = e
	}
	for k := repeats.First; k < repeats.First+repeats.Count; k++ {
		b, ok := files[filepath.Join(rundir.Repeat(folder, k), rundir.ExitFile)]
		if !ok {
			continue
		}
		if e, err := rundir.ParseExit(b); err == nil {
			r.repeats[k] = e
		}
	}
	return r
}

// isStarting says whether a component has yet to come to its work: then a faster look is worth it.
func isStarting(list []v1alpha1.ComponentStatus) bool {
	for i := range list {
		switch cmp.Or(list[i].Phase, rundir.PhaseWaiting) {
		case rundir.PhaseWaiting, rundir.PhaseStarting:
			return true
		}
	}
	return len(list) == 0
}

// prologWords are those of slurmd 22.05 in the log of a job whose prolog failed. Later versions make no log then.
const prologWords = "Error running slurm prolog: "

// neverBegan says that a job's script never began: its log is made before its first line runs.
func neverBegan(ctx context.Context, door slurmbridge.Door, directory string) (bool, error) {
	log, err := door.Files.Open(ctx, filepath.Join(directory, rundir.JobLogFile), 0)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	const most = 4 << 10 // they are the only ones where the script never began
	begin, err := io.ReadAll(io.LimitReader(log, most))
	return bytes.Contains(begin, []byte(prologWords)), errors.Join(err, log.Close())
}
