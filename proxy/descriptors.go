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
	// listeners is how many there may be for captured hosts.
	listeners int
}

const (
	// perConnection is how many descriptors a connection takes: one for each end.
	perConnection = 2
	// adminConnections bounds those of each admin server.
	adminConnections = 16
	// reserved has room for both admin servers, the recording and a few look-ups.
	reserved = 64
)

func newFileLimit(limit int) fileLimit {
	return fileLimit{limit: limit, reserve: min(reserved, limit/4)}
}

// last is the first descriptor that no connection to a server may have; 0: any may
// be had.
func (f fileLimit) last() int { return f.limit - f.reserve/2 }

// scarce reports whether another connection of a direction would take a descriptor
// that is reserved. open is how many of that direction there are, each of which may
// still need its second one, and all is how many there are of both. It asks the
// kernel only where that may be so.
func (f fileLimit) scarce(l net.Listener, d tap.Direction, open, all int) bool {
	allowed := f.limit - f.reserve
	if d == tap.In {
		allowed -= f.reserve
	}
	taken := perConnection * open
	switch {
	case f.limit == 0 || f.listeners+perConnection*all < allowed/4: // look-ups and segments take some too
		return false
	case taken >= allowed:
		return true
	}
	next := 0
	onDescriptor(l, func(fd int) { next = nextDescriptor(fd) })
	return next >= allowed
}

// pending reports whether somebody waits to be accepted.
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
