//go:build !linux

package http1

import "net"

// discarder is for Linux.
type discarder struct{}

func newDiscarder(net.Conn) *discarder { return nil }

func (*discarder) drop(int64) (int, error) { panic("http1: there is no discarder here") }
