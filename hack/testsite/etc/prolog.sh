#!/bin/sh
# Run by slurmd before the first step of a job on its node. A test that wants the next start to fail makes the file
# fail-prolog: Slurm then drains the node, and requeues and holds the job. Of two nodes that start at once, one fails.
# fail-prolog-ID is for one job.
if rm @STATE@/fail-prolog 2>/dev/null || rm "@STATE@/fail-prolog-$SLURM_JOB_ID" 2>/dev/null; then
  echo "made to fail by a file in @STATE@" >&2
  exit 1
fi
