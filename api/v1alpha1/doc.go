// Package v1alpha1 is the API of Assay: benchmarks of servers on a batch system, declared as resources.
//
// A Benchmark is an experiment. It creates Services (servers under test) and LoadClients (loads), and puts them
// into SlurmJobs (allocations) on a Site (a batch system and how to reach it). A Service or a LoadClient that no
// Benchmark owns makes a SlurmJob of its own.
//
// The kind Service shares its name with the core kind: ask kubectl for bsvc or services.assay.bench.
//
// +kubebuilder:object:generate=true
// +kubebuilder:ac:generate=true
// +kubebuilder:ac:output:package=applyconfiguration
// +groupName=assay.bench
package v1alpha1
