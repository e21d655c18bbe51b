# shellcheck shell=bash
# QOS as on MeluXina (docs.lxp.lu): limits of time and of jobs are theirs; a share of the nodes (5 %, 25 %, 70 %) is
# rounded to whole nodes of our four. A job over a limit waits, with the reason; it is not refused. Only "single" is ours:
# it refuses a second job of a user.
set -euo pipefail
s() { sacctmgr -i -Q "$@" >/dev/null; }

# Few calls, and those that can at once: with Slurm 22.05, each takes half a second (two delayed ACKs per message).
s add cluster meluxina
s add qos dev,test,short,short-preempt,default,long,large,urgent,single
calls=()
s modify qos dev,test set MaxTRESPerJob=node=1 MaxJobsPerUser=1 & calls+=($!)
s modify qos short,short-preempt set MaxWall=06:00:00 & calls+=($!)
s modify qos default set MaxWall=48:00:00 & calls+=($!)
s modify qos long set MaxWall=144:00:00 MaxTRESPerJob=node=1 MaxJobsPerUser=1 & calls+=($!)
s modify qos large set MaxWall=24:00:00 MaxTRESPerJob=node=3 MaxJobsPerUser=1 & calls+=($!)
s modify qos single set MaxSubmitJobsPerUser=1 & calls+=($!)
s modify qos urgent set MaxWall=06:00:00 Priority=1000 Preempt=short-preempt & calls+=($!)
s add account p200000,p200001 Description=project Organization=lxp \
  QOS=dev,test,short,short-preempt,default,long,large,urgent,single DefaultQOS=default & calls+=($!)
for c in "${calls[@]}"; do wait "$c"; done
s modify qos dev set MaxWall=06:00:00 & calls=($!)
s modify qos test set MaxWall=00:30:00 & calls+=($!)
s add user hpc Account=p200000,p200001 DefaultAccount=p200000 & calls+=($!)
for c in "${calls[@]}"; do wait "$c"; done
