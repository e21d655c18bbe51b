package slurmbridge_test

import (
	"testing"

	"assay.bench/slurmbridge"
)

func TestKey(t *testing.T) {
	k := slurmbridge.NewKey("0123ABCD-4567-89ab-cdef-0123456789ab", "8a7b6c5d-4e3f-2a1b-0c9d-8e7f6a5b4c3d", 12)
	if want := slurmbridge.Key("assay-0123abcd-8a7b6c5d4e3f2a1b-12"); k != want {
		t.Fatalf("key %q, want %q", k, want)
	}
	if k.Origin() != "0123abcd" || k.UID() != "8a7b6c5d4e3f2a1b" || k.Attempt() != 12 {
		t.Errorf("parts %q %q %d", k.Origin(), k.UID(), k.Attempt())
	}
	for _, bad := range []slurmbridge.Key{"", "assay-", "assay-0123abcd-8a7b6c5d4e3f2a1b-0", "assay-0123abcd-8a7b6c5d4e3f2a1b-1\n", "other-0123abcd-8a7b6c5d4e3f2a1b-1"} {
		if bad.Valid() || bad.Origin() != "" || bad.Attempt() != 0 {
			t.Errorf("%q passes as a key", bad)
		}
	}
}

func FuzzKey(f *testing.F) {
	f.Add("assay-0123abcd-8a7b6c5d4e3f2a1b-12")
	f.Add("assay-0123abcd-8a7b6c5d4e3f2a1b-012")
	f.Fuzz(func(t *testing.T, name string) {
		k := slurmbridge.Key(name)
		if k.Valid() && slurmbridge.NewKey(k.Origin(), k.UID(), k.Attempt()) != k {
			t.Errorf("%q does not survive being taken apart", name)
		}
	})
}
