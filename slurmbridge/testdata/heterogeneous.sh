#!/bin/bash -l
#SBATCH --job-name=assay-0123abcd-0123456789abcdef-1
#SBATCH --chdir='/project/it'\''s here/g1/main/3'
#SBATCH --output=job.log
#SBATCH --open-mode=append
#SBATCH --no-requeue
#SBATCH --signal=B:USR1@120
#SBATCH --dependency='afterok:4711:4712?singleton'
#SBATCH --comment='assay default/quickstart g1'
#SBATCH --time=01:30:01
#SBATCH --account=p200000
#SBATCH --partition=gpu
#SBATCH --qos=default
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=4
#SBATCH --gres='nvme:1'
#SBATCH --mem=65536M
#SBATCH --constraint='a100&ib'
#SBATCH --reservation=bench_1
#SBATCH --licenses='fs:2'
#SBATCH --exclusive
#SBATCH --exclude='mel2001,mel2003'
#SBATCH hetjob
#SBATCH --job-name=assay-0123abcd-0123456789abcdef-1
#SBATCH --comment='assay default/quickstart g1'
#SBATCH --time=01:30:01
#SBATCH --account=p200000
#SBATCH --partition=cpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=2
#SBATCH --cpus-per-task=4

umask 077
# A job gets nothing of the environment of whoever submitted it, not even a home.
export HOME=${HOME:-~}
dir='/project/it'\''s here/g1/main/3'
node=/work/bin/abc/assay-node
attempt=3

# finish REASON CODE MESSAGE: writes exit.json whole, unless it is there, and ends the script.
finish() {
    local LC_ALL=C text=${3//\\/\\\\} tmp=".exit.json.$SLURM_JOB_ID"
    text=${text//\"/\\\"}
    text=${text//[[:cntrl:]]/ }
    text=${text//[^ -~]/?}
    printf '{"version":1,"reason":"%s","code":%d,"message":"%s","time":"%s"}\n' \
        "$1" "$2" "$text" "$(date -u +%Y-%m-%dT%H:%M:%SZ)" >"$tmp" && {
        ln -T -- "$tmp" exit.json 2>/dev/null || mv -nT -- "$tmp" exit.json
    }
    rm -f -- "$tmp"
    [ -z "$text" ] || printf 'assay: %s\n' "$3" >&2
    exit "$2"
}

if ! words=$(LC_ALL=C cd -- "$dir" 2>&1); then
    printf 'assay: %s\n' "$words" >&2
    exit 74
fi
cd -- "$dir" || exit 74
if [ -z "$SLURM_JOB_ID" ]; then
    echo 'assay: SLURM_JOB_ID is not set; the batch system has to start this script' >&2
    exit 74
fi

# The fence: one job, once, works in this folder.
if ! words=$(LC_ALL=C ln -sT -- "$SLURM_JOB_ID" claim 2>&1); then
    if owner=$(readlink -- claim); then
        if [ "$owner" = "$SLURM_JOB_ID" ]; then
            finish Requeued 76 'the batch system started this job again; a measurement is never resumed'
        fi
        printf 'assay: job %s holds this folder; job %s does nothing\n' "$owner" "$SLURM_JOB_ID" >&2
        exit 75
    fi
    finish WorkDirUnusable 74 "$words"
fi

# current points to the highest attempt that was claimed.
old=$(readlink -- ../current)
case $old in '' | *[!0-9]*) old=0 ;; esac
if [ "$old" -lt "$attempt" ]; then
    words=$(LC_ALL=C ln -sfT -- "$attempt" "../.current.$attempt" 2>&1 && LC_ALL=C mv -fT -- "../.current.$attempt" ../current 2>&1) ||
        finish WorkDirUnusable 74 "$words"
fi

# load_module NAME: what the module system says goes to job.log, and into exit.json when it fails. Some only say so.
load_module() {
    local said=".module.$SLURM_JOB_ID" code=0 words
    local -a flat
    module load "$1" 2>"$said" || code=$?
    words=$(<"$said")
    rm -f -- "$said"
    [ -z "$words" ] || printf '%s\n' "$words" >&2
    case $words in *'Unable to locate a modulefile'*) code=1 ;; esac
    [ "$code" -ne 0 ] || return 0
    read -r -d '' -a flat <<<"$words"
    finish ModuleMissing 1 "module load $1 failed: see what a compute node has (module avail) and name that in the Site's modules; it says: ${flat[*]:0:60}"
}
load_module env/release/2024.1
load_module Apptainer/1.3.6-GCCcore-13.3.0

# The signals may come before the child is there: they are kept and handed on then. Until it has let go of these traps it
# would lose a signal in them: it says when.
child='' told=''
hand_on() {
    told="$told $1" met=1
    [ -z "$child" ] || kill -s "$1" "$child" 2>/dev/null
}
trap 'hand_on USR1' USR1
trap 'hand_on TERM' TERM
exec {begun}<> <(:)
(
    trap - USR1 TERM
    echo >&"$begun"
    exec "$node" job --dir "$PWD" {begun}>&-
) &
started=$!
tries=0
until read -r -t 1 -u "$begun" || [ $((tries += 1)) -ge 60 ]; do :; done
exec {begun}>&-
child=$started
for signal in $told; do kill -s "$signal" "$child" 2>/dev/null; done

# A signal ends wait early: only a wait that no signal met tells the child's own code. bash remembers it.
while :; do
    met=''
    wait "$child"
    code=$?
    [ -n "$met" ] || break
done

reason=Error
message="assay-node ended with exit code $code; job.log says why"
case $code in
    0) reason=Ended message='' ;;
    74) reason=WorkDirUnusable message='the folder of the job could not be written to the end: free some space or raise the quota; job.log says more' ;;
    78) reason=UnknownPlan message='assay-node does not know this version of plan.json: use the assay-node that belongs to assay' ;;
    126 | 127) message="$node cannot be run; job.log says why" ;;
    *)
        [ "$code" -le 128 ] || message="assay-node was ended by signal $((code - 128))"
        case $told in
            *USR1*) reason=TimeLimit message="the time limit of the job came; $message" ;;
            *TERM*) reason=Stopped message="the job was told to end; $message" ;;
        esac
        ;;
esac
finish "$reason" "$code" "$message"
