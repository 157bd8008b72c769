package pump

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/proxy/tap"
)

// Meter counts a connection's bytes while they are moved. Its methods may be
// called from any goroutine.
type Meter struct {
	bytes [2]atomic.Int64
	last  [2]atomic.Int64
	owing [2]atomic.Bool
}

// Add counts n bytes that side sent at the given time.
func (m *Meter) Add(side tap.Side, at time.Time, n int) {
	m.bytes[side].Add(int64(n))
	m.last[side].Store(at.UnixNano())
}

// Bytes returns how many bytes side has sent.
func (m *Meter) Bytes(side tap.Side) int64 { return m.bytes[side].Load() }

// owe notes whether what side has sent is still to be written to the other.
func (m *Meter) owe(side tap.Side, yes bool) { m.owing[side].Store(yes) }

// Write writes p, which side has sent, to its peer, and owes it meanwhile.
func (m *Meter) Write(peer io.Writer, side tap.Side, p []byte) error {
	m.owe(side, true)
	_, err := peer.Write(p)
	m.owe(side, false)
	return err
}

// Quiet reports whether nobody has said anything for d, and each has taken what
// the other said. That is not to say that nothing is under way: a server may be
// thinking, or be silent in the middle of an answer.
func (m *Meter) Quiet(now time.Time, d time.Duration) bool {
	return now.Sub(m.Last()) >= d && !m.owing[tap.FromClient].Load() && !m.owing[tap.FromServer].Load()
}

// Last returns when somebody last said something.
func (m *Meter) Last() time.Time {
	return time.Unix(0, max(m.last[tap.FromClient].Load(), m.last[tap.FromServer].Load()))
}

// Silent reports whether nobody has said anything yet.
func (m *Meter) Silent() bool { return m.Bytes(tap.FromClient) == 0 && m.Bytes(tap.FromServer) == 0 }

// Pump moves the bytes of one pair of connections.
type Pump struct {
	// Pool is where buffers come from.
	Pool *tap.Pool
	// Stream is given a copy of everything; nil: nobody is.
	Stream *tap.Stream
	// Meter counts.
	Meter *Meter
	// Loops move what is started and what they can move; nil: goroutines do.
	Loops *Loops
}

// Start moves bytes as Run does, without waiting for their end: ended is called
// then, on a goroutine of its own. Where Loops move them, no goroutine waits
// meanwhile.
func (p *Pump) Start(client, server *Conn, ended func(error)) {
	if !p.Loops.adopt(p, client, server, ended) {
		go func() { ended(p.Run(client, server)) }()
	}
}

// Run moves bytes both ways until both sides have ended, and closes both
// connections. It returns why, when that was not an orderly end.
func (p *Pump) Run(client, server *Conn) error {
	asked, over := make(chan error, 1), make(chan struct{})
	go func() {
		defer close(over)
		err := p.guardedMove(server, client, tap.FromClient)
		asked <- err
		if err == nil {
			passResetOn(client, server)
		}
	}()
	err := errors.Join(p.guardedMove(client, server, tap.FromServer), <-asked)
	_ = client.Close()
	_ = server.Close()
	<-over
	return err
}

// move moves what src, which is side, sends, and then src's end.
func (p *Pump) move(dst, src *Conn, side tap.Side) error {
	err, dstFailed := p.copy(dst, src, side)
	if dstFailed {
		// The other direction goes on: an answer that was sent before the
		// peer closed is still to be delivered.
		if isGone(err) {
			return nil
		}
		return fmt.Errorf("write what the %v sent: %w", side, err)
	}
	if errors.Is(err, net.ErrClosed) {
		return nil // the other direction has failed, and says why
	}
	dst.finish(src, err)
	if err == nil {
		return nil
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		src.Abort()
	}
	return fmt.Errorf("read from the %v: %w", side, err)
}

// isGone recognises the errors of a connection that was closed while bytes
// were under way to it, which the protocol above has provided for.
func isGone(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// copy copies until src ends (nil), src fails or dst does.
func (p *Pump) copy(dst, src *Conn, side tap.Side) (err error, dstFailed bool) {
	if head := src.head; len(head) > 0 {
		src.head = nil
		now := time.Now()
		p.Meter.Add(side, now, len(head))
		p.Stream.Copy(side, now, head)
		if err := p.Meter.Write(dst, side, head); err != nil {
			return err, true
		}
	}
	m := mover{Pump: p, dst: dst, side: side}
	defer m.idle()
	if tcp, ok := src.Conn.(*net.TCPConn); ok {
		if err := readable(tcp, m.buffer, m.got, m.idle); err != nil {
			return err, false
		}
	} else {
		for {
			n, err := src.Conn.Read(m.buffer())
			if n > 0 && !m.got(n, nil) {
				break
			}
			if err != nil {
				m.got(0, err)
				break
			}
		}
	}
	if m.readErr = src.told(m.readErr); m.readErr == io.EOF {
		m.readErr = nil
	}
	if m.writeErr != nil {
		return m.writeErr, true
	}
	return m.readErr, false
}

// mover holds one direction's buffer while there is something to move.
type mover struct {
	*Pump
	dst               *Conn
	side              tap.Side
	buf               *tap.Buffer
	class             tap.Class
	readErr, writeErr error
}

func (m *mover) buffer() []byte {
	if m.buf == nil {
		m.buf = m.Pool.Get(m.Pool.Allow(m.class))
	}
	return m.buf.B
}

func (m *mover) idle() {
	if m.buf != nil {
		m.buf.Release()
		m.buf = nil
	}
}

// got passes n bytes on; the tap sees them before the peer can answer them.
func (m *mover) got(n int, err error) bool {
	if err != nil {
		m.readErr = err
		return false
	}
	now := time.Now()
	m.Meter.Add(m.side, now, n)
	m.Stream.Write(m.side, now, m.buf, n)
	if m.writeErr = m.Meter.Write(m.dst, m.side, m.buf.B[:n]); m.writeErr != nil {
		return false
	}
	if class := m.class.Fit(n); class != m.class || m.buf.Shared() {
		m.class = class
		m.idle()
	}
	return true
}
