package proxy

import (
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

const (
	// idleMoment is how long a connection that has nothing under way is silent
	// before a drain hangs up on it: a client that goes on at once may do so.
	idleMoment = time.Second
	// flushTime bounds how long the readers may take for what is left.
	flushTime = 2500 * time.Millisecond
	// CloseTime bounds how long the recording may then take to be closed. With
	// flushTime it makes less than the 5 s by which a pod's grace period is
	// longer than [Config.Drain]: who is killed then loses what it had taken.
	CloseTime = 2 * time.Second
	// tick is how often a drain looks for idle connections.
	tick = 100 * time.Millisecond
)

// drain closes the halves one after the other: the application still needs its
// dependencies to finish what is in flight. Connections that are not done when
// the time is up are reset, so that nobody takes a part for the whole.
func (p *Proxy) drain() {
	deadline := time.NewTimer(p.cfg.Drain)
	defer deadline.Stop()
	p.log.Info("draining", "at_most", p.cfg.Drain.String())
	closeAll(p.reverse)
	inTime := p.empty(tap.In, deadline.C)
	closeAll(p.forward)
	if inTime {
		inTime = p.empty(tap.Out, deadline.C)
	}
	if !inTime {
		for _, d := range []tap.Direction{tap.In, tap.Out} {
			p.conns.each(d, (*conn).abort)
		}
		p.log.Warn("connections were cut: they did not finish in time", "variable", contract.EnvDrain, "value", p.cfg.Drain.String())
	}
}

// empty waits until no connection of a direction is open, hanging up on those
// that are known to be idle; false means that the deadline came first. The data
// path does not know where a request ends: that the server had the last word may
// mean that it is not finished, and the others, those of which nobody knows, have
// the whole time.
func (p *Proxy) empty(d tap.Direction, deadline <-chan time.Time) bool {
	done := p.conns.idle(d)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		p.conns.each(d, func(k *conn) {
			if k.idle(time.Now()) {
				k.hangUp()
			}
		})
		select {
		case <-done:
			return true
		case <-deadline:
			return false
		case <-ticker.C:
		}
	}
}
