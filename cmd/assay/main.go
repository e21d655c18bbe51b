// Command assay is the operator, the command line and the embedded control plane in one program.
package main

import (
	"fmt"
	"os"

	"assay.bench/internal/app"
)

func main() {
	o, err := app.FromOS()
	if err != nil {
		fmt.Fprintln(os.Stderr, "assay:", err)
		os.Exit(5)
	}
	os.Exit(app.Main(o))
}
