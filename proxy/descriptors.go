package proxy

import (
	"net"
	"syscall"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// fileLimit says how many file descriptors connections may take, so that some
// are left for the admin server, for segments and for looking up names: who runs
// out of them looks dead to a probe, and records nothing.
//
//	0 ──────────── inbound ──────────▶│── outbound ──▶│── reserve ──▶ limit
//
// Outbound connections get as much again as the reserve beyond inbound ones,
// because inbound requests wait for them.
type fileLimit struct {
	limit   int // RLIMIT_NOFILE; 0: not known, and nothing is held
	reserve int
}

const (
	// perConnection is how many descriptors a connection takes: one for each end.
	perConnection = 2
	// adminConnections bounds those of each admin server.
	adminConnections = 32
	// leastReserve has room for both admin servers, the listeners, the event loops and
	// the recording.
	leastReserve = 128
)

func newFileLimit(limit int) fileLimit {
	return fileLimit{limit: limit, reserve: min(max(leastReserve, limit/64), limit/4)}
}

// scarce reports whether another connection of a direction would take a descriptor
// that is reserved; open is how many connections there are. It asks the kernel only
// where that may be so.
func (f fileLimit) scarce(l net.Listener, d tap.Direction, open int) bool {
	allowed := f.limit - f.reserve
	if d == tap.In {
		allowed -= f.reserve
	}
	taken := perConnection * open
	switch {
	case f.limit == 0 || taken < allowed/2:
		return false
	case taken >= allowed:
		return true
	}
	c, ok := l.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	next := 0
	if raw.Control(func(fd uintptr) { next = nextDescriptor(int(fd)) }) != nil {
		return false // the listener is closed
	}
	return next >= allowed
}
