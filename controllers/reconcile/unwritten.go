package reconcile

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Unwritten remembers, by object, what this process could not write into a run directory. The next look tells of it: an
// effect returns no data.
type Unwritten struct{ errors sync.Map }

// Note remembers the failure of an object's last write; nil forgets it.
func (u *Unwritten) Note(uid types.UID, err error) {
	if err == nil {
		u.errors.Delete(uid)
		return
	}
	u.errors.Store(uid, err)
}

// Words are the failure as a condition says it, and what to do; "" for none.
func (u *Unwritten) Words(uid types.UID) string {
	err, failed := u.errors.Load(uid)
	if !failed {
		return ""
	}
	return "the run directory cannot be written: " + err.(error).Error() + ": make room there, or make it writable"
}
