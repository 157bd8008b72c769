package proxy

import (
	"net"
	"syscall"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// fileLimit says how many file descriptors connections may take, so that some are left for
// the admin server, for segments and for name lookups. A sidecar that runs out of them looks
// dead to a probe, and records nothing.
//
//	0 ──────────── inbound ──────────▶│── outbound ──▶│── reserve ──▶ limit
//
// Outbound connections may take as many more as the reserve has, because inbound requests
// wait for them.
type fileLimit struct {
	limit   int // RLIMIT_NOFILE; 0: it is not known, and connections are not limited
	reserve int
	// listeners is how many listeners there may be for captured hosts.
	listeners int
}

const (
	// perConnection is how many descriptors a connection takes: one for each end.
	perConnection = 2
	// adminConnections bounds the connections of each admin server.
	adminConnections = 16
	// reserved is enough for both admin servers, the recording and a few lookups.
	reserved = 64
)

func newFileLimit(limit int) fileLimit {
	return fileLimit{limit: limit, reserve: min(reserved, limit/4)}
}

// last returns the first descriptor that no connection to a server may take; 0: there is no
// limit.
func (f fileLimit) last() int { return f.limit - f.reserve/2 }

// scarce reports whether another connection of a direction would take a reserved descriptor.
// open is the number of open connections of that direction, each of which may still need its
// second descriptor. all is the number of both directions. scarce asks the kernel only if
// many descriptors may be taken.
func (f fileLimit) scarce(l net.Listener, d tap.Direction, open, all int) bool {
	allowed := f.limit - f.reserve
	if d == tap.In {
		allowed -= f.reserve
	}
	taken := perConnection * open
	switch {
	case f.limit == 0 || f.listeners+perConnection*all < allowed/4: // lookups and segments take some, too
		return false
	case taken >= allowed:
		return true
	}
	next := 0
	onDescriptor(l, func(fd int) { next = nextDescriptor(fd) })
	return next >= allowed
}

// pending reports whether a connection waits to be accepted.
func pending(l net.Listener) (yes bool) {
	onDescriptor(l, func(fd int) { yes = readable(fd) })
	return yes
}

// onDescriptor calls do with the listener's descriptor, unless it is closed.
func onDescriptor(l net.Listener, do func(fd int)) {
	if c, ok := l.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { do(int(fd)) })
		}
	}
}
