#!/usr/bin/env bash
# root.sh SLURM prints the folder of a root file system with Slurm SLURM (24.11 or 22.05), made first when it is not in
# the user's cache: root/ is the root, packages.txt what is installed in it. Everything comes from Debian, through the
# mirror that this machine's own apt uses.
# shellcheck source=hack/lib.sh
. "$(dirname "$0")/../lib.sh"

self=hack/testsite/root.sh
slurm=${1:?usage: hack/testsite/root.sh 24.11|22.05}

# One root for both: Debian 13 with its Slurm 24.11, or with Debian 12's 22.05 in its place. (A Debian 12 of its own
# would have no Apptainer: the one in sid wants a newer libc.)
packages=(
  slurmctld slurmd slurm-client slurmdbd slurm-wlm-basic-plugins slurm-wlm-mysql-plugin slurm-wlm-jwt-plugin slurmrestd
  munge mariadb-server openssh-server
  apptainer squashfuse squashfs-tools busybox-static
  postgresql-17 postgresql-17-pgvector
  ca-certificates curl hostname iproute2 jq less procps psmisc
)

# preferences_of SLURM: sid is there for Apptainer alone. libmariadb3 of Debian 13 (11.8.9) makes slurmdbd die at its
# start with "Number of columns in result (=1) set execeeds maxmimum"; Debian 12's does not.
preferences_of() {
  local old='libmariadb3'
  [[ $1 != 22.05 ]] || old='slurm* libslurm* libmariadb3 libhttp-parser2.9 libjwt0'
  printf 'Package: *\nPin: release n=sid\nPin-Priority: -1\n\nPackage: apptainer\nPin: release n=sid\nPin-Priority: 990\n\n'
  printf 'Package: *\nPin: release n=bookworm\nPin-Priority: -1\n\nPackage: *\nPin: release n=bookworm-security\nPin-Priority: -1\n\n'
  printf 'Package: %s\nPin: release n=bookworm\nPin-Priority: 990\n\nPackage: %s\nPin: release n=bookworm-security\nPin-Priority: 990\n' "$old" "$old"
}

# shellcheck disable=SC2016 # apt fills in
# targets lists what apt on this machine reads, as "URI SUITE COMPONENT".
targets() { apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null; }

# mirror_of SUFFIX DEFAULT prints where this machine's apt finds the suite CODENAME-SUFFIX of its own Debian.
mirror_of() {
  local codename
  codename=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  targets | awk -v suite="$codename$1" -v uri="$2" \
    '!found && $2 ~ "^" suite "(/updates)?$" && $3 == "main" { uri = $1; found = 1 } END { sub("/$", "", uri); print uri }'
}

# build FOLDER makes the root in FOLDER/root. It runs as a program of its own, for step.
build() {
  local to=$1 main security include
  # What this machine's apt is told about proxies and clocks holds for the same mirror in the new root.
  apt-config dump | grep -E '^Acquire::(Check-|http|https|Retries)' >"$to/apt.conf" || true
  preferences_of "$slurm" >"$to/preferences"
  main=$(mirror_of '' http://deb.debian.org/debian)
  security=$(mirror_of -security http://deb.debian.org/debian-security)
  printf '%s\n' "deb $main trixie main" "deb $main trixie-updates main" "deb $security trixie-security main" \
    "deb $main bookworm main" "deb $security bookworm-security main" \
    "deb [check-valid-until=no] $main sid main" >"$to/sources.list" # sid's list is valid for a week only: a still mirror's is older
  include=$(IFS=, && printf '%s' "${packages[*]}")
  # shellcheck disable=SC2016 # $1 is the new root, for mmdebstrap's shell
  mmdebstrap --mode=root --variant=minbase --include="$include" --aptopt="$to/apt.conf" \
    --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='force-unsafe-io' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    --setup-hook='mkdir -p "$1/etc/apt/preferences.d"' --setup-hook="cp '$to/preferences' \"\$1/etc/apt/preferences.d/testsite\"" \
    --essential-hook='mkdir -p "$1/etc/postgresql-common" && echo "create_main_cluster = false" >"$1/etc/postgresql-common/createcluster.conf"' \
    --customize-hook="chroot \"\$1\" /bin/bash -s <hack/testsite/customize.sh" \
    trixie "$to/root" "$to/sources.list" >"$to/log.txt" 2>&1 || { tail -n 30 "$to/log.txt" >&2; exit 1; }
  chroot "$to/root" dpkg -l >"$to/packages.txt"
}

case $slurm in
build) slurm=$2 && build "$3"; exit ;;
24.11 | 22.05) ;;
*) die "no root with Slurm $slurm; there are 24.11 and 22.05" ;;
esac

recipe=$({ echo "${packages[*]}"; preferences_of "$slurm"; declare -f build; cat hack/testsite/customize.sh; } | sha256sum | cut -c1-12)
folder=$cache/testsite/slurm$slurm-$recipe
if [[ ! -e $folder/packages.txt ]]; then
  [[ $EUID == 0 ]] || die "the test site needs root: it makes name spaces, mounts and a root file system with many owners"
  command -v apt-get >/dev/null || die "the test site is made of Debian packages, and this machine has no apt-get"
  mkdir -p "$cache/testsite"
  exec {lock}>"$cache/testsite/.lock"
  flock "$lock"
fi
if [[ ! -e $folder/packages.txt ]]; then
  if ! command -v mmdebstrap >/dev/null || [[ ! -e /usr/share/keyrings/debian-archive-keyring.gpg ]]; then
    step "install mmdebstrap" "$BASH" -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mmdebstrap debian-archive-keyring >/dev/null'
  fi
  [[ -n $(targets) ]] || step "apt-get update" apt-get update -qq
  tmp=$(mktemp -d "$cache/testsite/.new.XXXXXX")
  trap 'rm -rf --one-file-system "$tmp"' EXIT
  chmod 0755 "$tmp"
  step "make a root with Slurm $slurm (once; kept in $cache/testsite)" "$BASH" $self build "$slurm" "$tmp"
  rm -rf --one-file-system "$folder"
  mv "$tmp" "$folder"
  trap - EXIT
fi
printf '%s\n' "$folder"
