# Runs one job of assay and writes how it ended, whether or not assay lives.
# Arguments: state folder, id, key, directory, time limit and notice in s (0: none), kill wait in 0.1 s, bash's options.
state=$1 id=$2 key=$3 dir=$4 limit=$5 notice=$6 killwait=$7 options=$8
umask 077
told='' job='' job_start='' watch='' watch_start=''
trap 'met=1 told=${told:-CANCELLED}' TERM
trap 'met=1 told=${told:-TIMEOUT}' ALRM
trap 'met=1; send USR1 "$job" "$job_start"' USR1
trap : HUP INT # not ignored: the job would inherit that
cd -- "$state" || exit 1

# start_of PID: when the process started, in ticks since boot.
start_of() {
    local stat
    [ -n "$1" ] || return 1
    { IFS= read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    set -- ${stat##*) }
    start=${20}
}

# send SIGNAL PID START: to that process only, for a pid is used again once bash has seen its child end.
send() { [ -z "$2" ] || ! start_of "$2" || [ "$start" != "$3" ] || kill -s "$1" "$2" 2>/dev/null; }

# The claim: of all runners that were ever started for this job, one goes on.
start_of $$ || exit 1
self=$start
IFS= read -r boot </proc/sys/kernel/random/boot_id
ln -sT "$$.$self.$boot" runner 2>/dev/null || exit 0

# pause SECONDS: waits without a process of its own.
exec {never}<> <(:)
pause() { read -r -t "$1" -u "$never"; }

# survivors: sets found to the processes of the job, in whatever session they are.
survivors() {
    local file pid stat
    found=''
    for file in $(grep -lzxF -- "ASSAY_JOB=$key" /proc/[0-9]*/environ 2>/dev/null); do
        grep -qzxF -- "SLURM_JOB_ID=$id" "$file" 2>/dev/null || continue
        pid=${file#/proc/}
        found="$found ${pid%/environ}"
    done
    [ -n "$job" ] || return 0
    # A pid is used again, and so is the session's.
    ! start_of "$job" || [ "$start" = "$job_start" ] || return 0
    for file in /proc/[0-9]*/stat; do
        { IFS= read -r stat <"$file"; } 2>/dev/null || continue
        pid=${file#/proc/}
        pid=${pid%/stat}
        set -- ${stat##*) }
        if [ "$4" = "$job" ] && [ "$1" != Z ] && [ "$1" != X ]; then
            case "$found " in *" $pid "*) ;; *) found="$found $pid" ;; esac
        fi
    done
}

# end_all: until nothing of the job is left: TERM to its script, then to all that the script left behind, KILL after the
# kill wait.
end_all() {
    local until pid termed=' ' none=''
    until=$(($(date +%s%N) + killwait * 100000000))
    # Until its exec the job is a copy of this shell, with the traps of this shell: a signal would be lost in them.
    while start_of "$job" && [ "$start" = "$job_start" ] && [ "$(date +%s%N)" -lt "$until" ] &&
        ! grep -qzxF -- "ASSAY_JOB=$key" "/proc/$job/environ" 2>/dev/null; do
        pause 0.02
    done
    send TERM "$job" "$job_start"
    while :; do
        survivors
        if [ -z "$found" ]; then
            # Twice: in the middle of an exec a process has no marks, and one that is about to vanish has lost them.
            [ -z "$none" ] || return 0
            none=1
            pause 0.02
            continue
        fi
        none=''
        if [ "$(date +%s%N)" -ge "$until" ]; then
            kill -s KILL $found 2>/dev/null
        elif ! { start_of "$job" && [ "$start" = "$job_start" ]; }; then
            for pid in $found; do
                case $termed in *" $pid "*) continue ;; esac
                termed="$termed$pid "
                kill -s TERM "$pid" 2>/dev/null
            done
        fi
        pause 0.1
    done
}

# tidy: removes what killed processes left on this host's disk, under the name that assay-node gives it. The claim says
# whose it is: another job under this key may be at work.
tidy() {
    local left
    [ "$(readlink -- "$dir/claim")" = "$id" ] || return 0
    for left in "${TMPDIR:-/tmp}/assay-$UID-$key-"*; do
        [ -L "$left" ] || [ ! -O "$left" ] || rm -rf -- "$left"
    done
}

# record STATE CODE SIGNAL
record() {
    printf '{"state":"%s","code":%d,"signal":%d,"time":%d}\n' "$1" "$2" "$3" "$(date +%s%N)" >.end.json &&
        mv -fT .end.json end.json
}

log=$dir/job.log
{ : >>"$log"; } 2>/dev/null || log=$state/job.log
ln -sT -- "${TMPDIR:-/tmp}" temp 2>/dev/null # for whoever ends the job when this runner is killed
if [ -z "$told" ]; then
    ASSAY_JOB=$key setsid bash $options "$state/job.sh" </dev/null >>"$log" 2>&1 {never}>&- &
    job=$!
    start_of "$job" || start=0
    job_start=$start
    printf '%d %d %d\n' "$job" "$start" "$(date +%s%N)" >.started && mv -fT .started started
fi

# The watch tells this runner of the notice, the time limit and a cancel, as long as it is the same process: of limit and
# cancel again and again until the runner ends the watch, for bash loses a signal that comes just before it waits.
if [ -n "$job" ]; then
    (
        trap - TERM ALRM USR1
        SECONDS=0
        while start_of $$ && [ "$start" = "$self" ]; do
            left=$((limit - SECONDS)) nap=5 # whole seconds: late rather than early
            if [ -e cancel ]; then
                kill -s TERM $$
                nap=1
            elif [ "$limit" -gt 0 ] && [ "$left" -lt 0 ]; then
                kill -s ALRM $$
                nap=1
            elif [ "$notice" -gt 0 ] && [ "$left" -lt "$notice" ]; then
                kill -s USR1 $$
                notice=0 nap=0.5
            elif [ "$limit" -gt 0 ] && [ $((left - notice)) -le 5 ]; then
                nap=0.5
            fi
            pause "$nap"
        done
    ) &
    watch=$!
    disown "$watch"
    start_of "$watch" && watch_start=$start
fi

code=0
while [ -n "$job" ]; do
    met=''
    [ -z "$told" ] || break
    wait "$job"
    code=$?
    [ -n "$met" ] || break
done
end_all
if [ -n "$job" ]; then
    met=1
    while [ -n "$met" ]; do
        met=''
        wait "$job"
        code=$?
    done
fi
send KILL "$watch" "$watch_start"
tidy

signal=0
[ "$code" -le 128 ] || signal=$((code - 128))
if [ -n "$told" ]; then
    record "$told" "$code" "$signal"
elif [ "$code" -eq 0 ]; then
    record COMPLETED 0 0
else
    record FAILED "$code" "$signal"
fi
