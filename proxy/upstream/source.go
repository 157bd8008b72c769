package upstream

import (
	"context"
	"net/netip"
	"sync/atomic"
	"syscall"
)

// passthrough4 and passthrough6 are the addresses from which Istio's Envoy connects to the
// application (InboundPassthroughBindIpv4 and -Ipv6). On Linux, all of 127.0.0.0/8 is local.
// Istio adds ::6 to lo in pods with IPv6.
var (
	passthrough4 = netip.AddrFrom4([4]byte{127, 0, 0, 6})
	passthrough6 = netip.MustParseAddr("::6")
)

// source binds connections to this host to a source address other than 127.0.0.1 and ::1,
// because applications trust these: PostgreSQL's pg_hba, admin endpoints, debuggers. A remote
// caller must not look like a local one.
type source struct {
	own    map[netip.Addr]bool // this host's addresses when the dialer was made
	failed func(addr netip.Addr, err error)
	said   [2]atomic.Bool // whether failed was called, for IPv4 and IPv6
}

// bind binds the socket of a connection to the source address, if address is on this host.
// If it can't bind, it calls failed, once for each IP version, and the connection is made
// without the source address.
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
