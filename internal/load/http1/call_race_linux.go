//go:build race

package http1

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is the same by way of package syscall, which tells the race detector that what is sent comes before what is
// received. What is dropped is read.
func call(trap, fd uintptr, p []byte, flags int) (int, unix.Errno) {
	do := syscall.Read
	switch {
	case trap == unix.SYS_SENDTO:
		do = syscall.Write
	case flags&unix.MSG_PEEK != 0:
		do = func(fd int, p []byte) (int, error) {
			n, _, errno := unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), //nolint:gosec // as without the detector
				uintptr(flags|unix.MSG_DONTWAIT), 0, 0)
			return int(n), errno
		}
	}
	for {
		n, err := do(int(fd), p)
		errno, _ := errors.AsType[unix.Errno](err)
		if errno != unix.EINTR {
			return max(0, n), errno
		}
	}
}
