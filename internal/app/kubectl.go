package app

import (
	"github.com/spf13/cobra"

	"assay.bench/internal/app/state"
	"assay.bench/internal/controlplane/kubectl"
)

func newKubectl(o *OS) *cobra.Command {
	return &cobra.Command{
		Use:   "kubectl ARGS...",
		Short: "Run the embedded kubectl",
		Long: `kubectl runs the embedded kubectl with its own flags. Where KUBECONFIG is not set it talks to the standing
control plane of assay up.`,
		Example: `  assay kubectl get bm,bsvc,lc,sj -A
  assay kubectl explain benchmark.spec`,
		DisableFlagParsing: true,
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := standingKubeconfig(o)
			if err != nil {
				return err
			}
			code := kubectl.Run(kubectl.Options{Args: args, Kubeconfig: path, In: o.Stdin, Out: o.Stdout, Err: o.Stderr})
			if code != 0 {
				return &exitError{code: code}
			}
			return nil
		},
	}
}

// standingKubeconfig is the way to the standing control plane, where the user named no cluster and it is up; else "".
func standingKubeconfig(o *OS) (string, error) {
	if o.Env("KUBECONFIG") != "" {
		return "", nil
	}
	root, err := state.Root(o.Env, o.Home, o.UID)
	if err != nil {
		return "", err
	}
	folder, found, err := state.Standing(root, defaultContext)
	if err != nil || !found || !folder.Running() {
		return "", err
	}
	return folder.Kubeconfig(), nil
}
