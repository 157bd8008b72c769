package upstream

import (
	"context"
	"net/netip"
	"sync/atomic"
	"syscall"
)

// passthrough4 and passthrough6 are the addresses from which Istio's Envoy
// reaches the application (InboundPassthroughBindIpv4 and -Ipv6). Linux takes
// all of 127.0.0.0/8 for its own; Istio adds ::6 to lo where the pod has IPv6.
var (
	passthrough4 = netip.AddrFrom4([4]byte{127, 0, 0, 6})
	passthrough6 = netip.MustParseAddr("::6")
)

// source gives connections to this host a source address that is not loopback's
// own, because applications trust 127.0.0.1 and ::1: PostgreSQL's pg_hba, admin
// endpoints, debuggers. A remote caller must not become a local one.
type source struct {
	own    map[netip.Addr]bool // this host's addresses when the dialer was made
	failed func(addr netip.Addr, err error)
	said   [2]atomic.Bool // by whether the address is IPv6
}

// bind binds the socket of a connection to address, if that is on this host. A
// source that cannot be bound is no reason to fail: the connection goes without
// it, and failed is told once.
func (s *source) bind(_ context.Context, _, address string, raw syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil
	}
	host := to.Addr().Unmap().WithZone("")
	if !host.IsLoopback() && !s.own[host] {
		return nil
	}
	from, said := passthrough4, &s.said[0]
	if host.Is6() {
		from, said = passthrough6, &s.said[1]
	}
	var bound error
	if err := raw.Control(func(fd uintptr) { bound = bindTo(int(fd), from) }); err != nil {
		return err
	}
	if bound != nil && said.CompareAndSwap(false, true) && s.failed != nil {
		s.failed(from, bound)
	}
	return nil
}
