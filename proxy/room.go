package proxy

import (
	"net"
	"slices"
	"sync"
	"time"
)

// roomListener bounds the number of open connections. No client can keep others out: when
// all places are taken, a new connection replaces the one that has been open longest, once
// that has had its grace period.
type roomListener struct {
	net.Listener
	places int
	grace  time.Duration // how long a connection stays open before another may replace it
	freed  chan struct{} // has an item if a place has become free

	mu   sync.Mutex
	open []*roomConn // oldest first
}

// roomConn is a connection that has one of the listener's places.
type roomConn struct {
	net.Conn
	room  *roomListener
	since time.Time
}

func newRoomListener(l net.Listener, places int, grace time.Duration) *roomListener {
	return &roomListener{Listener: l, places: places, grace: grace, freed: make(chan struct{}, 1)}
}

// Accept implements [net.Listener].
func (l *roomListener) Accept() (net.Conn, error) {
	for wait := l.makeRoom(); wait > 0; wait = l.makeRoom() {
		select {
		case <-l.freed:
		case <-time.After(wait):
		}
	}
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	accepted := &roomConn{Conn: c, room: l, since: time.Now()}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, accepted)
	return accepted, nil
}

// makeRoom returns how long to wait until a connection may be replaced. It returns 0 if there
// is a place, and closes the oldest connection for that if its grace period is over.
func (l *roomListener) makeRoom() time.Duration {
	l.mu.Lock()
	if len(l.open) < l.places {
		l.mu.Unlock()
		return 0
	}
	oldest := l.open[0]
	l.mu.Unlock()
	if wait := l.grace - time.Since(oldest.since); wait > 0 {
		return wait
	}
	_ = oldest.Close()
	return 0
}

// Close implements [net.Conn].
func (c *roomConn) Close() error {
	l := c.room
	l.mu.Lock()
	if i := slices.Index(l.open, c); i >= 0 {
		l.open = slices.Delete(l.open, i, i+1)
	}
	l.mu.Unlock()
	select {
	case l.freed <- struct{}{}:
	default:
	}
	return c.Conn.Close()
}
