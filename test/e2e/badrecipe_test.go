//go:build e2e

package e2e

// simulator is the service of the benchmark short.
const simulator = "{name: sim, llmsim: {ttft: {mean: 10ms}, itl: {mean: 2ms}}}"

// badRecipes are refused before anything starts.
func badRecipes() map[string]badInput {
	refused := func(reason, recipe, words, kubectl string) badInput {
		return badInput{reason: reason, recipe: recipe, wantCode: 2, wantWords: []string{"assay: recipe.yaml:" + words}, wantKubectl: kubectl}
	}
	return map[string]badInput{
		"unknown field": refused("a typo is not ignored", changed("duration:", "durration:"),
			`13:5: spec.clients[0].durration: unknown field; did you mean "duration"?`, `unknown field "spec.clients[0].durration"`),
		"unknown field far from any": refused("where nothing is near, what may stand there helps", changed("{concurrency: 1}", "{concurrency: 1, users: 8}"),
			"12:34: spec.clients[0].closedLoop.users: unknown field; the fields there are concurrency, thinkTime", `unknown field "spec.clients[0].closedLoop.users"`),
		"unknown field of an engine": refused("an engine is no bag of words", changed(simulator, "{name: sim, vllm: {model: m, tensorParalelSize: 2}}"),
			`7:34: spec.services[0].vllm.tensorParalelSize: unknown field; did you mean "tensorParallelSize"?`, `unknown field "spec.services[0].vllm.tensorParalelSize"`),
		"more GPUs than asked for": refused("vLLM would not start", changed(simulator, "{name: sim, vllm: {model: m, tensorParallelSize: 4}, resources: {gpusPerNode: 2}}"),
			"7:34: spec.services[0].vllm.tensorParallelSize: 4 GPUs share each layer, and resources.gpusPerNode asks for 2: ask for as many", ""),
		"field twice": refused("the API server would take the last one", changed("    duration: 1500ms\n", "    duration: 1500ms\n    duration: 2s\n"),
			`14:5: the field "duration" stands twice`, ""),
		"wrong type": refused("a word for a number", changed("concurrency: 1", "concurrency: many"),
			`12:18: spec.clients[0].closedLoop.concurrency: "many" is not a whole number`, "must be of type integer"),
		"wrong type, a list": refused("a word for a list", changed("services:\n  - "+simulator, "services: sim"),
			`6:3: spec.services: "sim" is not a list: begin each item with a dash`, ""),
		"not a length of time": refused("a unit that is none", changed("1500ms", "15 seconds"),
			`13:5: spec.clients[0].duration: "15 seconds" is not valid: write a length of time such as 500ms, 90s or 1h30m`, "should match"),
		"two engines": refused("one service runs one engine", changed("llmsim: {ttft", "command: {argv: [sleep]}, llmsim: {ttft"),
			"7:5: spec.services[0]: name exactly one engine of command, llmsim, minio, vllm", "name exactly one engine of command, llmsim, minio, vllm"),
		"no engine": refused("a service runs something", changed(simulator, "{name: sim}"),
			"7:5: spec.services[0]: name exactly one engine of command, llmsim, minio, vllm", "name exactly one engine of command, llmsim, minio, vllm"),
		"no such target": refused("a client loads one of the services", changed("{service: sim}", "{service: sym}"),
			`10:14: spec.clients[0].target.service: there is no service "sym" in spec.services: name one of sim`, "a client targets a service that is not in services"),
		"times beyond the limit": refused("a job must not be cut in its middle", changed("itl: {mean: 2ms}}", "itl: {mean: 2ms}}, resources: {timeLimit: 1m}"),
			"7:77: spec.services[0].resources.timeLimit: the job may take 6m11.5s (readiness 5m0s + measurement 1.5s + drain 1m0s + stop 10s), "+
				"which is more than its time limit 1m0s: raise the limit, or lower readiness.timeout, duration or repeats.count", ""),
		"a dot in a name": refused("names of children are made of it, and they name folders", changed("{name: short}", "{name: my.short}"),
			"1:1: the name of a Benchmark begins those of its Services and LoadClients, which have no dots; use dashes", "which have no dots; use dashes"),
		"a name that the run has": refused("the run keeps its secrets there", changed("name: load", "name: secrets"),
			`9:5: spec.clients[0].name: "secrets" is not valid: the run has files of the names secrets and claim; take another name`, "take another name"),
		"a target that the engine has": refused("two writers of one file", changed("itl: {mean: 2ms}}", "itl: {mean: 2ms}}, metrics: {targets: [{name: server, port: 9100}]}"),
			`7:86: spec.services[0].metrics.targets[0].name: there is a target "server" already, of llmsim itself or above: take another name`, ""),
		"scrapes too often": refused("the node would refuse it once the server is there", changed("itl: {mean: 2ms}}", "itl: {mean: 2ms}}, metrics: {interval: 1ms}"),
			`7:75: spec.services[0].metrics.interval: "1ms" is below 10ms, the shortest: take a longer one`, ""),
		"no window": refused("a ratio is taken over some time", changed("{concurrency: 1}", "{concurrency: 1}\n    abort: {errorRatio: \"0.5\", window: 0s}"),
			`13:32: spec.clients[0].abort.window: "0s" has no length: use one such as 10s`, ""),
		"a rate that nobody sends": refused("the node would refuse it once the server is there", changed("closedLoop: {concurrency: 1}", `openLoop: {rate: "20000000"}`),
			`12:16: spec.clients[0].openLoop.rate: "20000000" is not above 0 and at most 10000000 per second`, ""),
		"no host": refused("there is nobody to ask", changed("{service: sim}", `{url: "http://"}`, "inference: {", "inference: {model: m, "),
			`10:14: spec.clients[0].target.url: "http://" names no server: use a URL such as http://host:8000`, ""),
		"a password in a URL": refused("the plan and the result repeat the URL", changed("{service: sim}", `{url: "http://bob:secret@host"}`, "inference: {", "inference: {model: m, "),
			"10:14: spec.clients[0].target.url: a user or a password in a URL is read by all, so name a Secret in target.credentials instead",
			"name a Secret in target.credentials instead"),
		"a path to S3": refused("the path of an object begins with its bucket", changed("{service: sim}", `{url: "http://host/b", credentials: {name: keys}}`,
			"inference: {inputTokens: {fixed: 8}, outputTokens: {fixed: 8}}", "s3: {size: {fixed: 1k}}",
			"duration: 1500ms\n", "duration: 1500ms\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {username: a, password: b}\n"),
			"10:14: spec.clients[0].target.url: s3 wants the URL of the endpoint alone, such as http://host:9000, and the bucket in s3.bucket",
			"and the bucket in s3.bucket"),
		"a bound that nothing reaches": refused("no run shows that every request succeeds", changed("1500ms\n", "1500ms\n  slos: [{client: load, metric: success_ratio, atLeast: \"1\"}]\n"),
			"14:10: spec.slos[0]: the bound of success_ratio is above 0 and below 1, such as 0.999; that no request ever fails, no number of requests shows", "no number of requests shows"),
		"no model": refused("somebody has to know the model", changed(simulator, "{name: sim, command: {argv: [x], ports: [{name: http}]}}"),
			"11:5: spec.clients[0].inference: service sim does not say which model it serves: name it in inference.model, or in the service's command.model", ""),
		"no such site": refused("no site, no job", changed("site: local", "site: meluxina"),
			`5:3: spec.site: there is no Site "meluxina" in namespace default: add it to the recipe, or use "local" for this machine`, onlyRun),
		"no such kind": refused("a kind that looks like ours", changed("kind: Benchmark", "kind: Benchmrk"),
			`2:1: kind: there is no kind "Benchmrk" in assay.bench/v1alpha1; did you mean "Benchmark"?`, ""),
		"no such version": refused("a version that is not ours", changed("v1alpha1", "v1"),
			`1:1: apiVersion: there is no version "v1" of assay.bench: use assay.bench/v1alpha1`, ""),
		"no such namespace": refused("a namespace is made by somebody", changed("{name: short}", "{name: short, namespace: lab}"),
			`3:25: metadata.namespace: there is no namespace "lab": add it to the recipe, as an object of kind Namespace`, ""),
		"no YAML": refused("a bracket that is never closed", changed("{service: sim}", "{service: sim"),
			"10:1: this is not YAML: ", ""),
		"nothing": refused("an empty file", "# later\n",
			"1:1: the file holds no object; begin with apiVersion: assay.bench/v1alpha1", ""),
	}
}
