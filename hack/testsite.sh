#!/usr/bin/env bash
# testsite.sh runs real Slurm sites on this machine for tests: up, down, status, shell and more (see usage below, and
# docs/testsite.md). It needs root, for name spaces and mounts. Nothing is changed outside of the state and the cache.
. "$(dirname "$0")/lib.sh"

usage() {
  cat >&2 <<'USAGE'
usage: hack/testsite.sh COMMAND
  up [SITE...]                    start sites (slurm24.11 unless named); one that is up stays as it is
  down [SITE...]                  end sites (all unless named) and remove all that they left
  status                          a line for each site
  shell SITE [root]               a shell on its login node, as hpc or root
  exec SITE [--user hpc|root] -- COMMAND...
                                  run a command on its login node
  daemon SITE start|stop|kill|restart NAME...
                                  act on slurmctld, slurmdbd, slurmd@mel2001, slurmrestd, sshd, mariadbd or munged
  token SITE [SECONDS]            a token for slurmrestd, for hpc (1800 s unless told)
  env SITE                        lines NAME=value for programs: addresses, keys, folders
  image SITE NAME[:TAG] FOLDER|TAR [ENTRY...]
                                  put an image into the site's registry; prints ADDRESS/NAME@DIGEST
  sif SITE FOLDER FILE            make a SIF of a folder
  images SITE                     make the images of recipes/testsite: minio.sif and vllm.sif, in its folder SHARE
USAGE
  exit 2
}

# All sites: name, Slurm, the third part of its addresses, what stands before a port's last two digits, words for the
# templates in etc/. No two share an address or a port, so that all can be up at once.
sites='
slurm24.11        24.11  24  168  accounting    restd  overmemory
slurm24.11-plain  24.11  25  169  noaccounting  restd  ramspace
slurm22.05        22.05  22  167  accounting           ramspace
'
# Two people on one machine, or two tests, each take a slot: a set of sites with addresses and ports of its own.
slot=${ASSAY_TESTSITE_SLOT:-0}
[[ $slot == [0-9] ]] || die "ASSAY_TESTSITE_SLOT=$slot: the slots are 0 to 9"
suffix=
((slot == 0)) || suffix=-$slot
states=${ASSAY_TESTSITE_STATE:-/var/tmp/assay-testsite$suffix}
cgroups=(freezer devices memory) # those that a site has a part of, and sees as the whole

# load SITE sets what is known of it: site, slurm, net, port, words, state, group (of its cgroups).
load() {
  local row
  row=$(awk -v name="$1" '$1 == name' <<<"$sites")
  [[ -n $row ]] || die "no site called $1; there are $(awk 'NF { printf "%s%s", sep, $1; sep = ", " }' <<<"$sites")"
  read -r site slurm net port words <<<"$row"
  # What the kernel here has decides how Slurm finds and limits the processes of a job.
  if [[ -d /sys/fs/cgroup/freezer ]]; then words+=" cgroup"; else words+=" nocgroup"; fi
  if [[ -d /sys/fs/cgroup/freezer && -d /sys/fs/cgroup/devices ]]; then words+=" devices"; else words+=" nodevices"; fi
  if [[ $words == *nodevices* || ! -d /sys/fs/cgroup/memory ]]; then words=${words/ramspace/overmemory}; fi
  net=127.$slot.$net
  port=$((port + 10 * slot))
  state=$states/$site
  group=assay-testsite$suffix-$site
}
has() { [[ " $words " == *" $1 "* ]]; }
all_sites() { awk 'NF { print $1 }' <<<"$sites"; }

# alive tells whether the loaded site's process 1 runs, and sets pid.
alive() {
  local start stat
  local -a field
  read -r pid start 2>/dev/null <"$state/pid" && stat=$(cat "/proc/$pid/stat" 2>/dev/null) || return 1
  read -r -a field <<<"${stat##*) }"
  [[ ${field[19]} == "$start" && ${field[0]} != Z ]]
}
ready() { [[ -e $state/ready ]] && alive; }
need_ready() { ready || die "$site is not up: hack/testsite.sh up $site"; }

# lock keeps two commands from acting on the loaded site at once. The file outlives the site, so it is in the cache.
lock() {
  mkdir -p "$cache/testsite"
  exec {locked}>"$cache/testsite/$group.lock"
  flock "$locked"
}
unlock() { exec {locked}>&-; }

# render FILE fills in a template for the loaded site.
render() {
  local word
  local -a script=()
  for word in $words; do script+=(-e "s/^%$word //"); done
  sed "${script[@]}" -e '/^%/d' -e "s|@LOGIN@|$net.1|g; s|@NET@|$net|g; s|@PORT@|$port|g; s|@STATE@|$state|g; s|@SITE@|$site|g; s|@FIRST_JOB@|${port}0001|g" "$1"
}

# registry prints the path of the program that serves images, built when it is not in the cache.
registry() {
  local source=hack/testsite/registry path
  path=$cache/testsite/registry-$(cat $source/go.mod $source/*.go | sha256sum | cut -c1-12)
  if [[ ! -x $path ]]; then
    need_go
    mkdir -p "$cache/testsite"
    step "build the registry (once; kept in $cache/testsite)" go -C $source build -ldflags "-s -w" -o "$path.$$" .
    mv "$path.$$" "$path"
  fi
  printf '%s\n' "$path"
}

# tree_of FOLDER prints the name of a copy that Apptainer takes: hpc may read it, and it has the folders and the shell
# that Apptainer looks for in each image.
tree_of() {
  local to d
  to=$(mktemp -d "$state/share/.tree.XXXXXX")
  cp -RP --preserve=mode "$1/." "$to/"
  for d in bin etc tmp proc sys dev root home var/tmp; do mkdir -p "$to/$d"; done
  for d in passwd group nsswitch.conf hosts resolv.conf; do [[ -e $to/etc/$d ]] || : >"$to/etc/$d"; done
  if [[ ! -e $to/bin/sh && ! -L $to/bin/sh ]]; then
    cp "/proc/$pid/root/usr/bin/busybox" "$to/bin/busybox"
    for d in sh awk cat cp date echo env false grep head hostname id kill ln ls mkdir mv nc ps pwd rm sed sleep sort tail test touch tr true wc wget; do
      [[ -e $to/bin/$d ]] || ln -s busybox "$to/bin/$d"
    done
  fi
  chmod -R a+rX "$to"
  printf '%s\n' "$to"
}

image() {
  local name=$1 tree=$2 copy=
  shift 2
  [[ ! -d $tree ]] || tree=$(tree_of "$tree") copy=$tree
  "$(registry)" push "$net.1:${port}50/$name" "$tree" "$@"
  [[ -z $copy ]] || rm -rf "$copy"
}

# sif makes the file as hpc does. zstd 1 is a tenth of the time of Apptainer's own gzip.
sif() {
  local tree out=$state/tmp/$$.sif
  tree=$(tree_of "$1")
  in_site hpc apptainer --quiet build --mksquashfs-args "-comp zstd -Xcompression-level 1" "$out" "$tree" >&2
  install -m 0644 "$out" "$2"
  rm -rf "$tree" "$out"
}

# images makes the images that recipes/testsite names, of the servers that the tests drive.
images() {
  local tree
  local -a programs
  tree=$(mktemp -d "$state/tmp/images.XXXXXX")
  mapfile -t programs < <(hack/servers.sh minio llm-d-inference-sim)
  mkdir -p "$tree"/{minio,vllm}/bin
  cp "${programs[0]}" "$tree/minio/bin/minio"
  cp "${programs[1]}" "$tree/vllm/bin/llm-d-inference-sim"
  cp hack/testsite/images/vllm/{vllm,ray} "$tree/vllm/bin/"
  chmod -R a+rX "$tree"
  sif "$tree/minio" "$state/share/minio.sif"
  sif "$tree/vllm" "$state/share/vllm.sif"
  rm -rf "$tree"
}

# prepare REGISTRY makes the folders and files of the loaded site.
prepare() {
  local t=hack/testsite to=$state/site f
  install -d -m 0755 "$states" "$state" "$state"/{log,root,share,ssh,site} "$to"/{testsite,etc/slurm,etc/ssh,etc/profile.d}
  install -d -m 0700 -o 20000 -g 20000 "$state"/{home,work}
  install -d -m 1777 "$state/tmp"
  cp $t/{boot,daemon,accounts}.sh "$to/testsite/"
  cp "$1" "$to/testsite/registry"
  for f in slurm.conf slurmdbd.conf cgroup.conf gres.conf prolog.sh; do render $t/etc/$f >"$to/etc/slurm/$f"; done
  chmod 0600 "$to/etc/slurm/slurmdbd.conf"
  chmod 0755 "$to/etc/slurm/prolog.sh" "$to/testsite/daemon.sh"
  has accounting || rm "$to/etc/slurm/slurmdbd.conf"
  render $t/etc/hosts >"$to/etc/hosts"
  render $t/etc/sshd_config >"$to/etc/ssh/sshd_config"
  render $t/etc/profile.sh >"$to/etc/profile.d/testsite.sh"
  echo login1 >"$to/etc/hostname"
  cp -L /etc/resolv.conf "$to/etc/resolv.conf" 2>/dev/null || true
  printf '%s=%q\n' SITE "$site" STATE "$state" LOGIN "$net.1" PORT "$port" \
    ACCOUNTING "$(has accounting && echo 1)" RESTD "$(has restd && echo 1)" \
    RESTD_WAITS "${ASSAY_TESTSITE_RESTD_WAITS:-}" >"$to/testsite/site.env"
}

# launch starts the loaded site's name spaces; its processes are in cgroups of its own, and see these as the root ones.
launch() {
  local c lower=$1
  for c in "${cgroups[@]}"; do
    [[ ! -d /sys/fs/cgroup/$c ]] || { mkdir -p "/sys/fs/cgroup/$c/$group" && echo "$BASHPID" >"/sys/fs/cgroup/$c/$group/cgroup.procs"; }
  done
  exec setsid unshare --mount --pid --uts --ipc --cgroup --fork --kill-child "$BASH" hack/testsite/enter.sh "$state" "$lower" "${cgroups[@]}"
}

# await waits for the loaded site to be ready.
await() {
  local launcher=$1 end=$((SECONDS + 60))
  until ready; do
    if ((SECONDS >= end)) || ! kill -0 "$launcher" 2>/dev/null; then
      why
      sweep
      die "$site did not come up"
    fi
    sleep 0.05
  done
}

# why prints the lines of the logs that tell why the loaded site is not up.
why() {
  local f
  say "--- $site: what its start says"
  tail -n 20 "$state/log/boot.log" >&2 || true
  for f in "$state"/log/*.log; do
    [[ $f == */boot.log ]] || grep -HE 'fatal|error|ERROR|FATAL' "$f" 2>/dev/null | sed "s|^$state/log/||" | tail -n 8 >&2 || true
  done
}

# sweep ends the loaded site and removes all that is left of it.
sweep() {
  local c end=$((SECONDS + 20))
  if alive; then
    kill -9 "$pid"
    while alive; do
      ((SECONDS < end)) || die "$site: process $pid does not end"
      sleep 0.02
    done
  fi
  for c in "${cgroups[@]}"; do
    [[ ! -d /sys/fs/cgroup/$c/$group ]] || until find "/sys/fs/cgroup/$c/$group" -depth -type d -exec rmdir {} + 2>/dev/null; do
      ((SECONDS < end)) || die "$site: processes are left in /sys/fs/cgroup/$c/$group"
      sleep 0.02
    done
  done
  rm -rf --one-file-system "$state"
  rmdir "$states" 2>/dev/null || true
}

up() {
  local name lower program launcher
  [[ $EUID == 0 ]] || die "the test site needs root: it makes name spaces, mounts and a root file system with many owners"
  for name; do
    load "$name"
    lock
    if ready; then say "$site is up"; unlock; continue; fi
    [[ ! -e $state ]] || sweep # what a crash left
    (: <>"/dev/tcp/$net.1/8822") 2>/dev/null && die "something listens on $net.1:8822, perhaps a $site of another ASSAY_TESTSITE_STATE; ASSAY_TESTSITE_SLOT=1 is another set of addresses"
    lower=$(hack/testsite/root.sh "$slurm")
    program=$(registry)
    prepare "$program"
    (launch "$lower/root") </dev/null >"$state/log/boot.log" 2>&1 {locked}>&- &
    launcher=$!
    await "$launcher"
    unlock
    say "$site is up"
  done
}

down() {
  local name
  for name; do
    load "$name"
    lock
    if [[ -e $state ]]; then sweep && say "$site is down"; fi
    unlock
  done
}

status() {
  local name
  for name in $(all_sites); do
    load "$name"
    if ready; then
      printf '%-17s up    ssh hpc@%s -p 8822, process %s, %s jobs, state in %s\n' "$site" "$net.1" "$pid" "$(in_site root timeout 5 squeue -h -o %i 2>/dev/null | wc -l)" "$state"
    elif [[ -e $state ]]; then
      printf '%-17s dead  remove it: hack/testsite.sh down %s\n' "$site" "$site"
    else
      printf '%-17s down\n' "$site"
    fi
  done
}

# in_site USER COMMAND... runs it on the loaded site's login node, as after a login.
in_site() { (become "$@"); }

# become USER COMMAND... turns this process into it.
become() {
  local user=$1 home=/root c
  shift
  [[ $user == root ]] || home=/home/users/$user
  alive || die "$site is not up"
  for c in "${cgroups[@]}"; do [[ ! -d /sys/fs/cgroup/$c/$group ]] || echo "$BASHPID" >"/sys/fs/cgroup/$c/$group/cgroup.procs"; done
  # Without --pdeathsig, the end of this process would leave the command running in the site.
  exec nsenter --target "$pid" --mount --pid --uts --ipc --cgroup --root --wdns="$home" \
    setpriv --reuid "$user" --regid "$user" --init-groups --pdeathsig KILL \
    env -i HOME="$home" USER="$user" LOGNAME="$user" SHELL=/bin/bash LANG=C.UTF-8 TERM="${TERM:-dumb}" \
    PATH=/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin \
    bash -lc 'exec "$@"' bash "$@"
}

print_env() {
  need_ready
  local -a v=(
    SITE "$site" SLURM "$slurm" STATE "$state" PID "$pid" WORK "$state/work" SHARE "$state/share" HOME "$state/home"
    ACCOUNTING "$(has accounting && echo 1)" CLUSTER meluxina ACCOUNT p200000
    SSH_HOST "$net.1" SSH_PORT 8822 SSH_USER hpc SSH_KEY "$state/ssh/id_ed25519" SSH_KNOWN_HOSTS "$state/ssh/known_hosts"
    REGISTRY "$net.1:${port}50" NODES "mel2001=$net.11,mel2002=$net.12,mel2003=$net.13,mel2004=$net.14"
    REST_URL "$(has restd && echo "http://$net.1:${port}30")" JWT_KEY "$(has restd && echo "$state/jwt_hs256.key")"
  )
  printf "TESTSITE_%s='%s'\n" "${v[@]}" # no value holds a quote
}

command=${1:-}
[[ -z $command ]] || shift
case $command in
up)
  (($#)) || set -- slurm24.11
  up "$@"
  ;;
down)
  # shellcheck disable=SC2046 # names hold no spaces
  (($#)) || set -- $(all_sites)
  down "$@"
  ;;
status) status ;;
shell)
  load "${1:?a site}"
  need_ready
  become "${2:-hpc}" script -qec 'bash -l' /dev/null # script gives a terminal of the site's own
  ;;
exec)
  load "${1:?a site}"
  shift
  user=hpc
  while [[ ${1:-} == --* ]]; do
    case $1 in
    --user) user=${2:?a user}; shift 2 ;;
    --) shift; break ;;
    *) usage ;;
    esac
  done
  (($#)) || usage
  need_ready
  become "$user" "$@"
  ;;
daemon)
  load "${1:?a site}"
  shift
  in_site root /testsite/daemon.sh "$@"
  ;;
token)
  load "${1:?a site}"
  need_ready
  in_site hpc scontrol token "lifespan=${2:-1800}" | sed -n 's/^SLURM_JWT=//p'
  ;;
image)
  (($# >= 3)) || usage
  load "$1"
  need_ready
  image "${@:2}"
  ;;
sif)
  (($# == 3)) || usage
  load "$1"
  need_ready
  sif "$2" "$3"
  ;;
images)
  load "${1:?a site}"
  need_ready
  images
  ;;
env) load "${1:?a site}" && print_env ;;
*) usage ;;
esac
