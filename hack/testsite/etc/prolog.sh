#!/bin/sh
# Run by slurmd before the first step of a job on its node. A test that wants the next start to fail makes
# @STATE@/fail-prolog: Slurm then drains the node, and requeues and holds the job.
# mv is atomic: of two nodes that start one job, one fails.
if mv @STATE@/fail-prolog @STATE@/fail-prolog.done 2>/dev/null; then
  echo "made to fail by @STATE@/fail-prolog" >&2
  exit 1
fi
