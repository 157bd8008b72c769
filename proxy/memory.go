package proxy

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// Memory bounds the memory for forwarding. The zero value bounds nothing.
type Memory struct {
	// Buffers bounds, in bytes, the data that has been read and not yet written. Beyond it,
	// data moves in small steps.
	Buffers int64
	// Sockets bounds, in bytes, the kernel's buffers of all connections: the more
	// connections are open, the smaller are the buffers of new ones. 0 leaves the size to
	// the kernel, which lets each buffer grow to several megabytes if a peer is slow.
	Sockets int64
	// Shortage, if not nil, returns how short memory is. If now is false, it returns the
	// last result, which costs nothing.
	Shortage func(now bool) Shortage
}

// Shortage says what the proxy gives up for lack of memory. Each value includes the ones
// before it.
type Shortage int32

// The shortages.
const (
	// Enough: nothing is given up.
	Enough Shortage = iota
	// ShedCapture: nothing more is captured.
	ShedCapture
	// HoldInbound: the reverse proxy accepts no more connections. They wait in the
	// kernel's queue.
	HoldInbound
	// HoldAll: the forward proxy accepts no more connections either. It stops last, because
	// inbound requests wait for it.
	HoldAll
)

// String returns the shortage as the log names it.
func (s Shortage) String() string {
	return [...]string{"nothing gives way", "capture gives way", "capture and inbound connections give way", "capture and all connections give way"}[s]
}

// shed returns the function that tells the tap whether to keep nothing; nil: it always keeps
// traffic.
func (m Memory) shed() func() bool {
	if m.Shortage == nil {
		return nil
	}
	return func() bool { return m.Shortage(false) >= ShedCapture }
}

const (
	// lookEvery is the number of connections after which memory is checked again. A burst of
	// connections can take memory faster than the checks at intervals would notice.
	lookEvery = 32
	// holdPause is how often a proxy that has stopped accepting checks whether it may
	// continue.
	holdPause = 20 * time.Millisecond
	// holdPatience is how long a proxy waits before it closes idle connections, which may
	// hold all of the memory or descriptors.
	holdPatience = time.Second
)

// await waits until memory and file descriptors allow another connection of a
// direction, which comes from l.
func (p *Proxy) await(ctx context.Context, l net.Listener, d tap.Direction) {
	if p.short(d, p.conns.count()%lookEvery == 0) {
		p.held[d].Add(1)
		p.hold(ctx, func() bool { return p.short(d, true) }, func() bool { return true })
	}
	scarce := func() bool { return p.files.scarce(l, d, p.conns.countOf(d), p.conns.count()) }
	if !scarce() {
		return
	}
	told := false
	p.hold(ctx, scarce, func() bool {
		waits := pending(l)
		if waits && !told {
			told = true
			if p.starved[tap.In].Load()+p.starved[tap.Out].Load() == 0 {
				p.log.Warn("connections wait until others end: almost all files that the process may open are open", "limit", p.files.limit)
			}
			p.starved[d].Add(1)
		}
		return waits
	})
}

// hold waits as long as short returns true. If waits returns true for a while, it closes idle
// connections.
func (p *Proxy) hold(ctx context.Context, short, waits func() bool) {
	ticker := time.NewTicker(holdPause)
	defer ticker.Stop()
	var since time.Time
	for short() {
		switch {
		case !waits():
			since = time.Time{}
		case since.IsZero():
			since = time.Now()
		case time.Since(since) >= holdPatience:
			p.hangUp(tap.In)
			p.hangUp(tap.Out)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// short reports whether memory is too short for another connection of a direction. If now is
// true, it has memory measured, and does not use the last result.
func (p *Proxy) short(d tap.Direction, now bool) bool {
	limit := HoldInbound
	if d == tap.Out {
		limit = HoldAll
	}
	return p.cfg.Memory.Shortage != nil && p.cfg.Memory.Shortage(now) >= limit
}

// smallestBuffer is the minimum size of a socket's buffer. With smaller ones, moving data
// would cost more than the memory is worth.
const smallestBuffer = 4 << 10

// socketBuffer returns the maximum size of each buffer of a new connection's sockets; 0: the
// kernel decides. A connection has two sockets, and a socket has two buffers. The buffers of
// up to 64 connections take half of the bound. Beyond that, the size halves each time the
// number of connections doubles. The kernel may exceed a buffer's size by a packet, and the
// buffers of both directions are hardly ever full at the same time.
func (p *Proxy) socketBuffer() int {
	if p.cfg.Memory.Sockets == 0 {
		return 0
	}
	const few = 64
	size := p.cfg.Memory.Sockets / (8 * few)
	for n := p.conns.count(); n > few && size > smallestBuffer; n /= 2 {
		size /= 2
	}
	return int(max(size, smallestBuffer))
}

// fit sets the size of the buffers of a listener's next connections, and returns it. size is
// what it returned before. Connections inherit the size from the listener: if it were reduced
// after the accept, a peer could already have been promised more room, and would have to send
// again.
func (p *Proxy) fit(l net.Listener, size int) int {
	due := p.socketBuffer()
	if c, ok := l.(syscall.Conn); ok && due != size {
		if raw, err := c.SyscallConn(); err == nil {
			pump.SetBuffers(raw, due)
		}
	}
	return due
}
