package site

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// Tests take slots from the last down to this one by themselves; those below are for people.
const firstSlot, lastSlot = 4, 9

// lease takes a slot whose site of this name no other test has, of this process or another, and keeps it to the end of
// the test. The environment variable ASSAY_TESTSITE_SLOT names the one to use: then tests wait for each other.
func lease(t testing.TB, name string) string {
	t.Helper()
	if slot := os.Getenv("ASSAY_TESTSITE_SLOT"); slot != "" {
		return await(t, name, slot)
	}
	return await(t, name, all()...)
}

func all() []string {
	var out []string
	for n := lastSlot; n >= firstSlot; n-- {
		out = append(out, strconv.Itoa(n))
	}
	return out
}

// await takes the first of the slots that is free.
func await(t testing.TB, name string, of ...string) string {
	t.Helper()
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		for _, slot := range of {
			if take(t, name, slot) {
				return slot
			}
		}
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("no slot of %v has its %s free", of, name)
		}
	}
}

// take locks a file of the slot; the system lets go of it when the process ends.
func take(t testing.TB, name, slot string) bool {
	t.Helper()
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "assay", "testsite")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "tests-"+slot+"-"+name+".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = f.Close()
		if err != nil {
			t.Fatal(err)
		}
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return true
}
