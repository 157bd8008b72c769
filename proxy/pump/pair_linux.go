package pump

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// readsPerTurn is the number of reads of a connection before other connections get a turn,
// so that a download does not delay short messages.
const readsPerTurn = 4

// pair is two connections that a loop serves.
type pair struct {
	*Pump
	loop *loop
	over func(error)

	// mu guards the pair against others that end it. The order of locks is this one, a
	// Conn's mu, the loop's mu.
	mu    sync.Mutex
	conns [2]*Conn // by side
	ends  [2]end
	ended bool
	err   error // the first error to report
}

// end is one connection of a pair.
type end struct {
	pair *pair
	peer *end
	side tap.Side
	fd   int
	slot int32

	class   tap.Class
	ready   bool        // there may be something to read
	hup     bool        // the end of the stream can be read
	eof     bool        // the end was read
	broken  bool        // the connection was reset
	deaf    bool        // nothing more will be written to it
	queued  bool        // it is in the loop's list for another turn
	pending []byte      // bytes that could not be written yet; the peer is not read meanwhile
	holding *tap.Buffer // the buffer of pending; may be nil
}

// take duplicates both connections' descriptors and closes the originals, which removes them
// from Go's poller. The locks keep others from closing them meanwhile.
func (q *pair) take(client, server *Conn) bool {
	conns := [2]*Conn{tap.FromClient: client, tap.FromServer: server}
	var fds [2]int
	for side, c := range conns {
		c.mu.Lock()
		defer c.mu.Unlock()
		tcp, ok := c.Conn.(*net.TCPConn)
		if ok && !c.closed {
			fds[side], ok = duplicate(tcp)
		}
		if !ok || c.closed {
			if side == 1 {
				_ = unix.Close(fds[0])
			}
			return false
		}
	}
	q.conns = conns
	for i, c := range conns {
		side := tap.Side(i)
		_ = c.Conn.Close()
		c.owner = q
		q.ends[side] = end{pair: q, side: side, fd: fds[side], slot: noSlot, peer: &q.ends[1-side], pending: conns[1-side].head}
		if len(c.head) > 0 {
			now := time.Now()
			q.Meter.Add(side, now, len(c.head))
			q.Stream.Copy(side, now, c.head)
		}
	}
	client.head, server.head = nil, nil
	return true
}

// duplicate returns another descriptor of the same connection.
func duplicate(c *net.TCPConn) (fd int, ok bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false
	}
	err = raw.Control(func(original uintptr) {
		n, failed := unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
		fd, ok = n, failed == nil
	})
	return fd, ok && err == nil
}

// happened handles epoll's events for e.
func (q *pair) happened(e *end, events uint32) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.guard()
	const broken = unix.EPOLLERR | unix.EPOLLHUP
	if events&(unix.EPOLLIN|unix.EPOLLRDHUP|broken) != 0 {
		e.ready = true
		e.hup = e.hup || events&(unix.EPOLLRDHUP|broken) != 0
	}
	e.broken = e.broken || events&unix.EPOLLERR != 0
	if events&(unix.EPOLLOUT|broken) != 0 && len(e.pending) > 0 {
		q.write(e, e.pending, nil)
		q.read(e.peer)
	}
	if e.eof && e.broken {
		q.gone(e)
	}
	q.read(e)
}

// turn gives an end another turn.
func (q *pair) turn(e *end) {
	q.mu.Lock()
	defer q.mu.Unlock()
	defer q.guard()
	e.queued = false
	q.read(e)
}

// guard resets a pair that panics, so that the loop and its other pairs continue.
func (q *pair) guard() {
	if v := recover(); v != nil {
		q.close(true, &Panic{v, debug.Stack()})
	}
}

// read moves bytes from e to its peer until there are none, the peer is slow or the turn
// ends.
func (q *pair) read(e *end) {
	for range readsPerTurn {
		if q.ended || !e.ready || e.peer.deaf || len(e.peer.pending) > 0 {
			return
		}
		class := q.loop.pool.Allow(e.class)
		buf := q.loop.buffer(class)
		n, err := read(e.fd, buf.B)
		if n == 0 && err == nil && q.conns[e.side].reset.Load() {
			err = unix.ECONNRESET // the system reported the reset to a write
		}
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			e.ready = false
			return
		case err != nil:
			q.close(true, fmt.Errorf("read from the %v: %w", e.side, os.NewSyscallError("read", err)))
			return
		case n == 0:
			e.ready, e.eof = false, true
			if q.finish(e.peer); e.broken {
				q.gone(e)
			}
			return
		}
		q.pass(e, buf, n)
		q.loop.used(class)
		if n < len(buf.B) {
			e.ready = e.hup // after a short read, only the end can be left to read
		}
		e.class = e.class.Fit(n)
	}
	if !e.queued {
		e.queued = true
		q.loop.again = append(q.loop.again, e)
	}
}

// pass gives the first n bytes of buf, which e has sent, to the tap and then to the peer, so
// that the tap has them before the answer.
func (q *pair) pass(e *end, buf *tap.Buffer, n int) {
	now := time.Now()
	q.Meter.Add(e.side, now, n)
	q.Stream.Write(e.side, now, buf, n)
	q.write(e.peer, buf.B[:n], buf)
}

// write writes p, which is in buf, to e, and keeps the bytes that e does not accept yet.
func (q *pair) write(e *end, p []byte, buf *tap.Buffer) {
	for len(p) > 0 {
		n, err := write(e.fd, p)
		switch {
		case err == nil:
			p = p[n:]
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			q.Meter.owe(e.peer.side, true)
			if e.pending = p; buf != nil {
				buf.Retain()
				e.holding = buf
			}
			return
		default:
			// The other direction continues: an answer that was sent before the
			// connection closed must still be delivered.
			e.deaf = true
			_ = q.conns[e.side].told(err)
			if err := os.NewSyscallError("write", err); !isGone(err) {
				q.err = fmt.Errorf("write what the %v sent: %w", e.peer.side, err)
			}
			q.settle()
			return
		}
	}
	if len(e.pending) > 0 {
		q.Meter.owe(e.peer.side, false)
		e.dropPending()
	}
	if e.peer.eof {
		q.finish(e)
	}
}

// finish sends e the end of its peer's bytes, after the last one.
func (q *pair) finish(e *end) {
	if len(e.pending) == 0 && !e.deaf {
		_ = unix.Shutdown(e.fd, unix.SHUT_WR)
		e.deaf = true
		q.settle()
	}
}

// gone handles a reset by e after all its bytes were read. Nothing more can be written to e.
// The peer gets the reset if it has all of e's bytes. Otherwise it gets the reset with its
// next write.
func (q *pair) gone(e *end) {
	if q.ended {
		return
	}
	e.deaf = true
	if e.peer.deaf {
		q.close(delivered(e.peer.fd), nil)
	}
}

// settle closes the pair when nothing more will be written to either end.
func (q *pair) settle() {
	if q.ends[0].deaf && q.ends[1].deaf {
		q.close(false, nil)
	}
}

// close closes both connections.
func (q *pair) close(reset bool, err error) {
	if q.ended {
		return
	}
	q.ended = true
	for i := range q.ends {
		e := &q.ends[i]
		q.loop.remove(e)
		e.dropPending()
		if reset {
			_ = unix.SetsockoptLinger(e.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		}
		_ = unix.Close(e.fd)
	}
	go q.over(errors.Join(q.err, err))
}

// end closes the pair from outside.
func (q *pair) end(reset bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.close(reset, nil)
}

func (e *end) dropPending() {
	e.pending = nil
	if e.holding != nil {
		e.holding.Release()
		e.holding = nil
	}
}
