package proxy

import (
	"context"
	"net"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// Memory bounds what forwarding takes. The zero value bounds nothing.
type Memory struct {
	// Buffers bounds, in bytes, what is read and not written yet. Beyond it data
	// moves in small steps.
	Buffers int64
	// Sockets bounds, in bytes, the kernel's buffers of all connections: the more
	// are open, the smaller those of new ones. 0 leaves them to the kernel, which
	// lets each grow to several megabytes when a peer is slow.
	Sockets int64
	// Shortage, if not nil, tells how short memory is: now, or else as it was found
	// lately, which costs nothing.
	Shortage func(now bool) Shortage
}

// Shortage says what has to give for want of memory. Each value includes those
// before it.
type Shortage int32

// The shortages.
const (
	// Enough: nothing.
	Enough Shortage = iota
	// ShedCapture: nothing more is captured.
	ShedCapture
	// HoldInbound: the reverse proxy accepts no more connections. They wait in the
	// kernel's queue.
	HoldInbound
	// HoldAll: the forward proxy accepts none either. It holds out longer, because
	// inbound requests wait for it.
	HoldAll
)

// String names a shortage as the log does.
func (s Shortage) String() string {
	return [...]string{"nothing gives way", "capture gives way", "capture and inbound connections give way", "capture and all connections give way"}[s]
}

// shed tells the tap when to keep nothing; nil: never.
func (m Memory) shed() func() bool {
	if m.Shortage == nil {
		return nil
	}
	return func() bool { return m.Shortage(false) >= ShedCapture }
}

const (
	// lookEvery is after how many connections it is looked how short memory is:
	// they can take it faster than time alone would show.
	lookEvery = 32
	// holdPause is how often a half that accepts nothing looks whether it may.
	holdPause = 20 * time.Millisecond
	// holdPatience is how long it does before it hangs up on idle connections: they
	// may be all that the memory, or the descriptors, are spent on.
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
				p.log.Warn("connections wait until others end: nearly as many files are open as the process may open", "limit", p.files.limit)
			}
			p.starved[d].Add(1)
		}
		return waits
	})
}

// hold waits as long as short says. Where somebody waits for that, it hangs up on
// idle connections after a while.
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

// short reports whether memory is too short for another connection of a direction;
// now: looked at now, rather than lately.
func (p *Proxy) short(d tap.Direction, now bool) bool {
	limit := HoldInbound
	if d == tap.Out {
		limit = HoldAll
	}
	return p.cfg.Memory.Shortage != nil && p.cfg.Memory.Shortage(now) >= limit
}

// smallestBuffer is the size of a socket's buffer below which moving data would
// cost more than the memory is worth.
const smallestBuffer = 4 << 10

// socketBuffer returns how large each buffer of a new connection's sockets may
// be; 0: as the kernel likes. A connection has two sockets, and a socket two
// buffers. Those of up to 64 connections take half of the bound. From then on the
// size halves when their number doubles. The kernel overshoots by a packet, and
// buffers of both directions are hardly ever full at once.
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

// fit has a listener give the connections that come next buffers of the size
// that is due, and returns it. They inherit the listener's: a peer that was
// promised more room than there is would have to send again.
func (p *Proxy) fit(l net.Listener, size int) int {
	due := p.socketBuffer()
	if c, ok := l.(syscall.Conn); ok && due != size {
		if raw, err := c.SyscallConn(); err == nil {
			pump.SetBuffers(raw, due)
		}
	}
	return due
}
