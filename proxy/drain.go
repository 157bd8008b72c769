package proxy

import (
	"context"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

const (
	// idleMoment is how long a connection that has nothing under way is silent
	// before a drain hangs up on it: a client that goes on at once may do so.
	idleMoment = time.Second
	// lullPart is the part of a drain for which nothing may happen before a classic
	// sidecar closes its halves: by default 5 s, for which Istio's own proxy goes on
	// at least (terminationDrainDuration).
	lullPart = 5
	// flushTime bounds how long the readers may take for what is left.
	flushTime = 2500 * time.Millisecond
	// CloseTime bounds how long the recording may then take to be closed. With
	// flushTime it makes less than the 5 s by which a pod's grace period is
	// longer than [Config.Drain]: who is killed then loses what it had taken.
	CloseTime = 2 * time.Second
	// StopTime is both: how long a pod may go on after [Config.Drain].
	StopTime = flushTime + CloseTime
	// tick is how often a drain looks for idle connections.
	tick = 100 * time.Millisecond
)

// drain closes the halves one after the other: the application still needs its
// dependencies to finish what is in flight. Connections that are not done when
// the time is up are reset, so that nobody takes a part for the whole.
//
// A native sidecar is told to stop when the application has ended. A classic one
// is told when the application is, which may be called until everybody knows, and
// may call to the end: so both halves take connections until there is a lull.
func (p *Proxy) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.Drain)
	defer cancel()
	began := time.Now()
	p.log.Info("draining", "at_most", p.cfg.Drain.String())
	accepting, cancel := context.WithTimeout(ctx, p.cfg.Drain/2) // the rest is for what is in flight
	defer cancel()
	p.lull(accepting, began)
	closeAll(p.inListeners())
	inTime := p.empty(ctx, tap.In)
	p.lull(ctx, began)
	closeAll(p.forward)
	p.hosts.close()
	if inTime = p.empty(ctx, tap.Out) && inTime; !inTime {
		for _, d := range []tap.Direction{tap.In, tap.Out} {
			p.conns.abort(d)
		}
		p.log.Warn("connections were cut: they did not finish in time", "variable", contract.EnvDrain, "value", p.cfg.Drain.String())
	}
}

// lull waits, as a classic sidecar, until nothing has been opened or said for a
// while, hanging up on idle clients, who may come again.
func (p *Proxy) lull(ctx context.Context, began time.Time) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for p.cfg.Classic && time.Since(later(began, p.conns.active())) < p.cfg.lull {
		p.hangUp(tap.In)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// empty waits until no connection of a direction is open, hanging up on those that
// are known to be idle; false means that the time was up first. That the server
// had the last word does not make a connection idle: it may not be finished.
func (p *Proxy) empty(ctx context.Context, d tap.Direction) bool {
	done := p.conns.drained(d)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		p.hangUp(d)
		select {
		case <-done:
			return true
		case <-ctx.Done():
			return false
		case <-ticker.C:
		}
	}
}

// hangUp hangs up on the connections of a direction that are idle.
func (p *Proxy) hangUp(d tap.Direction) {
	p.conns.each(d, func(k *conn) {
		if k.idle(time.Now()) {
			k.hangUp()
		}
	})
}
