package proxy

import (
	"context"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

const (
	// idleMoment is how long an idle connection must be silent before a drain closes it,
	// so that a client can send its next request immediately.
	idleMoment = time.Second
	// lullPart is the part of a drain that must be quiet before a classic sidecar closes
	// its listeners: 5 s by default, the least for which Istio's proxy continues
	// (terminationDrainDuration).
	lullPart = 5
	// flushTime is the time for the tap's readers to read the remaining traffic.
	flushTime = 2500 * time.Millisecond
	// CloseTime is the time to close the recording after that. Together they are shorter
	// than the 5 s by which a pod's grace period exceeds [Config.Drain]. A process that is
	// killed earlier loses records.
	CloseTime = 2 * time.Second
	// StopTime is the time that the sidecar needs after [Config.Drain].
	StopTime = flushTime + CloseTime
	// tick is the interval at which a drain looks for idle connections.
	tick = 100 * time.Millisecond
)

// drain closes the inbound listeners before the outbound ones, because the application
// needs its dependencies to finish open requests. When the time is up, it resets the
// connections that are still open, so that no peer takes incomplete data for complete
// data.
//
// A native sidecar gets SIGTERM after the application has ended. A classic one gets it
// at the same time as the application, which may still receive and make calls. So a
// classic sidecar keeps all listeners open until a quiet period.
func (p *Proxy) drain() {
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.Drain)
	defer cancel()
	began := time.Now()
	p.log.Info("draining", "at_most", p.cfg.Drain.String())
	accepting, cancel := context.WithTimeout(ctx, p.cfg.Drain/2) // the rest is for open connections
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
		p.log.Warn("reset connections that did not finish in time", "variable", contract.EnvDrain, "value", p.cfg.Drain.String())
	}
}

// lull waits in a classic sidecar for a quiet period, in which no connection is opened and
// nothing is sent. Meanwhile it closes idle connections; their clients can reconnect.
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

// empty waits until no connection of a direction is open, and closes idle ones. It returns
// false if the time was up first. A connection on which the server sent the last bytes is
// not necessarily idle, because its answer may not be complete.
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

// hangUp closes the idle connections of a direction.
func (p *Proxy) hangUp(d tap.Direction) {
	p.conns.each(d, func(k *conn) {
		if k.idle(time.Now()) {
			k.hangUp()
		}
	})
}
