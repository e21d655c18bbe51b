package controlplane_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"assay.bench/api/v1alpha1"
	"assay.bench/config/crd"
)

// place is where a piece of YAML is put to make an object: kind, base of the piece, and its path in the object.
type place struct {
	kind string
	path string
	make func(piece map[string]any) map[string]any
}

const (
	baseService = `{command: {argv: [sleep, "1"]}}`
	baseClient  = `{target: {url: "http://x"}, inference: {inputTokens: {fixed: 1}, outputTokens: {fixed: 1}},
	  closedLoop: {concurrency: 4}, duration: 1s}`
	baseBenchmark = `{site: here, services: [{name: s, command: {argv: [sleep, "1"]}}], clients: [{name: c,
	  target: {service: s}, inference: {inputTokens: {fixed: 1}, outputTokens: {fixed: 1}},
	  closedLoop: {concurrency: 1}, duration: 1s}]}`
	baseSite     = `{workDir: /tmp/x, jobs: {local: {}}}`
	baseSlurmJob = `{site: here, run: {owner: bm, name: g1}, components: [{kind: Service, name: bm-s}]}`
)

func inSpec(t *testing.T, kind, base string) []place {
	return []place{{kind, "spec", func(p map[string]any) map[string]any {
		return map[string]any{"spec": merge(parse(t, base), p)}
	}}}
}

// inService puts parameters into a Service and into a service of a Benchmark.
func inService(t *testing.T) []place {
	return append(inSpec(t, "Service", baseService), place{"Benchmark", "spec.services[0]", func(p map[string]any) map[string]any {
		service := merge(parse(t, baseService), p)
		service["name"] = "s"
		spec := parse(t, baseBenchmark)
		spec["services"] = []any{service}
		return map[string]any{"spec": spec}
	}})
}

// inClient puts parameters into a LoadClient and into a client of a Benchmark.
func inClient(t *testing.T) []place {
	return append(inSpec(t, "LoadClient", baseClient), place{"Benchmark", "spec.clients[0]", func(p map[string]any) map[string]any {
		c := merge(parse(t, baseClient), p)
		c["name"] = "c"
		spec := parse(t, baseBenchmark)
		spec["clients"] = []any{c}
		return map[string]any{"spec": spec}
	}})
}

// ruleCase is a CEL rule, known by its message, with a piece of YAML that passes and one that it refuses.
type ruleCase struct {
	reason     string
	message    string
	field      string // of the refusal, below the path of the place
	in         func(*testing.T) []place
	pass, fail string
}

func spec(kind, base string) func(*testing.T) []place {
	return func(t *testing.T) []place { return inSpec(t, kind, base) }
}

// named puts metadata beside a spec.
func named(kind, base string) func(*testing.T) []place {
	return func(t *testing.T) []place {
		return []place{{kind, "", func(p map[string]any) map[string]any {
			return merge(map[string]any{"spec": parse(t, base)}, p)
		}}}
	}
}

const reserved = "the run has files of the names secrets and claim; take another name"

var ruleCases = []ruleCase{
	{
		reason: "two engines are ambiguous", message: "name exactly one engine of command, llmsim, minio, vllm",
		in: inService, pass: `{command: null, llmsim: {}}`, fail: `{llmsim: {}}`,
	},
	{
		reason: "no engine runs nothing", message: "name exactly one engine of command, llmsim, minio, vllm",
		in: inService, pass: `{}`, fail: `{command: null}`,
	},
	{
		reason: "the simulator runs in assay-node", message: "llmsim is built in and takes no image", field: ".image",
		in: inService, pass: `{image: {uri: /x.sif}}`, fail: `{command: null, llmsim: {}, image: {uri: /x.sif}}`,
	},
	{
		reason: "each of two stores would hold a part", message: "MinIO is one store, so give it nodes instead of replicas", field: ".replicas",
		in: inService, pass: `{command: null, vllm: {model: m}, replicas: 2}`, fail: `{command: null, minio: {}, replicas: 2}`,
	},
	{
		reason: "a typo in a probe's port would wait for ever", message: "a probe names a port that is not in ports", field: ".command.probes",
		in:   inService,
		pass: `{command: {argv: [a], ports: [{name: http}], probes: [{port: http, tcp: {}}]}}`,
		fail: `{command: {argv: [a], ports: [{name: http}], probes: [{port: htpp, tcp: {}}]}}`,
	},
	{
		reason: "without ports no name is one of them", message: "a probe names a port that is not in ports", field: ".command.probes",
		in:   inService,
		pass: `{command: {argv: [a], probes: [{exec: {argv: [a]}}]}}`,
		fail: `{command: {argv: [a], probes: [{port: http, tcp: {}}]}}`,
	},
	{
		reason: "a probe asks one question", message: "name exactly one of http, tcp, exec, model, token", field: ".command.probes[0]",
		in:   inService,
		pass: `{command: {argv: [a], ports: [{name: http}], probes: [{tcp: {}}]}}`,
		fail: `{command: {argv: [a], ports: [{name: http}], probes: [{tcp: {}, http: {path: /}}]}}`,
	},
	{
		reason: "a relative path means another file on each node", message: "use an absolute path of a SIF, docker:// or library:// with the name of an image, or oci:// with the absolute path of a layout", field: ".image.uri",
		in: inService, pass: `{image: {uri: /a/x.sif}}`,
		fail: `{image: {uri: x.sif, digest: "sha256:` + strings.Repeat("0", 64) + `"}}`,
	},
	{
		reason: "a tag is not a version", message: "an image from a registry needs its digest, for a tag such as latest may be another image tomorrow", field: ".image.digest",
		in:   inService,
		pass: `{image: {uri: "docker://a/b", digest: "sha256:` + strings.Repeat("0", 64) + `"}}`, fail: `{image: {uri: "docker://a/b"}}`,
	},
	{
		reason: "two places for a digest could disagree", message: "the digest stands in the field digest, not behind an @", field: ".image.uri",
		in:   inService,
		pass: `{image: {uri: "oci:///a@b", digest: "sha256:` + strings.Repeat("0", 64) + `"}}`,
		fail: `{image: {uri: "docker://a/b@sha256:` + strings.Repeat("1", 64) + `", digest: "sha256:` + strings.Repeat("0", 64) + `"}}`,
	},
	{
		reason: "a job has components, or pulls what they need", message: "name exactly one of components, images", field: "",
		in:   spec("SlurmJob", baseSlurmJob),
		pass: `{components: null, images: [{uri: "docker://a/b", digest: "sha256:` + strings.Repeat("0", 64) + `"}]}`,
		fail: `{images: [{uri: "docker://a/b", digest: "sha256:` + strings.Repeat("0", 64) + `"}]}`,
	},
	{
		reason: "a file of the site is there, or is not", message: "only what comes from a registry is pulled", field: ".images[0].uri",
		in:   spec("SlurmJob", baseSlurmJob),
		pass: `{components: null, images: [{uri: "oci:///a", digest: "sha256:` + strings.Repeat("0", 64) + `"}]}`,
		fail: `{components: null, images: [{uri: /a.sif, digest: "sha256:` + strings.Repeat("0", 64) + `"}]}`,
	},
	{
		reason: "a typo would be scraped in vain for the whole run", message: "a target names a port that the service does not have", field: ".metrics.targets",
		in:   inService,
		pass: `{command: {argv: [a], ports: [{name: admin}]}, metrics: {targets: [{name: a, portName: admin}, {name: b, port: 9100}]}}`,
		fail: `{command: {argv: [a], ports: [{name: admin}]}, metrics: {targets: [{name: a, portName: adnim}]}}`,
	},
	{
		reason: "the simulator has one port", message: "a target names a port that the service does not have", field: ".metrics.targets",
		in:   inService,
		pass: `{command: null, llmsim: {}, metrics: {targets: [{name: a, portName: http}]}}`,
		fail: `{command: null, llmsim: {}, metrics: {targets: [{name: a, portName: admin}]}}`,
	},
	{
		reason: "a target is at one port", message: "name exactly one of port, portName", field: ".metrics.targets[0]",
		in:   inService,
		pass: `{metrics: {targets: [{name: a, port: 9100}]}}`, fail: `{metrics: {targets: [{name: a}]}}`,
	},
	{
		reason: "there is no port to ask", message: "a probe that asks a port needs one in ports", field: ".command.probes",
		in:   inService,
		pass: `{command: {argv: [a], ports: [{name: http}], probes: [{tcp: {}}]}}`, fail: `{command: {argv: [a], probes: [{tcp: {}}]}}`,
	},
	{
		reason: "one workload a client", message: "name exactly one workload of inference, s3",
		in: inClient, pass: `{}`, fail: `{inference: null}`,
	},
	{
		reason: "the two speak different protocols", message: "name exactly one workload of inference, s3",
		in: inClient, pass: `{inference: null, s3: {size: {fixed: 1Mi}}}`, fail: `{s3: {size: {fixed: 1Mi}}}`,
	},
	{
		reason: "a delete follows a write", message: "delete is at most put, for there is never more to delete than was written", field: ".s3.mix.delete",
		in:   inClient,
		pass: `{inference: null, s3: {size: {fixed: 1Mi}, mix: {put: 2, delete: 2}}}`,
		fail: `{inference: null, s3: {size: {fixed: 1Mi}, mix: {get: 2, delete: 2}}}`,
	},
	{
		reason: "a mix of nothing", message: "name at least one of put, get, head, delete with a weight above 0", field: ".s3.mix",
		in:   inClient,
		pass: `{inference: null, s3: {size: {fixed: 1Mi}, mix: {head: 1}}}`, fail: `{inference: null, s3: {size: {fixed: 1Mi}, mix: {put: 0}}}`,
	},
	{
		reason: "one distribution a size", message: "name exactly one of fixed, uniform, logNormal", field: ".s3.size",
		in:   inClient,
		pass: `{inference: null, s3: {size: {logNormal: {median: 1Mi, sigma: "1", min: 1k, max: 1Gi}}}}`,
		fail: `{inference: null, s3: {size: {fixed: 1k, uniform: {min: 1k, max: 2k}}}}`,
	},
	{
		reason: "drives lie either in the run or where they are told to", message: "name drives, or the folders that they lie in, not both", field: ".minio.driveFolders",
		in:   inService,
		pass: `{command: null, minio: {driveFolders: [/mnt/a]}}`, fail: `{command: null, minio: {drives: 4, driveFolders: [/mnt/a]}}`,
	},
	{
		reason: "MinIO has one port of its own", message: "a target names a port that the service does not have", field: ".metrics.targets",
		in:   inService,
		pass: `{command: null, minio: {}, metrics: {targets: [{name: a, portName: http}]}}`,
		fail: `{command: null, minio: {}, metrics: {targets: [{name: a, portName: console}]}}`,
	},
	{
		reason: "one engine a service", message: "name exactly one engine of command, llmsim, minio, vllm",
		in: inService, pass: `{command: null, vllm: {model: m}}`, fail: `{vllm: {model: m}}`,
	},
	{
		reason: "one pace a client", message: "name exactly one pace of closedLoop, openLoop",
		in: inClient, pass: `{closedLoop: null, openLoop: {rate: "2"}}`, fail: `{openLoop: {rate: "2"}}`,
	},
	{
		reason: "an instance without a request measures nothing", field: ".closedLoop.concurrency",
		message: "concurrency is the total over all instances and cannot be below instances",
		in:      inClient, pass: `{instances: 4}`, fail: `{instances: 5}`,
	},
	{
		reason: "each instance may have one in flight", field: ".openLoop.maxInFlight",
		message: "maxInFlight is the total over all instances and cannot be below instances",
		in:      inClient, pass: `{closedLoop: null, openLoop: {rate: "2", maxInFlight: 4}, instances: 4}`,
		fail: `{closedLoop: null, openLoop: {rate: "2", maxInFlight: 4}, instances: 5}`,
	},
	{
		reason: "other schemes are not spoken", message: "use http:// or https://", field: ".target.url",
		in: inClient, pass: `{target: {url: "https://x"}}`, fail: `{target: {url: "ftp://x"}}`,
	},
	{
		reason: "a URL stands in the result, and a password is no public thing", field: ".target.url",
		message: "a user or a password in a URL is read by all, so name a Secret in target.credentials instead",
		in:      inClient, pass: `{target: {url: "http://x/a@b"}}`, fail: `{target: {url: "http://bob:secret@x/v1"}}`,
	},
	{
		reason: "a route of ours follows the URL", message: "what follows a question mark or a hash would not be sent, so leave it out", field: ".target.url",
		in: inClient, pass: `{target: {url: "http://x:8000/v1/"}}`, fail: `{target: {url: "http://x?key=secret"}}`,
	},
	{
		reason: "the path of an object begins with its bucket", field: ".target.url",
		message: "s3 wants the URL of the endpoint alone, such as http://host:9000, and the bucket in s3.bucket",
		in:      inClient, pass: `{inference: null, s3: {size: {fixed: 1k}}, target: {url: "http://x:9000/"}}`,
		fail: `{inference: null, s3: {size: {fixed: 1k}}, target: {url: "http://x:9000/bucket"}}`,
	},
	{
		reason: "one target a client", message: "name exactly one of service, url", field: ".target",
		in: inClient, pass: `{target: {url: "http://x"}}`, fail: `{target: {service: s, url: "http://x"}}`,
	},
	{
		reason: "a service has credentials of its own", message: "credentials go with url; a service has its own", field: ".target.credentials",
		in:   inClient,
		pass: `{target: {url: "http://x", credentials: {name: a}}}`, fail: `{target: {url: null, service: s, credentials: {name: a}}}`,
	},
	{
		reason: "only a server that speaks TLS has a certificate", message: "ca goes with a url that begins with https://", field: ".target.ca",
		in:   inClient,
		pass: `{target: {url: "https://x", ca: "-----BEGIN CERTIFICATE-----"}}`, fail: `{target: {url: "http://x", ca: "-----BEGIN CERTIFICATE-----"}}`,
	},
	{
		reason: "one distribution a length", message: "name exactly one of fixed, uniform", field: ".inference.inputTokens",
		in:   inClient,
		pass: `{inference: {inputTokens: {fixed: null, uniform: {min: 1, max: 2}}}}`, fail: `{inference: {inputTokens: {uniform: {min: 1, max: 2}}}}`,
	},
	{
		reason: "an empty range", message: "min is above max", field: ".inference.outputTokens.uniform",
		in:   inClient,
		pass: `{inference: {outputTokens: {fixed: null, uniform: {min: 2, max: 2}}}}`,
		fail: `{inference: {outputTokens: {fixed: null, uniform: {min: 3, max: 2}}}}`,
	},
	{
		reason: "a rate of zero never sends", message: "rate must be above 0", field: ".openLoop.rate",
		in:   inClient,
		pass: `{closedLoop: null, openLoop: {rate: "0.5"}}`, fail: `{closedLoop: null, openLoop: {rate: "0.0"}}`,
	},
	{
		reason: "one door a site", message: "name exactly one of local, cli, ssh, rest, sim", field: ".jobs",
		in: spec("Site", baseSite), pass: `{jobs: {local: null, sim: {}}}`, fail: `{jobs: {sim: {}}}`,
	},
	{
		reason: "one door to the files", message: "name at most one of local, ssh", field: ".files",
		in: spec("Site", baseSite), pass: `{files: {local: {}}}`, fail: `{files: {local: {}, ssh: {host: login}}}`,
	},
	{
		reason: "one place for a key", message: "name exactly one of secretKeyRef, file", field: ".jobs.ssh.privateKey",
		in:   spec("Site", baseSite),
		pass: `{jobs: {local: null, ssh: {host: login, privateKey: {file: ~/.ssh/id}}}}`,
		fail: `{jobs: {local: null, ssh: {host: login, privateKey: {file: /k, secretKeyRef: {name: keys, key: id}}}}}`,
	},
	{
		reason: "slurmrestd carries no files", message: "jobs.rest carries no files, so name a door to them, files.ssh, or files.local where the control plane sees the nodes' file system", field: "",
		in:   spec("Site", baseSite),
		pass: `{jobs: {local: null, rest: {url: "https://slurm", refresh: {}}}, files: {ssh: {host: login}}}`,
		fail: `{jobs: {local: null, rest: {url: "https://slurm", refresh: {}}}, files: {}}`,
	},
	{
		reason: "slurmrestd lets nobody in without a token", message: "slurmrestd wants a token, so name one in token, or have them made by refresh", field: ".jobs.rest",
		in:   spec("Site", baseSite),
		pass: `{jobs: {local: null, rest: {url: "https://slurm", token: {file: ~/.slurm/token}}}, files: {local: {}}}`,
		fail: `{jobs: {local: null, rest: {url: "https://slurm"}}, files: {local: {}}}`,
	},
	{
		reason: "a token is no public thing", message: "over plain http everybody on the way can read the token: give https, or the address of a tunnel on this host, such as http://localhost:6820", field: ".jobs.rest.url",
		in:   spec("Site", baseSite),
		pass: `{jobs: {local: null, rest: {url: "http://127.0.0.1:6820/x", refresh: {}}}, files: {local: {}}}`,
		fail: `{jobs: {local: null, rest: {url: "http://127.0.0.1.example:6820", refresh: {}}}, files: {local: {}}}`,
	},
	{
		reason: "a token of a second", message: "lifetime is below 1m, so that a new token would be made with every other request", field: ".jobs.rest.refresh",
		in:   spec("Site", baseSite),
		pass: `{jobs: {local: null, rest: {url: "http://[::1]", refresh: {lifetime: 1m}}}, files: {local: {}}}`,
		fail: `{jobs: {local: null, rest: {url: "http://[::1]", refresh: {lifetime: 59s}}}, files: {local: {}}}`,
	},
	{
		reason: "a site that is hardly ever asked", message: "rate is below 0.05, one request in 20 seconds, at which no job would be followed", field: ".limits",
		in:   spec("Site", baseSite),
		pass: `{limits: {rate: "0.05"}}`, fail: `{limits: {rate: "0.0"}}`,
	},
	{
		reason: "a limit that is none", message: "rate is above 1000 requests a second, which limits nothing, so leave it out", field: ".limits",
		in:   spec("Site", baseSite),
		pass: `{limits: {rate: "1000"}}`, fail: `{limits: {rate: "1000.5"}}`,
	},
	{
		reason: "a typo in a target", message: "a client targets a service that is not in services", field: ".clients",
		in: spec("Benchmark", baseBenchmark), pass: `{}`, fail: `{services: null}`,
	},
	{
		reason: "a typo in an objective", message: "an SLO names a client that is not in clients", field: ".slos",
		in:   spec("Benchmark", baseBenchmark),
		pass: `{slos: [{client: c, metric: ttft, statistic: p99, atMost: 500ms}]}`,
		fail: `{slos: [{client: d, metric: ttft, statistic: p99, atMost: 500ms}]}`,
	},
	{
		reason: "both have a folder of that name in the run", message: "a service and a client have the same name", field: ".clients",
		in:   spec("Benchmark", baseBenchmark),
		pass: `{services: [{name: s, llmsim: {}}]}`, fail: `{services: [{name: s, llmsim: {}}, {name: c, llmsim: {}}]}`,
	},
	{
		reason: "an objective has one bound", message: "name exactly one of atMost, atLeast", field: ".slos[0]",
		in:   spec("Benchmark", baseBenchmark),
		pass: `{slos: [{client: c, metric: success_ratio, atLeast: "0.99"}]}`,
		fail: `{slos: [{client: c, metric: success_ratio}]}`,
	},
	{
		reason: "a latency is a distribution", field: ".slos[0].statistic",
		message: "a latency has the statistics p50, p90, p95, p99, p99.9, mean and max",
		in:      spec("Benchmark", baseBenchmark),
		pass:    `{slos: [{client: c, metric: ttft, statistic: p99.9, atMost: 1s}]}`,
		fail:    `{slos: [{client: c, metric: ttft, atMost: 1s}]}`,
	},
	{
		reason: "so is the time of an operation", field: ".slos[0].statistic",
		message: "a latency has the statistics p50, p90, p95, p99, p99.9, mean and max",
		in:      spec("Benchmark", baseBenchmark),
		pass:    `{slos: [{client: c, metric: get_ttfb, statistic: p99, atMost: 1s}]}`,
		fail:    `{slos: [{client: c, metric: put, atMost: 1s}]}`,
	},
	{
		reason: "bytes per second are one number", message: "a throughput or a ratio has the statistic value", field: ".slos[0].statistic",
		in:   spec("Benchmark", baseBenchmark),
		pass: `{slos: [{client: c, metric: read_throughput, atLeast: "1000000"}]}`,
		fail: `{slos: [{client: c, metric: write_throughput, statistic: p50, atLeast: "10"}]}`,
	},
	{
		reason: "a throughput is one number", message: "a throughput or a ratio has the statistic value", field: ".slos[0].statistic",
		in:   spec("Benchmark", baseBenchmark),
		pass: `{slos: [{client: c, metric: request_throughput, atLeast: "10"}]}`,
		fail: `{slos: [{client: c, metric: request_throughput, statistic: p99, atLeast: "10"}]}`,
	},
	{
		reason: "half a what", message: "the bound of a latency is a length of time, such as 500ms", field: ".slos[0]",
		in:   spec("Benchmark", baseBenchmark),
		pass: `{slos: [{client: c, metric: ttft, statistic: p99, atMost: 500ms}]}`,
		fail: `{slos: [{client: c, metric: ttft, statistic: p99, atMost: "0.5"}]}`,
	},
	{
		reason: "a share has no unit", message: "the bound of a throughput or a ratio is a number, such as 0.99", field: ".slos[0]",
		in:   spec("Benchmark", baseBenchmark),
		pass: `{slos: [{client: c, metric: success_ratio, atLeast: "0.99"}]}`,
		fail: `{slos: [{client: c, metric: success_ratio, atLeast: 99s}]}`,
	},
	{
		reason: "the interval of a faultless run ends below 1", field: ".slos[0]",
		message: "the bound of success_ratio is above 0 and below 1, such as 0.999; that no request ever fails, no number of requests shows",
		in:      spec("Benchmark", baseBenchmark),
		pass:    `{slos: [{client: c, metric: success_ratio, atLeast: "0.9999"}]}`,
		fail:    `{slos: [{client: c, metric: success_ratio, atLeast: "1"}]}`,
	},
	{
		reason: "it is 1 in other digits", field: ".slos[0]",
		message: "the bound of success_ratio is above 0 and below 1, such as 0.999; that no request ever fails, no number of requests shows",
		in:      spec("Benchmark", baseBenchmark),
		pass:    `{slos: [{client: c, metric: success_ratio, atLeast: "00.50"}]}`,
		fail:    `{slos: [{client: c, metric: success_ratio, atLeast: "01.0"}]}`,
	},
	{
		reason: "more than all", field: ".slos[0]",
		message: "the bound of success_ratio is above 0 and below 1, such as 0.999; that no request ever fails, no number of requests shows",
		in:      spec("Benchmark", baseBenchmark),
		pass:    `{slos: [{client: c, metric: success_ratio, atMost: "0.01"}]}`,
		fail:    `{slos: [{client: c, metric: success_ratio, atMost: "10.5"}]}`,
	},
	{
		reason: "every share is at least 0", field: ".slos[0]",
		message: "the bound of success_ratio is above 0 and below 1, such as 0.999; that no request ever fails, no number of requests shows",
		in:      spec("Benchmark", baseBenchmark),
		pass:    `{slos: [{client: c, metric: success_ratio, atLeast: "0.010"}]}`,
		fail:    `{slos: [{client: c, metric: success_ratio, atLeast: "0.00"}]}`,
	},
	{
		reason: "it becomes a label", message: "the name of a Service has at most 63 characters", in: named("Service", baseService),
		pass: `{metadata: {name: ` + strings.Repeat("a", 63) + `}}`, fail: `{metadata: {name: ` + strings.Repeat("a", 64) + `}}`,
	},
	{
		reason: "it becomes a label", message: "the name of a LoadClient has at most 63 characters", in: named("LoadClient", baseClient),
		pass: `{metadata: {name: ` + strings.Repeat("a", 63) + `}}`, fail: `{metadata: {name: ` + strings.Repeat("a", 64) + `}}`,
	},
	{
		reason: "names of children are made of it", message: "the name of a Benchmark has at most 40 characters",
		in:   named("Benchmark", baseBenchmark),
		pass: `{metadata: {name: ` + strings.Repeat("a", 40) + `}}`, fail: `{metadata: {name: ` + strings.Repeat("a", 41) + `}}`,
	},
	{
		reason: "a folder has no dots", in: named("Service", baseService),
		message: "the name of a Service is that of a folder in its run; use dashes for dots, and neither secrets nor claim, which the run needs itself",
		pass:    `{metadata: {name: my-server}}`, fail: `{metadata: {name: my.server}}`,
	},
	{
		reason: "the run keeps its secrets there", in: named("Service", baseService),
		message: "the name of a Service is that of a folder in its run; use dashes for dots, and neither secrets nor claim, which the run needs itself",
		pass:    `{metadata: {name: secrets-of}}`, fail: `{metadata: {name: secrets}}`,
	},
	{
		reason: "the fence of an attempt", in: named("Service", baseService),
		message: "the name of a Service is that of a folder in its run; use dashes for dots, and neither secrets nor claim, which the run needs itself",
		pass:    `{metadata: {name: claimant}}`, fail: `{metadata: {name: claim}}`,
	},
	{
		reason: "a folder has no dots", in: named("LoadClient", baseClient),
		message: "the name of a LoadClient is that of a folder in its run; use dashes for dots, and neither secrets nor claim, which the run needs itself",
		pass:    `{metadata: {name: my-server}}`, fail: `{metadata: {name: my.server}}`,
	},
	{
		reason: "the run keeps its secrets there", in: named("LoadClient", baseClient),
		message: "the name of a LoadClient is that of a folder in its run; use dashes for dots, and neither secrets nor claim, which the run needs itself",
		pass:    `{metadata: {name: secrets-of}}`, fail: `{metadata: {name: secrets}}`,
	},
	{
		reason: "the fence of an attempt", in: named("LoadClient", baseClient),
		message: "the name of a LoadClient is that of a folder in its run; use dashes for dots, and neither secrets nor claim, which the run needs itself",
		pass:    `{metadata: {name: claimant}}`, fail: `{metadata: {name: claim}}`,
	},
	{
		reason: "its Services and LoadClients could not be made", in: named("Benchmark", baseBenchmark),
		message: "the name of a Benchmark begins those of its Services and LoadClients, which have no dots; use dashes",
		pass:    `{metadata: {name: a-b}}`, fail: `{metadata: {name: a.b}}`,
	},
	{
		reason: "the attempt has a folder of that name", message: reserved, field: ".services[1].name",
		in:   spec("Benchmark", baseBenchmark),
		pass: `{services: [{name: s, llmsim: {}}, {name: secret, llmsim: {}}]}`,
		fail: `{services: [{name: s, llmsim: {}}, {name: secrets, llmsim: {}}]}`,
	},
	{
		reason: "the attempt has a link of that name", message: reserved, field: ".clients[0].name",
		in:   spec("Benchmark", baseBenchmark),
		pass: `{clients: [` + strings.Replace(baseClient, "{", "{name: claims, ", 1) + `]}`,
		fail: `{clients: [` + strings.Replace(baseClient, "{", "{name: claim, ", 1) + `]}`,
	},
}

// transitionRules are tested by TestTransitionRules: they compare an object with the one before.
var transitionRules = map[string]string{
	"SlurmJob":  "a SlurmJob never changes; its owner makes a new one",
	"Benchmark": "a run is under way: only suspend and cleanup may change until it has ended; delete the Benchmark to end it early",
}

func TestRules(t *testing.T) {
	c := clientOf(t, sharedServer(t))
	for _, tc := range ruleCases {
		for _, p := range tc.in(t) {
			t.Run(p.kind+"/"+tc.message+"/"+tc.reason, func(t *testing.T) {
				if err := create(t, c, p, tc.pass); err != nil {
					t.Errorf("a valid object is refused: %v", err)
				}
				want := map[string]string{strings.TrimPrefix(p.path+tc.field, "."): tc.message}
				if p.path+tc.field == "" {
					want = map[string]string{"<nil>": tc.message}
				}
				if diff := cmp.Diff(want, refusal(t, create(t, c, p, tc.fail))); diff != "" {
					t.Errorf("refusal (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestEveryRuleHasACase fails for a rule in a CustomResourceDefinition that no case above tests.
func TestEveryRuleHasACase(t *testing.T) {
	tested := map[string]bool{}
	for kind, message := range transitionRules {
		tested[kind+": "+message] = true
	}
	for _, tc := range ruleCases {
		for _, p := range tc.in(t) {
			tested[p.kind+": "+tc.message] = true
		}
	}
	crds, err := crd.All()
	if err != nil {
		t.Fatal(err)
	}
	present := map[string]bool{}
	for _, crd := range crds {
		for _, v := range crd.Spec.Versions {
			walk(v.Schema.OpenAPIV3Schema, func(r apiextensionsv1.ValidationRule) {
				present[crd.Spec.Names.Kind+": "+r.Message] = true
			})
		}
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(present)), slices.Sorted(maps.Keys(tested))); diff != "" {
		t.Errorf("rules (-in the definitions +with a case):\n%s", diff)
	}
}

func walk(s *apiextensionsv1.JSONSchemaProps, visit func(apiextensionsv1.ValidationRule)) {
	for _, rule := range s.XValidations {
		visit(rule)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		walk(new(s.Properties[name]), visit)
	}
	if s.Items != nil && s.Items.Schema != nil {
		walk(s.Items.Schema, visit)
	}
	if s.AdditionalProperties != nil && s.AdditionalProperties.Schema != nil {
		walk(s.AdditionalProperties.Schema, visit)
	}
}

// create makes the object of a piece without storing it.
func create(t *testing.T, c client.Client, p place, piece string) error {
	t.Helper()
	return c.Create(t.Context(), object(p.kind, p.make(parse(t, piece))), client.DryRunAll)
}

func object(kind string, content map[string]any) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(content)}
	u.SetGroupVersionKind(v1alpha1.SchemeGroupVersion.WithKind(kind))
	u.SetNamespace("default")
	if u.GetName() == "" {
		u.SetName("x")
	}
	return u
}

// refusal returns the messages of an Invalid error by field.
func refusal(t *testing.T, err error) map[string]string {
	t.Helper()
	status, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok || !apierrors.IsInvalid(err) {
		t.Fatalf("want a refusal, got %v", err)
	}
	got := map[string]string{}
	for _, cause := range status.ErrStatus.Details.Causes {
		_, message, _ := strings.Cut(cause.Message, ": ")
		if _, rest, ok := strings.Cut(message, ": "); ok && !strings.HasPrefix(message, "a run") {
			message = rest
		}
		got[cause.Field] = message
	}
	return got
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := yaml.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	// Numbers of JSON are float64; the API server's are int64.
	return normal(m).(map[string]any)
}

func normal(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = normal(v[key])
		}
	case []any:
		for i := range v {
			v[i] = normal(v[i])
		}
	case float64:
		return int64(v)
	}
	return v
}

// merge lays patch over base, as a JSON merge patch: null removes.
func merge(base, patch map[string]any) map[string]any {
	for key, value := range patch {
		inner, isMap := value.(map[string]any)
		old, wasMap := base[key].(map[string]any)
		switch {
		case value == nil:
			delete(base, key)
		case isMap && wasMap:
			base[key] = merge(old, inner)
		default:
			base[key] = value
		}
	}
	return base
}
