package wire

import (
	"context"
	"sync"
)

// pool keeps HTTP/1 connections for later requests. It returns the most recently used connection,
// so that no more connections than needed remain in use.
type pool struct {
	mu      sync.Mutex
	max     int
	open    int // number of idle and busy connections
	idle    []*conn
	waiting []chan *conn // each gets the next connection, or nil as the permission to open one
	closed  bool
}

// get returns an idle connection, or nil. If it returns nil, the caller opens a connection, and calls
// done when that is closed. get waits while max connections are open. With fresh, it returns nil even
// if a connection is idle.
func (p *pool) get(ctx context.Context, fresh bool) (*conn, error) {
	p.mu.Lock()
	if n := len(p.idle); n > 0 {
		c := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if fresh {
			c.close()
			return nil, nil // the new connection replaces it
		}
		return c, nil
	}
	if p.open < p.max {
		p.open++
		p.mu.Unlock()
		return nil, nil
	}
	turn := make(chan *conn, 1)
	p.waiting = append(p.waiting, turn)
	p.mu.Unlock()
	select {
	case c := <-turn:
		return c, nil
	case <-ctx.Done():
		p.leave(turn)
		return nil, context.Cause(ctx)
	}
}

// leave stops waiting. If a connection has arrived meanwhile, it goes to the next waiter.
func (p *pool) leave(turn chan *conn) {
	p.mu.Lock()
	for i, t := range p.waiting {
		if t == turn {
			p.waiting = append(p.waiting[:i], p.waiting[i+1:]...)
			p.mu.Unlock()
			return
		}
	}
	p.mu.Unlock()
	if c := <-turn; c != nil {
		p.put(c)
	} else {
		p.done()
	}
}

// put takes back a connection that can be reused.
func (p *pool) put(c *conn) {
	p.mu.Lock()
	switch {
	case p.closed:
		p.open--
		p.mu.Unlock()
		c.close()
		return
	case len(p.waiting) > 0:
		p.next() <- c
	default:
		p.idle = append(p.idle, c)
	}
	p.mu.Unlock()
}

// done records that a connection is closed.
func (p *pool) done() {
	p.mu.Lock()
	if len(p.waiting) > 0 {
		p.next() <- nil
	} else {
		p.open--
	}
	p.mu.Unlock()
}

func (p *pool) next() chan *conn {
	turn := p.waiting[0]
	p.waiting = p.waiting[1:]
	return turn
}

// close closes idle connections, and makes put close the others.
func (p *pool) close() {
	p.mu.Lock()
	idle := p.idle
	p.idle, p.closed = nil, true
	p.open -= len(idle)
	p.mu.Unlock()
	for _, c := range idle {
		c.close()
	}
}
