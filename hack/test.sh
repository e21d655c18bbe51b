#!/usr/bin/env bash
# test.sh TIER... runs tiers of tests: unit (with the seeded ones), envtest, e2e, testsite, soak, sitesoak, bench. A tier
# without a test is a failure: nobody would notice that it went missing.
. "$(dirname "$0")/lib.sh"
need_go
# make verify vets all packages; a test would vet its own again and, with the race detector, all that it links.
GOFLAGS+=" -vet=off"

# Packages that link an API server, etcd or kubectl run without the race detector: with it they compile for
# another quarter of an hour, and the locks in them are not ours.
heavy='k8s.io/apiserver/pkg/server|go.etcd.io/etcd/server/v3/embed|k8s.io/kubectl/pkg/cmd'
# These simulate much, which takes ten times as long with the detector, and their simulations start no goroutine. What many
# call at once runs with it: the door of sim, and all of slurmjob but its simulations.
serial='^assay.bench/(internal/results|slurmbridge/sim|controllers/slurmjob)$'

# sort_packages prints "race IMPORTPATH" or "plain IMPORTPATH" for each package that has tests.
sort_packages() {
  go list -test -f '{{if .ForTest}}{{else if eq .Name "main"}}{{.ImportPath}} {{join .Deps " "}}{{end}}' ./... |
    awk -v heavy=" ($heavy)( |\$)" -v serial="$serial" '$1 ~ /\.test$/ {
      path = substr($1, 1, length($1) - 5)
      print ($0 ~ heavy || path ~ serial ? "plain" : "race"), path
    }'
}

compile() { go list -export -test "$@" >/dev/null; }

case ${1:?usage: hack/test.sh TIER..., of unit envtest e2e testsite soak sitesoak bench} in
compile) shift; compile "$@"; exit ;;
compile-race) shift; CGO_ENABLED=1 compile -race "$@"; exit ;;
run-race) shift; CGO_ENABLED=1 exec go test -race "$@" ;;
run-shared)
  export CGO_ENABLED=1
  go test -race -run '^TestTransport$/^concurrent$' ./slurmbridge/sim
  go test -race -skip '^(TestCrashes|TestNodesAreLost|TestFaults)$' ./controllers/slurmjob
  exit
  ;;
run-shown) shift; go test -v -json "$@" | go run ./hack/failures; exit ;;
esac

# need_tests TAG FOLDER/... ends when there is no test to run.
need_tests() {
  local found=
  [[ ! -d ${2%/...} ]] || found=$(go list -tags "$1" -f '{{if or .TestGoFiles .XTestGoFiles}}{{.ImportPath}}{{end}}' "$2")
  [[ -n $found ]] || die "tier $1: no test in ${2%/...}. A tier without tests counts as failed."
}

# Many tests wait for processes and for clocks, so more of them run at once than there are cores.
many=(-p 3 -parallel 6)

unit() {
  local all race plain rc=0
  all=$(sort_packages)
  mapfile -t race < <(sed -n 's/^race //p' <<<"$all")
  mapfile -t plain < <(sed -n 's/^plain //p' <<<"$all")
  if race_works; then
    step "compile ${#race[@]} packages and their tests, with the race detector" "$BASH" "$0" compile-race "${race[@]}" &&
      step "test ${#race[@]} packages, with the race detector" "$BASH" "$0" run-race "${many[@]}" -timeout 15m "${race[@]}" &&
      step "test what many call at once, with the race detector" "$BASH" "$0" run-shared || rc=1
  else
    say "No C compiler here, so the tests run without the race detector (-race needs one, with its headers)."
    plain=("${race[@]}" "${plain[@]}")
  fi
  ((${#plain[@]})) || return "$rc"
  warn_cold "${plain[@]}"
  step "compile ${#plain[@]} packages and their tests" "$BASH" "$0" compile "${plain[@]}" &&
    step "test ${#plain[@]} packages" go test "${many[@]}" -timeout 25m "${plain[@]}" || rc=1
  return "$rc"
}

envtest() {
  need_tests envtest ./test/envtest/...
  KUBEBUILDER_ASSETS=$(hack/envtest.sh)
  export KUBEBUILDER_ASSETS
  step "compile the tests on a real kube-apiserver" "$BASH" "$0" compile -tags envtest ./test/envtest/...
  step "test on a real kube-apiserver" go test -tags envtest -count=1 -timeout 30m ./test/envtest/...
}

# e2e, soak and bench find the built programs in $ASSAY_BIN, the stock kubectl in $KUBEBUILDER_ASSETS, and the servers
# that others wrote in $ASSAY_MINIO and so on.
built() {
  local tag=$1
  shift
  need_tests "$tag" "./test/$tag/..."
  KUBEBUILDER_ASSETS=$(hack/envtest.sh)
  ASSAY_MINIO=$(hack/servers.sh minio)
  ASSAY_LLM_D_SIM=$(hack/servers.sh llm-d-inference-sim)
  ASSAY_VERSITYGW=$(hack/servers.sh versitygw)
  export KUBEBUILDER_ASSETS ASSAY_MINIO ASSAY_LLM_D_SIM ASSAY_VERSITYGW ASSAY_BIN=$PWD/bin
  step "compile the tests of tier $tag" "$BASH" "$0" compile -tags "$tag" "./test/$tag/..."
  # -v shows what was measured, in a tier whose tests measure.
  step "test tier $tag" "$BASH" "$0" run-shown -tags "$tag" -count=1 "$@" "./test/$tag/..."
}

# Several tiers: each in a process of its own, so that one that fails does not hide the next.
if (($# > 1)); then
  rc=0 summary=
  for tier; do
    start=$SECONDS word=passed
    "$BASH" "$0" "$tier" || rc=1 word=FAILED
    summary+="$tier $word in $(took $((SECONDS - start))), "
  done
  say "Tests: $summary$(took "$SECONDS") in all."
  exit "$rc"
fi

case $1 in
unit) unit ;;
envtest) envtest ;;
e2e)
  # Tests that measure run alone; of the others, which mostly wait, four at a time.
  built e2e -timeout 40m -parallel 4
  # What make bench measures in full is only seen to work here: numbers of a busy machine mean little.
  built bench -short -timeout 10m -run TestBench
  ;;
testsite | sitesoak) # as root; the sites that people start by hand stay out of it
  need_tests e2e ./test/testsite/...
  step "compile the tests of the test site" "$BASH" "$0" compile -tags e2e ./test/testsite/...
  export ASSAY_BIN=$PWD/bin
  # Each test has sites of its own and waits for Slurm's clocks, but the control planes of five are all that two cores bear.
  flags=(-tags e2e -timeout 60m -parallel 5)
  [[ $1 == testsite ]] || flags=(-tags e2e,soak -timeout 12h -run Soak)
  step "test on real Slurm" "$BASH" "$0" run-shown -count=1 "${flags[@]}" ./test/testsite/...
  ;;
soak) built soak -timeout 12h ;;
bench) ASSAY_BENCH_JSON=$PWD/bench.json built bench -timeout 60m -run TestBench ;;
*) die "no tier called $1; there are unit, envtest, e2e, testsite, soak, sitesoak and bench" ;;
esac
