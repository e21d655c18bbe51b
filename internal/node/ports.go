package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"assay.bench/internal/rundir"
)

// bindHost is the address that a plan's Bind means: an address as it is, that of the node's own name, or the first one of
// an interface; IPv4 before IPv6.
func bindHost(bind, hostname string) (string, error) {
	if bind == rundir.BindNode {
		return nodeAddress(hostname)
	}
	if bind == "" {
		return "127.0.0.1", nil
	}
	if net.ParseIP(bind) != nil || bind == "localhost" {
		return bind, nil
	}
	ifc, err := net.InterfaceByName(bind)
	if err != nil {
		return "", fmt.Errorf("bind %q is neither an address nor an interface of this node: %w", bind, err)
	}
	addrs, err := ifc.Addrs()
	if err != nil {
		return "", fmt.Errorf("addresses of interface %s: %w", bind, err)
	}
	v6 := ""
	for _, a := range addrs {
		n, ok := a.(*net.IPNet)
		if !ok || n.IP.IsLinkLocalUnicast() {
			continue
		}
		if n.IP.To4() != nil {
			return n.IP.String(), nil
		}
		if v6 == "" {
			v6 = n.IP.String()
		}
	}
	if v6 == "" {
		return "", fmt.Errorf("interface %s has no address", bind)
	}
	return v6, nil
}

// nodeAddress is the address of the node's own name. One that only the node itself can reach is left to the plan: name an
// interface.
func nodeAddress(hostname string) (string, error) {
	ips, err := net.DefaultResolver.LookupIP(context.Background(), "ip", hostname)
	if err != nil {
		return "", fmt.Errorf("the node's own name %s has no address: name the Site's interface: %w", hostname, err)
	}
	for _, ip := range ips {
		if ip.To4() != nil {
			return ip.String(), nil
		}
	}
	return ips[0].String(), nil
}

// reachHost is the host that others use for a bind address.
func reachHost(bind, launcher, hostname string) string {
	ip := net.ParseIP(bind)
	if ip == nil || !ip.IsUnspecified() {
		return bind
	}
	if launcher == rundir.LaunchProcess {
		return "127.0.0.1"
	}
	return hostname
}

// heldPorts are numbers that are chosen, by the names of the ports, and held until they are released.
type heldPorts struct {
	numbers   map[string]int
	listeners []net.Listener
}

// release lets the numbers go, for the server to take them. It may be called twice.
func (h *heldPorts) release() {
	for _, l := range h.listeners {
		_ = l.Close() // it only kept the number
	}
	h.listeners = nil
}

// holdPorts chooses a number for each port: the one of the plan, or a free one.
func holdPorts(ctx context.Context, ports []rundir.Port, host string) (*heldPorts, error) {
	out := &heldPorts{numbers: make(map[string]int, len(ports))}
	for _, p := range ports {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, strconv.Itoa(p.Number)))
		if err != nil {
			out.release()
			if errors.Is(err, syscall.EADDRINUSE) {
				return nil, portInUse(p)
			}
			return nil, fmt.Errorf("port %s: %w", p.Name, err)
		}
		out.listeners = append(out.listeners, l)
		out.numbers[p.Name] = l.Addr().(*net.TCPAddr).Port
	}
	return out, nil
}

// interfaceOf is the interface that has an address, or whose network it is in; "" for none.
func interfaceOf(address string) string {
	ip := net.ParseIP(address)
	all, err := net.Interfaces()
	if ip == nil || err != nil {
		return ""
	}
	within := ""
	for _, ifc := range all {
		addrs, err := ifc.Addrs()
		if err != nil {
			continue // it has just gone
		}
		for _, a := range addrs {
			n, ok := a.(*net.IPNet)
			switch {
			case ok && n.IP.Equal(ip):
				return ifc.Name
			case ok && n.Contains(ip) && within == "":
				within = ifc.Name
			}
		}
	}
	return within
}

func portInUse(p rundir.Port) *ending {
	return endf(rundir.ExitReasonPortInUse, "port %d (%s) is in use by %s: end it, or choose another port, or 0 for any free one",
		p.Number, p.Name, portOwner(p.Number))
}

// fixedPort returns the first port with a number of the plan.
func fixedPort(ports []rundir.Port) (rundir.Port, bool) {
	for _, p := range ports {
		if p.Number != 0 {
			return p, true
		}
	}
	return rundir.Port{}, false
}

// portOwner names the process that listens on a port, as far as this user may know.
func portOwner(port int) string {
	inodes := map[string]bool{}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.ReadFile(file)
		if err != nil {
			continue // no IPv6, perhaps
		}
		for _, inode := range listeners(table, port) {
			inodes[inode] = true
		}
	}
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil || len(inodes) == 0 {
		return "another process"
	}
	for _, fd := range fds {
		link, err := os.Readlink(fd)
		if err != nil {
			continue // a process that ended, or another user's
		}
		inode, ok := strings.CutPrefix(link, "socket:[")
		if !ok || !inodes[strings.TrimSuffix(inode, "]")] {
			continue
		}
		pid := strings.Split(fd, "/")[2]
		comm, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(comm)), pid)
	}
	return "a process of another user"
}

// listeners reads from /proc/net/tcp or tcp6 the inodes of the sockets that listen on a port, in decimal digits.
func listeners(table []byte, port int) []string {
	want := fmt.Sprintf(":%04X", port)
	const stateListen = "0A"
	var inodes []string
	for line := range bytes.Lines(table) {
		col := strings.Fields(string(line))
		if len(col) < 10 || !strings.HasSuffix(col[1], want) || col[3] != stateListen {
			continue
		}
		if inode, err := strconv.ParseUint(col[9], 10, 64); err == nil {
			inodes = append(inodes, strconv.FormatUint(inode, 10))
		}
	}
	return inodes
}

// saysPortInUse finds in a server's words that its port was taken.
func saysPortInUse(log string) bool {
	log = strings.ToLower(log)
	return strings.Contains(log, "address already in use") || strings.Contains(log, "eaddrinuse") ||
		strings.Contains(log, "address in use") || strings.Contains(log, "port is already in use") ||
		strings.Contains(log, "errno 98")
}
