# shellcheck shell=bash
# Sourced by the scripts beside it: one set of build flags, steps that say how long they took, the cache folder.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# One set of flags for every build: another CGO_ENABLED or -trimpath compiles all of Kubernetes again.
export CGO_ENABLED=0 GOFLAGS="-trimpath -buildvcs=false" GOWORK=off LC_ALL=C

# shellcheck disable=SC2034 # for the scripts that source this
cache=${XDG_CACHE_HOME:-${HOME:?set HOME or XDG_CACHE_HOME: the caches of tools and test servers live there}/.cache}/assay
# shellcheck disable=SC2034
tier_tags=envtest,e2e,soak,bench

say() { printf '%s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# took SECONDS prints a length of time as people read it.
took() { if (($1 < 60)); then printf '%d s' "$1"; else printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); fi; }

# ticker NAME says once a minute that NAME still runs; it waits in a builtin, so that killing it leaves nothing behind.
ticker() {
  local start=$SECONDS quiet
  exec {quiet}<> <(:)
  while :; do
    read -r -t 60 -u "$quiet" || true
    say "    still at it: $1, $(took $((SECONDS - start)))"
  done
}

# step NAME COMMAND... runs a program (not a function: errexit would be off in it) and prints name, result and time.
step() {
  local name=$1 start=$SECONDS rc=0 pid
  shift
  say "==> $name"
  ticker "$name" &
  pid=$!
  "$@" || rc=$?
  kill "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  if ((rc == 0)); then say "    $name: done in $(took $((SECONDS - start)))"; else say "    $name: FAILED (exit $rc) after $(took $((SECONDS - start)))"; fi
  return "$rc"
}

# need_go ends with what to do when Go is missing or too old.
need_go() {
  command -v go >/dev/null || die "Go is not installed. Install Go 1.26 or newer and put it on PATH."
  local have major minor
  have=$(go env GOVERSION) || die "'go env GOVERSION' failed: the message above is Go's own. Assay needs Go 1.26 or newer."
  IFS=. read -r major minor _ <<<"${have#go}"
  minor=${minor%%[!0-9]*}
  [[ $major =~ ^[0-9]+$ ]] || return 0 # a development version of Go: newer than any release
  ((major > 1 || minor >= 26)) || die "Assay needs Go 1.26 or newer; this is $have. Install a newer Go, or set GOTOOLCHAIN=auto and let go fetch it."
}

# warn_cold ARGUMENTS... are those of the 'go build' to come: says how long it will take when little of it is in Go's build cache.
warn_cold() {
  local n
  n=$(go build -n "$@" 2>&1 | grep -c '/compile ' || true)
  ((n < 200)) || say "    $n packages are not in Go's build cache yet (most of them are Kubernetes): about $((n / 260 + 1)) minutes on two cores, this once."
}

# race_works tells whether this machine can build with the race detector, which needs a C compiler and its headers.
race_works() {
  local cc
  cc=$(CGO_ENABLED=1 go env CC)
  # shellcheck disable=SC2086 # CC may hold flags
  printf '#include <stdlib.h>\nint main(void) { return 0; }\n' | ${cc:-gcc} -x c - -o /dev/null >/dev/null 2>&1
}

# cached PATH STEP COMMAND... prints PATH, that of a program in a folder of its own. When it is not there, the step
# COMMAND... NEW builds it first, as NEW in a folder to throw away: what is at PATH is always whole. Of two that want it at
# once the second waits for the first.
cached() {
  local path=$1 step=$2 kept name tmp turn
  shift 2
  if [[ ! -x $path ]]; then
    kept=$(dirname "$(dirname "$path")") name=$(basename "$path")
    mkdir -p "$kept"
    exec {turn}>"$kept/.$name.lock"
    flock -n "$turn" || { say "    waits for another build of $name"; flock "$turn"; }
    if [[ ! -x $path ]]; then
      tmp=$(mktemp -d "$kept/.$name.XXXXXX")
      # shellcheck disable=SC2064 # the value of now is meant
      trap "rm -rf '$tmp'" EXIT
      step "$step" "$@" "$tmp/$name"
      mkdir -p "$(dirname "$path")"
      mv -f "$tmp/$name" "$path"
      rm -rf "$tmp"
      trap - EXIT
    fi
    exec {turn}>&-
  fi
  printf '%s\n' "$path"
}
