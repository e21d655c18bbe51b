package conformance_test

import (
	"testing"

	"assay.bench/internal/workloads/s3"
	"assay.bench/internal/workloads/s3/conformance"
	"assay.bench/internal/workloads/s3/memory"
)

func TestMemory(t *testing.T) {
	_, url := memory.New(t)
	conformance.Test(t, url, s3.Credentials{AccessKey: "key", SecretKey: "secret"})
}
