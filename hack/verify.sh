#!/usr/bin/env bash
# verify.sh [CHECK...] runs the named checks, or all of them, and says at the end which failed.
. "$(dirname "$0")/lib.sh"
need_go

# All checks, the fast ones first.
checks=(format shell-scripts crd-size envtest-versions house-rules compile imports generated tidy vet lint)

go_files() { git ls-files -z --cached --others --exclude-standard -- '*.go' | while IFS= read -r -d '' f; do [[ ! -f $f ]] || printf '%s\0' "$f"; done; }

check() {
  case $1 in
  format)
    local unformatted
    unformatted=$(go_files | xargs -0 -r gofmt -s -l)
    [[ -z $unformatted ]] || die "not formatted; run 'make fmt':"$'\n'"$unformatted"
    ;;
  shell-scripts)
    local f
    for f in hack/*.sh hack/testsite/*.sh .ci/run; do "$BASH" -n "$f"; done
    if command -v shellcheck >/dev/null; then shellcheck -x -P hack hack/*.sh hack/testsite/*.sh .ci/run; fi
    ;;
  crd-size) # client-side apply keeps a copy of the object in an annotation, which may hold 256 KiB
    local f big=
    for f in config/crd/assay.bench_*.yaml; do (($(wc -c <"$f") < 200000)) || big+=" $f"; done
    [[ -z $big ]] || die "larger than 200 KB:$big. kubectl apply stops at 256 KiB: shorten descriptions or embed less."
    ;;
  envtest-versions) # with other versions, the API server for tests would compile Kubernetes a second time
    local differ
    differ=$(awk 'FNR == 1 { file++ } $2 ~ /^v[1-9]|^v0\.[^0]/ { if (file == 1) ours[$1] = $2; else if ($1 in ours && ours[$1] != $2) print "  " $1, ours[$1], "in go.mod,", $2, "in hack/envtest/go.mod" }' \
      <(sed '/^replace/,$d' go.mod) <(sed '/^replace/,$d' hack/envtest/go.mod))
    [[ -z $differ ]] || die "two versions of one module (go get the left one in hack/envtest):"$'\n'"$differ"
    ;;
  house-rules) go run ./hack/rules ;;
  compile) # first and by itself, so that the times of the others are their own
    warn_cold ./...
    go build ./...
    ;;
  imports) go run ./hack/imports ;;
  generated) hack/generate.sh --check ;;
  tidy)
    go mod tidy -diff
    local module
    for module in hack/envtest hack/testsite/registry; do go -C $module mod tidy -diff; done
    ;;
  vet) go vet -tags "$tier_tags" ./... ;;
  lint) # LINT_FLAGS=--fix repairs what can be repaired
    local flags
    read -r -a flags <<<"${LINT_FLAGS:-}"
    "$(hack/tools.sh golangci-lint)" run --allow-parallel-runners --build-tags "$tier_tags" "${flags[@]}" ./...
    ;;
  *) die "no check called $1; there are: ${checks[*]}" ;;
  esac
}

if [[ ${1:-} == --one ]]; then
  check "$2"
  exit
fi
(($#)) || set -- "${checks[@]}"
failed=()
for name; do step "$name" "$BASH" "$0" --one "$name" || failed+=("$name"); done
((${#failed[@]} == 0)) || die "verify: FAILED ${failed[*]}. One alone: hack/verify.sh ${failed[0]}"
say "verify: passed ($# of ${#checks[@]} checks) in $(took "$SECONDS")"
