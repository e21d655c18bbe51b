package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/app/state"
	"assay.bench/internal/controlplane"
	"assay.bench/slurmbridge"
)

// defaultContext names the standing control plane where no --context is given.
const defaultContext = "default"

func newUp(o *OS) *cobra.Command {
	var name string
	var foreground bool
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a standing control plane and print how kubectl reaches it",
		Long: `up starts a control plane in the background and prints a line for the shell. It runs until assay down, and the
next assay up of the same --context finds its objects again: kubectl delete removes them, or assay down --drain all
benchmarks. assay prune removes what ended runs left in folders, never objects. Other commands find the one of the default
context by themselves, and that of another by KUBECONFIG.`,
		Example: `  eval "$(assay up)"
  assay kubectl apply -f recipes/quickstart.yaml
  assay kubectl get bm -w`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			root, err := state.Root(o.Env, o.Home, o.UID)
			if err != nil {
				return err
			}
			if foreground {
				return upForeground(c.Context(), o, root, name)
			}
			return upBackground(c.Context(), o, root, name)
		},
	}
	c.Flags().StringVar(&name, "context", defaultContext, "name of the control plane")
	c.Flags().BoolVar(&foreground, "foreground", false, "stay in the foreground until a signal")
	return c
}

// standing returns the folder of a context's control plane, and whether it was made just now.
func standing(o *OS, root, name string) (folder state.Folder, made bool, err error) {
	return state.EnsureStanding(root, state.Info{Kind: state.KindUp, Context: name, Created: o.Now(), Host: o.Host, PID: o.PID})
}

// takeBack removes the folder of a control plane that was made and never ran; somebody else may run it by now.
func takeBack(ctx context.Context, o *OS, folder state.Folder, made bool) error {
	if !made {
		return nil
	}
	err := removeState(ctx, o, folder)
	if _, held := errors.AsType[*controlplane.InUseError](err); held {
		return nil
	}
	return err
}

// upForeground runs the control plane until a signal.
func upForeground(ctx context.Context, o *OS, root, name string) error {
	folder, made, err := standing(o, root, name)
	if err != nil {
		return err
	}
	if err := notUp(folder); err != nil {
		return err
	}
	p, err := openPlane(ctx, o, folder)
	if err != nil {
		return errors.Join(err, takeBack(ctx, o, folder, made))
	}
	if err := p.ensureLocalSite(ctx, nil); err != nil {
		return errors.Join(err, p.stop())
	}
	if err := folder.SetReady(o.PID); err != nil {
		return errors.Join(err, p.stop())
	}
	printExport(o, folder)
	signals := make(chan os.Signal, 1)
	defer o.Notify(signals, endSignals()...)()
	var failed error
	select {
	case <-signals:
	case failed = <-p.failed:
	case <-p.server.Done():
		failed = fmt.Errorf("the control plane ended by itself: %w", p.server.Err())
	}
	return errors.Join(failed, folder.ClearReady(), p.stop())
}

// notUp refuses to start what is up, and takes away what a process that was killed left: nobody may take it for the one
// that starts.
func notUp(folder state.Folder) error {
	if folder.Running() {
		return alreadyUp(folder, fmt.Sprintf("process %d on %s", folder.Info.PID, folder.Info.Host))
	}
	return folder.ClearReady()
}

func printExport(o *OS, folder state.Folder) {
	fmt.Fprintf(o.Stdout, "export KUBECONFIG=%s\n", slurmbridge.Quote(folder.Kubeconfig()))
}

// startWithin is how long a control plane may take to start on a busy machine.
const startWithin = 2 * time.Minute

// upBackground starts upForeground as a process of its own and waits until it is ready.
func upBackground(ctx context.Context, o *OS, root, name string) error {
	folder, made, err := standing(o, root, name)
	if err != nil {
		return err
	}
	if err := notUp(folder); err != nil {
		return err
	}
	if err := startDetached(o, folder, name); err != nil {
		return errors.Join(err, takeBack(ctx, o, folder, made))
	}
	printExport(o, folder)
	fmt.Fprintf(o.Stderr, "assay: control plane %q is up; assay down ends it\n", name)
	return nil
}

// startDetached starts the process in a session of its own, so that it outlives the terminal.
func startDetached(o *OS, folder state.Folder, name string) error {
	log, err := os.OpenFile(folder.Log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	defer log.Close()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("state folder: %w", err)
	}
	child := exec.Command(o.Executable, "up", "--foreground", "--context", name)
	child.Stdout, child.Stderr, child.Dir = log, log, "/"
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := child.Start(); err != nil {
		return fmt.Errorf("start the control plane: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- child.Wait() }()
	deadline := time.After(startWithin)
	for {
		if folder.Ready() {
			return nil
		}
		select {
		case err := <-ended:
			if folder.Running() {
				return alreadyUp(folder, "another assay up was faster")
			}
			return fmt.Errorf("the control plane ended while it started (%w):\n%s", err, tail(folder.Log(), from))
		case <-deadline:
			return errors.Join(fmt.Errorf("the control plane did not start within %s: see %s", startWithin, folder.Log()), child.Process.Kill())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// tail is what a log grew by since an offset, its last lines.
func tail(path string, from int64) string {
	const most = 4096
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	b = b[min(from, int64(len(b))):]
	return string(b[max(0, len(b)-most):])
}

func newDown(o *OS) *cobra.Command {
	var name string
	var drain, leave bool
	c := &cobra.Command{
		Use:   "down",
		Short: "End the standing control plane",
		Long: `down ends the control plane that assay up started. Its objects stay for the next assay up.
While jobs run it refuses: --drain deletes the benchmarks first and waits until their jobs are gone, --leave lets the
jobs go on by themselves; the next assay up takes them up again.`,
		Example: "  assay down --drain",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if drain && leave {
				return usage(errors.New("--drain and --leave exclude each other: give one of them"))
			}
			return down(c.Context(), o, name, drain, leave)
		},
	}
	c.Flags().StringVar(&name, "context", defaultContext, "name of the control plane")
	c.Flags().BoolVar(&drain, "drain", false, "delete the benchmarks and wait until their jobs are gone")
	c.Flags().BoolVar(&leave, "leave", false, "let running jobs go on by themselves")
	return c
}

func down(ctx context.Context, o *OS, name string, drain, leave bool) error {
	root, err := state.Root(o.Env, o.Home, o.UID)
	if err != nil {
		return err
	}
	folder, found, err := state.Standing(root, name)
	if err != nil {
		return err
	}
	if !found || !folder.Running() {
		fmt.Fprintf(o.Stderr, "assay: the control plane %q is not up\n", name)
		return nil
	}
	if !leave {
		if err := endJobs(ctx, o, folder, drain); err != nil {
			return err
		}
	}
	if err := folder.Terminate(startWithin); err != nil {
		return err
	}
	fmt.Fprintf(o.Stderr, "assay: the control plane %q is down\n", name)
	return nil
}

// endJobs refuses while jobs run, or deletes what runs them.
func endJobs(ctx context.Context, o *OS, folder state.Folder, drain bool) error {
	p, err := connect(folder)
	if err != nil {
		return err
	}
	if drain {
		wait, err := patience(ctx, p.client)
		if err != nil {
			return err
		}
		return drainAll(ctx, o, p.client, runKinds(), wait)
	}
	var jobs v1alpha1.SlurmJobList
	if err := p.client.List(ctx, &jobs); err != nil {
		return fmt.Errorf("look for running jobs: %w", err)
	}
	running := 0
	for _, j := range jobs.Items {
		if !meta.IsStatusConditionTrue(j.Status.Conditions, v1alpha1.ConditionComplete) {
			running++
		}
	}
	if running > 0 {
		return usage(fmt.Errorf("%d jobs run: use --drain to end them, or --leave to let them go on", running))
	}
	return nil
}
