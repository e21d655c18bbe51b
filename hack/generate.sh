#!/usr/bin/env bash
# generate.sh writes everything that is generated: deepcopy, apply configurations, CRDs, RBAC, API and command
# reference. With --check it changes nothing and fails with the difference instead.
# It generates into a copy of the tree (tracked and new files), so that the checkout never holds half of it.
. "$(dirname "$0")/lib.sh"
need_go

# generated lists the generated files below the current folder.
generated() {
  local path
  {
    find api -name 'zz_generated.*.go'
    find api -path '*/applyconfiguration/*' -type f
    find config/crd -maxdepth 1 -name 'assay.bench_*.yaml'
    for path in config/rbac/role.yaml docs/reference/api.md docs/reference/cli; do [[ ! -e $path ]] || find "$path" -type f; done
  } | sort
}

copy_tree() {
  git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' file; do [[ ! -e $file ]] || printf '%s\0' "$file"; done |
    tar --null --no-recursion -T - -cf - | tar -xf - -C "$1"
}

generate() {
  local gen=$1
  generated | tr '\n' '\0' | xargs -0 rm -f
  "$gen" object:headerFile=hack/boilerplate.go.txt paths=./api/...
  "$gen" applyconfiguration:headerFile=hack/boilerplate.go.txt paths=./api/v1alpha1
  "$gen" crd paths=./api/v1alpha1 output:crd:dir=config/crd
  if grep -rqs --include='*.go' '+kubebuilder:rbac' controllers internal/app; then
    "$gen" rbac:roleName=assay-manager "paths=./controllers/..." "paths=./internal/app/..." output:rbac:dir=config/rbac
  fi
  mkdir -p docs/reference
  go run ./hack/apidoc config/crd >docs/reference/api.md
  if [[ -d internal/app/docs ]]; then
    mkdir -p docs/reference/cli
    go run ./internal/app/docs docs/reference/cli
  fi
}

check=false
[[ ${1:-} != --check ]] || check=true
gen=$(hack/tools.sh controller-gen)
here=$PWD
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
copy_tree "$tmp"
(cd "$tmp" && generate "$gen")

stale=0
while IFS= read -r file; do
  ! cmp -s "$here/$file" "$tmp/$file" || continue
  stale=$((stale + 1))
  if $check; then
    diff -uN --label "checkout: $file" --label "generated: $file" "$here/$file" "$tmp/$file" | head -n 40 || true
  elif [[ -e $tmp/$file ]]; then
    mkdir -p "$(dirname "$here/$file")"
    install -m 0644 "$tmp/$file" "$here/$file.new" && mv "$here/$file.new" "$here/$file"
    say "wrote $file"
  else
    rm "$here/$file"
    say "removed $file"
  fi
done < <({ generated; cd "$tmp" && generated; } | sort -u)
if $check && ((stale > 0)); then die "$stale generated files differ from their sources. Run 'make generate' and commit the result."; fi
