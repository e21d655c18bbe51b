// Package kubectl runs the real kubectl inside this process.
package kubectl

import (
	"fmt"
	"io"
	"strings"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	cmdutil "k8s.io/kubectl/pkg/cmd/util"

	_ "assay.bench/internal/controlplane/kubectl/english" // it shortens the start
)

// Options are one call of kubectl.
type Options struct {
	// Args come after the word kubectl.
	Args []string
	// Kubeconfig is used when Args name none; empty means what kubectl would use, $KUBECONFIG or ~/.kube/config.
	Kubeconfig string
	In         io.Reader
	Out, Err   io.Writer
}

// exit carries an exit code out of kubectl, which believes that it ends the process.
type exit int

// Run runs kubectl and returns its exit code. It does not look for plug-ins.
//
// kubectl keeps its hook for fatal errors, its warnings and its log in package variables: run one at a time, best as
// the only thing that the process does. Two commands still end the process themselves: "auth can-i" when the answer
// is no, and one that a signal interrupts.
func Run(o Options) (code int) {
	defer cmdutil.DefaultBehaviorOnFatal()
	cmdutil.BehaviorOnFatal(func(msg string, code int) {
		if msg != "" {
			fmt.Fprintln(o.Err, strings.TrimSuffix(msg, "\n"))
		}
		panic(exit(code))
	})
	defer func() {
		switch r := recover().(type) {
		case nil:
		case exit:
			code = int(r)
		default:
			panic(r)
		}
	}()

	streams := genericiooptions.IOStreams{In: o.In, Out: o.Out, ErrOut: o.Err}
	flags := genericclioptions.NewConfigFlags(true).WithDiscoveryBurst(300).WithDiscoveryQPS(50).WithWarningPrinter(streams)
	if o.Kubeconfig != "" {
		flags.KubeConfig = &o.Kubeconfig
	}
	command := cmd.NewDefaultKubectlCommandWithArgs(cmd.KubectlOptions{
		Arguments:   append([]string{"kubectl"}, o.Args...),
		ConfigFlags: flags,
		IOStreams:   streams,
	})
	command.SetArgs(o.Args)
	command.SetIn(o.In)
	command.SetOut(o.Out)
	command.SetErr(o.Err)
	if err := cli.RunNoErrOutput(command); err != nil {
		cmdutil.CheckErr(err)
	}
	return 0
}
