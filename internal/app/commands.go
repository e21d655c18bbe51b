package app

import "github.com/spf13/cobra"

// commands lists every command, in the order of the help.
func commands(o *OS) []*cobra.Command {
	return []*cobra.Command{
		newRun(o),
		newUp(o),
		newDown(o),
		newAttach(o),
		newValidate(o),
		newRender(o),
		newJobs(o),
		newGC(o),
		newLogs(o),
		newReport(o),
		newPrune(o),
		newManagerCommand(o),
		newDrain(o),
		newKubectl(o),
		newVersion(o),
	}
}
