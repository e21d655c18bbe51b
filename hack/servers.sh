#!/usr/bin/env bash
# servers.sh NAME... prints the path of each server that the tests drive, built first when it is not in the user's
# cache. Each is the work of others, built in a throw-away module from the version below; nothing of it is kept in
# this repository. Without a name: all of them.
. "$(dirname "$0")/lib.sh"
need_go

# Lines of: name, Go module, version, package.
servers='
minio               github.com/minio/minio                      v0.0.0-20260212201848-7aac2a2c5b7c  github.com/minio/minio
llm-d-inference-sim github.com/llm-d/llm-d-inference-sim        v0.10.2  github.com/llm-d/llm-d-inference-sim/cmd/llm-d-inference-sim
versitygw           github.com/versity/versitygw                v1.8.0   github.com/versity/versitygw/cmd/versitygw
'

row_of() { awk -v name="$1" '$1 == name' <<<"$servers"; }

# compile MODULE VERSION PACKAGE NEW takes one compiler at a time: next to it a test or a person wants the other core, and
# two large packages at once want the memory.
compile() {
  local module=$1 version=$2 pkg=$3 new=$4 language
  language=$(sed -n 's/^go //p' go.mod)
  cd "$(dirname "$new")"
  printf 'module throwaway\n\ngo %s\n\nrequire %s %s\n' "$language" "$module" "$version" >go.mod
  GOFLAGS="$GOFLAGS -mod=mod" go build -p 1 -ldflags "-s -w" -o "$new" "$pkg"
}

build() {
  local name=$1 row module version pkg path
  row=$(row_of "$name")
  [[ -n $row ]] || die "no server called $name; there are $(awk 'NF { printf "%s%s", sep, $1; sep = ", " }' <<<"$servers")"
  read -r _ module version pkg <<<"$row"
  path=$cache/servers/$name-$version-$(go env GOOS)-$(go env GOARCH)/$name
  cached "$path" "build $name $version (once, some minutes; kept in $cache/servers)" \
    "$BASH" hack/servers.sh compile "$module" "$version" "$pkg"
}

case ${1:-} in
compile) shift; compile "$@"; exit ;;
'') mapfile -t all < <(awk 'NF { print $1 }' <<<"$servers"); set -- "${all[@]}" ;;
esac
for name; do build "$name"; done
