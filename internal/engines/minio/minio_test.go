package minio_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"assay.bench/api/v1alpha1"
	"assay.bench/internal/engines/minio"
	"assay.bench/internal/rundir"
)

func planned(t *testing.T, c v1alpha1.MinIOEngine) (rundir.Service, error) {
	t.Helper()
	var s rundir.Service
	err := minio.Engine{}.Plan(&v1alpha1.ServiceParameters{MinIO: &c}, 1, &s)
	return s, err
}

// What a recipe without a word more gets, whole.
func TestPlan(t *testing.T) {
	got, err := planned(t, v1alpha1.MinIOEngine{})
	if err != nil {
		t.Fatal(err)
	}
	check := func(name, total string) rundir.CrossCheck {
		return rundir.CrossCheck{Target: "server", Metric: "minio_api_requests_total", Labels: map[string]string{"name": name}, Total: total}
	}
	want := rundir.Service{
		Argv: []string{"minio", "server", "--anonymous", "--quiet", "--address", "$(ADDRESS)", "--certs-dir", "$(DIR)/certs", "$(DIR)/drive1"},
		Env: []rundir.EnvVar{
			{Name: "MINIO_BROWSER", Value: "off"}, {Name: "MINIO_UPDATE", Value: "off"}, {Name: "MINIO_PROMETHEUS_AUTH_TYPE", Value: "jwt"},
		},
		Ports: []rundir.Port{{Name: "http"}}, Folders: []string{"$(DIR)/drive1"}, Authenticated: true,
		Credential: rundir.CredentialEnv{Username: "MINIO_ROOT_USER", Password: "MINIO_ROOT_PASSWORD"},
		Probes:     []rundir.Probe{{Type: rundir.ProbeHTTP, Path: "/minio/health/cluster", Status: 200}},
		Scrapes: []rundir.Scrape{{
			Name: "server", PortName: "http", Path: "/minio/metrics/v3/api/requests", Auth: rundir.ScrapeAuthJWT,
			Settle: rundir.Duration(500 * time.Millisecond),
		}},
		CrossChecks: []rundir.CrossCheck{
			check("PutObject", "PutObject"), check("GetObject", "GetObject"), check("HeadObject", "HeadObject"),
			check("DeleteObject", "DeleteObject"), check("ListObjectsV2", "ListObjectsV2"), check("PutBucket", "CreateBucket"),
		},
		Protocol: rundir.ProtocolS3,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// Version 2 has another path, other spellings, and numbers that are ten seconds old.
func TestMetricsV2(t *testing.T) {
	got, err := planned(t, v1alpha1.MinIOEngine{Metrics: v1alpha1.MinIOMetricsV2, MetricsAccess: v1alpha1.MinIOMetricsPublic})
	if err != nil {
		t.Fatal(err)
	}
	want := []rundir.Scrape{{Name: "server", PortName: "http", Path: "/minio/v2/metrics/node", Settle: rundir.Duration(10500 * time.Millisecond)}}
	if diff := cmp.Diff(want, got.Scrapes); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if c := got.CrossChecks[5]; c.Metric != "minio_s3_requests_total" || c.Labels["api"] != "putbucket" || c.Total != "CreateBucket" {
		t.Errorf("%+v", c)
	}
	if got.Env[2].Value != "public" {
		t.Errorf("%+v", got.Env)
	}
}

func TestDrives(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		in     v1alpha1.MinIOEngine
		want   []string
		err    string
	}{
		"four":            {"a set with erasure coding", v1alpha1.MinIOEngine{Drives: 4}, []string{"$(DIR)/drive1", "$(DIR)/drive2", "$(DIR)/drive3", "$(DIR)/drive4"}, ""},
		"a disk":          {"a folder of its own on it", v1alpha1.MinIOEngine{DriveFolders: []string{"/mnt/nvme0/"}}, []string{"/mnt/nvme0/$(ID)"}, ""},
		"two":             {"MinIO would refuse it later", v1alpha1.MinIOEngine{Drives: 2}, nil, "drives: MinIO has no erasure code for 2 drives: use 1, or at least 4"},
		"two disks":       {"the same", v1alpha1.MinIOEngine{DriveFolders: []string{"/a", "/b"}}, nil, "driveFolders: MinIO has no erasure code for 2 drives: use 1, or at least 4"},
		"one disk, twice": {"it has room for one drive", v1alpha1.MinIOEngine{DriveFolders: []string{"/a", "/b", "/a/"}}, nil, "driveFolders[2]: /a is named twice: each drive needs a folder of its own"},
		"the root":        {"a folder there is not on the disk that was meant", v1alpha1.MinIOEngine{DriveFolders: []string{"//"}}, nil, "driveFolders[0]: the root of the file system holds no drive: name the mount point of a disk"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := planned(t, c.in)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Errorf("%s: got %v, want %s", c.reason, err, c.err)
				}
				return
			}
			if diff := cmp.Diff(c.want, got.Folders); err != nil || diff != "" {
				t.Errorf("%s: %v, -want +got:\n%s", c.reason, err, diff)
			}
			if diff := cmp.Diff(c.want, got.Argv[len(got.Argv)-len(c.want):]); diff != "" {
				t.Errorf("the arguments end otherwise, -want +got:\n%s", diff)
			}
		})
	}
}

// On several nodes every process is told of all drives, in one order: those of one folder after the other, so that each
// erasure set has drives of many nodes.
func TestSeveralNodes(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		in     v1alpha1.MinIOEngine
		nodes  int32
		drives []string
		err    string
	}{
		"two of each": {"", v1alpha1.MinIOEngine{Drives: 2}, 2, []string{"$(EACH)http://$(ADDRESS)$(DIR)/drive1", "$(EACH)http://$(ADDRESS)$(DIR)/drive2"}, ""},
		"disks":       {"", v1alpha1.MinIOEngine{DriveFolders: []string{"/mnt/nvme0"}}, 4, []string{"$(EACH)http://$(ADDRESS)/mnt/nvme0/$(ID)"}, ""},
		"too few":     {"MinIO would refuse it later", v1alpha1.MinIOEngine{}, 2, nil, "drives: MinIO has no erasure code for 2 nodes × 1 = 2 drives: use 1, or at least 4"},
		"no sets":     {"the same", v1alpha1.MinIOEngine{DriveFolders: []string{"/a"}}, 17, nil, "driveFolders: MinIO cannot divide 17 nodes × 1 = 17 drives into equal sets of at most 16: use another number"},
		"many":        {"sets of ten and of less", v1alpha1.MinIOEngine{}, 20, []string{"$(EACH)http://$(ADDRESS)$(DIR)/drive1"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			var s rundir.Service
			err := minio.Engine{}.Plan(&v1alpha1.ServiceParameters{MinIO: &c.in, Resources: v1alpha1.Resources{Nodes: c.nodes}}, 1, &s)
			if c.err != "" {
				if err == nil || err.Error() != c.err {
					t.Errorf("%s: got %v, want %s", c.reason, err, c.err)
				}
				return
			}
			if err != nil || s.Group != int(c.nodes) || s.Worker != nil {
				t.Fatalf("%s: %v; %+v", c.reason, err, s)
			}
			if diff := cmp.Diff(c.drives, s.Argv[len(s.Argv)-len(c.drives):]); diff != "" {
				t.Errorf("%s: the arguments end otherwise, -want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// What the recipe adds comes after the engine's own environment, so that it wins, and before the drives.
func TestMore(t *testing.T) {
	got, err := planned(t, v1alpha1.MinIOEngine{Env: []v1alpha1.EnvVar{{Name: "MINIO_CI_CD", Value: "1"}}, ExtraArgs: []string{"--json"}})
	if err != nil {
		t.Fatal(err)
	}
	if last := got.Env[len(got.Env)-1]; last.Name != "MINIO_CI_CD" || got.Argv[len(got.Argv)-2] != "--json" {
		t.Errorf("%v %v", got.Argv, got.Env)
	}
}
