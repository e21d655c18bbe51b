// Command assay-node is the part of Assay that runs on a compute node.
package main

import "assay.bench/internal/node"

func main() { node.Main() }
