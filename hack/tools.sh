#!/usr/bin/env bash
# tools.sh NAME... prints the path of each pinned tool (hack/go.tools.mod), built first when it is not in
# the user's cache. The cache is outside the checkout: clones share it. Without a name: all tools.
. "$(dirname "$0")/lib.sh"
need_go

package_of() { sed -nE "/^tool/,/^\)/ s#^(tool)?[[:space:]]+([^ ]+/$1)\$#\\2#p" hack/go.tools.mod; }

# version_of PACKAGE prints the pinned version of the longest module path that PACKAGE lies in.
version_of() {
  awk -v pkg="$1" '$2 ~ /^v/ && index(pkg "/", $1 "/") == 1 && length($1) > best { best = length($1); version = $2 } END { print version }' hack/go.tools.mod
}

compile() { go build -modfile=hack/go.tools.mod -ldflags "-s -w" -o "$2" "$1"; }

build() {
  local name=$1 pkg version path
  pkg=$(package_of "$name")
  [[ -n $pkg ]] || die "hack/go.tools.mod pins no tool called $name"
  version=$(version_of "$pkg")
  # The Go version is in the name: golangci-lint refuses code for a newer Go than built it.
  path=$cache/tools/$name-$version-$(go env GOVERSION)/$name
  cached "$path" "build $name $version (once; kept in $cache/tools)" "$BASH" hack/tools.sh compile "$pkg"
}

case ${1:-} in
compile) shift; compile "$@"; exit ;;
'')
  mapfile -t all < <(sed -nE '/^tool \(/,/^\)/ s#^[[:space:]]+.*/([^/ ]+)$#\1#p' hack/go.tools.mod)
  set -- "${all[@]}"
  ;;
esac
for name; do build "$name"; done
