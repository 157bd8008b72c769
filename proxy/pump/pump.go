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

// Meter counts a connection's bytes. It is safe for concurrent use.
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

// owe sets whether bytes of side still have to be written to the other side.
func (m *Meter) owe(side tap.Side, yes bool) { m.owing[side].Store(yes) }

// Write writes p, which side has sent, to its peer. Until it returns, the connection is not
// quiet.
func (m *Meter) Write(peer io.Writer, side tap.Side, p []byte) error {
	m.owe(side, true)
	_, err := peer.Write(p)
	m.owe(side, false)
	return err
}

// Quiet reports whether both sides have been silent for d, and each has received the other's
// bytes. A quiet connection is not necessarily idle: the server may still be working on an
// answer.
func (m *Meter) Quiet(now time.Time, d time.Duration) bool {
	return now.Sub(m.Last()) >= d && !m.owing[tap.FromClient].Load() && !m.owing[tap.FromServer].Load()
}

// Last returns when a side last sent something.
func (m *Meter) Last() time.Time {
	return time.Unix(0, max(m.last[tap.FromClient].Load(), m.last[tap.FromServer].Load()))
}

// Silent reports whether neither side has sent anything yet.
func (m *Meter) Silent() bool { return m.Bytes(tap.FromClient) == 0 && m.Bytes(tap.FromServer) == 0 }

// Pump moves bytes between two connections.
type Pump struct {
	// Pool provides the buffers.
	Pool *tap.Pool
	// Stream gets a copy of the bytes; nil: there is no copy.
	Stream *tap.Stream
	// Meter counts the bytes.
	Meter *Meter
	// Loops serve pairs of plain TCP connections that Start starts; nil: goroutines do.
	Loops *Loops
}

// Start is [Pump.Run] without waiting: it calls ended at the end, on a new goroutine. With
// Loops, no goroutine waits meanwhile.
func (p *Pump) Start(client, server *Conn, ended func(error)) {
	if !p.Loops.adopt(p, client, server, ended) {
		go func() { ended(p.Run(client, server)) }()
	}
}

// Run moves bytes in both directions until both sides have ended, and closes both
// connections. It returns an error if they did not end in order.
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

// move moves the bytes of src, which is side, to dst, and then src's end.
func (p *Pump) move(dst, src *Conn, side tap.Side) error {
	err, dstFailed := p.copy(dst, src, side)
	if dstFailed {
		// The other direction continues: an answer that was sent before the peer closed must
		// still be delivered.
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

// isGone recognizes the errors of a peer that closed before it received all bytes, which
// application protocols allow.
func isGone(err error) bool {
	return errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}

// copy copies until src ends (nil) or one of them fails.
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

// mover moves one direction. It holds a buffer only while there is something to move.
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

// got gives n bytes to the tap and then writes them, so that the tap has them before the
// answer.
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
