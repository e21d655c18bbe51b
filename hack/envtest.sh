#!/usr/bin/env bash
# envtest.sh prints the folder that holds kube-apiserver, etcd and kubectl for tests (KUBEBUILDER_ASSETS). They are
# taken from the user's cache, else downloaded by setup-envtest, else built from hack/envtest/go.mod with the flags
# of our own build.
. "$(dirname "$0")/lib.sh"
need_go

module=hack/envtest
version=$(sed -nE 's#^[[:space:]]*k8s.io/kubernetes v([0-9.]+).*#\1#p' $module/go.mod)
programs=(kube-apiserver etcd kubectl)

complete() { local p; for p in "${programs[@]}"; do [[ -x $1/$p ]] || return 1; done; }

build() {
  local component=k8s.io/component-base/version minor=${version#1.} to=$1
  cd "$module"
  go build -ldflags "-s -w -X $component.gitVersion=v$version -X $component.gitMajor=1 -X $component.gitMinor=${minor%%.*}" \
    -o "$to/" k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl
  go build -ldflags "-s -w" -o "$to/etcd" go.etcd.io/etcd/server/v3
}

# download asks setup-envtest, and gives up soon: many machines reach no download.
download() {
  local setup found
  setup=$(hack/tools.sh setup-envtest)
  found=$(timeout 90 "$setup" use "$version" --bin-dir "$1/setup" -p path 2>"$1/why") && mv "$found"/* "$1/"
}

case ${1:-} in
build) build "$2"; exit ;;
download) download "$2"; exit ;;
esac

recipe=$({ cat $module/go.mod $module/go.sum; echo "$GOFLAGS" "$CGO_ENABLED"; sed -n '/^build()/,/^}/p' hack/envtest.sh; } | sha256sum | cut -c1-12)
assets=$cache/envtest/$version-$(go env GOOS)-$(go env GOARCH)-$recipe
if ! complete "$assets"; then
  mkdir -p "$cache/envtest"
  tmp=$(mktemp -d "$cache/envtest/.new.XXXXXX")
  trap 'chmod -R u+w "$tmp"; rm -rf "$tmp"' EXIT
  if "$BASH" "$0" download "$tmp" && complete "$tmp"; then
    say "==> downloaded kube-apiserver, etcd and kubectl $version"
  else
    say "==> kube-apiserver, etcd and kubectl $version cannot be downloaded here: $(tail -n 1 "$tmp/why" 2>/dev/null | cut -c1-200)"
    say "    They are built instead, once, and kept in $cache/envtest."
    (cd $module && warn_cold k8s.io/kubernetes/cmd/kube-apiserver k8s.io/kubernetes/cmd/kubectl go.etcd.io/etcd/server/v3)
    step "build kube-apiserver, etcd and kubectl $version" "$BASH" "$0" build "$tmp"
  fi
  [[ ! -d $tmp/setup ]] || chmod -R u+w "$tmp/setup"
  rm -rf "$tmp/setup" "$tmp/why"
  complete "$tmp" || die "kube-apiserver, etcd and kubectl are not all there; the messages above say why"
  rm -rf "$assets"
  chmod 0755 "$tmp"
  mv "$tmp" "$assets"
  trap - EXIT
fi
printf '%s\n' "$assets"
