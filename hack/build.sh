#!/usr/bin/env bash
# build.sh builds bin/assay-node (static, for this machine), packs it for linux/amd64 and linux/arm64 into the
# place from where bin/assay embeds it, and then builds bin/assay.
. "$(dirname "$0")/lib.sh"
need_go

version=$(git describe --always --dirty --tags 2>/dev/null || echo unknown)
kube=$(go list -m -f '{{.Version}}' k8s.io/apiserver) # v0.37.2 is what Kubernetes calls v1.37.2
kube=v1.${kube#v0.}
kube_minor=${kube#v1.}
component=k8s.io/component-base/version
node_flags="-s -w -X assay.bench/internal/node.version=$version"
flags="-s -w -X assay.bench/internal/app.version=$version"
flags+=" -X $component.gitVersion=$kube -X $component.gitMajor=1 -X $component.gitMinor=${kube_minor%%.*}"

# pack_node ARCH puts a packed assay-node where go:embed finds it.
pack_node() {
  GOOS=linux GOARCH=$1 go build -ldflags "$node_flags" -o "bin/nodes/assay-node-linux-$1" ./cmd/assay-node
  go run ./hack/pack "bin/nodes/assay-node-linux-$1" "internal/app/nodebin/assay-node-linux-$1.zst"
}

case ${1:-all} in
all)
  mkdir -p bin/nodes internal/app/nodebin
  step "build bin/assay-node and the two copies that assay carries" "$BASH" "$0" node
  warn_cold -tags embednode ./cmd/assay
  step "build bin/assay $version (with kubectl $kube inside)" "$BASH" "$0" assay
  ;;
node)
  go build -ldflags "$node_flags" -o bin/assay-node ./cmd/assay-node
  pack_node amd64
  pack_node arm64
  ;;
assay) go build -tags embednode -ldflags "$flags" -o bin/assay ./cmd/assay ;;
*) die "usage: hack/build.sh [all | node | assay]" ;;
esac
