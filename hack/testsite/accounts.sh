# shellcheck shell=bash
# QOS as on MeluXina (docs.lxp.lu): limits of time and of jobs are theirs; a share of the nodes (5 %, 25 %, 70 %) is
# rounded to whole nodes of our four. A job over a limit waits, with the reason; it is not refused.
set -euo pipefail
s() { sacctmgr -i -Q "$@" >/dev/null; }

s add cluster meluxina
# "normal" is made by slurmdbd itself.
s add qos dev set MaxWall=06:00:00 MaxTRESPerJob=node=1 MaxJobsPerUser=1
s add qos test set MaxWall=00:30:00 MaxTRESPerJob=node=1 MaxJobsPerUser=1
s add qos short set MaxWall=06:00:00
s add qos short-preempt set MaxWall=06:00:00
s add qos default set MaxWall=48:00:00
s add qos long set MaxWall=144:00:00 MaxTRESPerJob=node=1 MaxJobsPerUser=1
s add qos large set MaxWall=24:00:00 MaxTRESPerJob=node=3 MaxJobsPerUser=1
s add qos urgent set MaxWall=06:00:00 Priority=1000 Preempt=short-preempt
all=dev,test,short,short-preempt,default,long,large,urgent
s add account p200000 Description=project Organization=lxp
s modify account p200000 set QOS=$all DefaultQOS=default
s add account p200001 Description=small Organization=lxp
s modify account p200001 set QOS=$all DefaultQOS=default
s add user hpc Account=p200000,p200001 DefaultAccount=p200000
