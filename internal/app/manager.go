package app

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"assay.bench/internal/app/state"
)

// managerFlags are the flags of assay manager.
type managerFlags struct {
	allowHost, leaderElect bool
	metrics, probes        string
	kubeconfig             string
	leaseNamespace         string
}

func newManagerCommand(o *OS) *cobra.Command {
	var flags managerFlags
	c := &cobra.Command{
		Use:   "manager",
		Short: "Run the controllers against a cluster",
		Long: `manager runs the controllers against the cluster of --kubeconfig, of KUBECONFIG, of the pod that it runs in, or of ~/.kube/config;
never against the control plane of assay up. It stays until a signal.
The resource definitions must be there: apply config/crd first.
What the sites are asked, and how their jobs fare, is told in metrics named slurmbridge_*.
Sites that run commands on this host are refused with HostAccessRefused, unless --allow-host-sites is given.`,
		Example: "  assay manager --leader-elect",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return runManager(c.Context(), o, flags)
		},
	}
	c.Flags().BoolVar(&flags.allowHost, "allow-host-sites", false, "let Sites run commands on this host; whoever may make a Site may then run anything here")
	c.Flags().BoolVar(&flags.leaderElect, "leader-elect", false, "be active only while holding the lease")
	c.Flags().StringVar(&flags.leaseNamespace, "leader-election-namespace", "", "namespace of the lease (default: that of the pod, else default)")
	c.Flags().StringVar(&flags.metrics, "metrics-bind-address", ":8080", "address that serves /metrics over HTTP to whoever asks; 0 for none")
	c.Flags().StringVar(&flags.probes, "health-probe-bind-address", "0", "address of /healthz and /readyz; 0 for none")
	c.Flags().StringVar(&flags.kubeconfig, "kubeconfig", "", "kubeconfig of the cluster")
	return c
}

// What the manager itself does, beside its controllers: it reads the UID of the cluster, and holds the lease, whose events
// are still those of the core group.
// +kubebuilder:rbac:groups="",resources=namespaces,resourceNames=kube-system,verbs=get
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;create;update;patch
// +kubebuilder:rbac:groups="",resources=events,verbs=create;patch

func runManager(ctx context.Context, o *OS, flags managerFlags) error {
	if flags.kubeconfig != "" {
		if err := os.Setenv("KUBECONFIG", flags.kubeconfig); err != nil {
			return fmt.Errorf("--kubeconfig: %w", err)
		}
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return usage(fmt.Errorf("no cluster: %w", err))
	}
	log := logr.FromSlogHandler(slog.NewJSONHandler(o.Stderr, nil))
	ctrl.SetLogger(log)
	c, err := newClient(config)
	if err != nil {
		return err
	}
	// One origin for each cluster: a manager that moves to another node stays the same control plane.
	system := &corev1.Namespace{}
	if err := c.Get(ctx, types.NamespacedName{Name: "kube-system"}, system); err != nil {
		return fmt.Errorf("read the namespace kube-system, whose UID names this cluster: %w", err)
	}
	root, err := hostRoot(o, flags.allowHost)
	if err != nil {
		return err
	}
	mgr, registry, err := newManager(o, config, managerOptions{
		origin: string(system.UID), jobsDir: state.Cluster(root, string(system.UID)).Jobs(),
		allowHost: flags.allowHost, metrics: flags.metrics, probes: flags.probes, leaderElection: flags.leaderElect, log: log,
		leaseNamespace: leaseNamespace(flags.leaseNamespace, podNamespace),
	})
	if err != nil {
		return err
	}
	defer registry.Close()
	if err := errors.Join(mgr.AddHealthzCheck("ping", healthz.Ping), mgr.AddReadyzCheck("ping", healthz.Ping)); err != nil {
		return fmt.Errorf("start the controllers: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	signals := make(chan os.Signal, 1)
	defer o.Notify(signals, endSignals()...)()
	go func() {
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	return mgr.Start(ctx)
}

// hostRoot is where the records of this host's jobs are. Nobody else may use it, for they are run as this user.
func hostRoot(o *OS, allowHost bool) (string, error) {
	if !allowHost {
		return "", nil
	}
	root, err := state.Root(o.Env, o.Home, o.UID)
	if err != nil {
		return "", err
	}
	return root, state.Prepare(root)
}

// podNamespace is the file in which a pod finds its namespace.
const podNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// leaseNamespace is what the user asked for, else the namespace in a pod's file, else the default one.
func leaseNamespace(asked, file string) string {
	if asked != "" {
		return asked
	}
	if b, err := os.ReadFile(file); err == nil && len(bytes.TrimSpace(b)) > 0 {
		return string(bytes.TrimSpace(b))
	}
	return defaultNamespace
}
