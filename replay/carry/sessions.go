package carry

import (
	"strings"

	"github.com/tapedeck/tapedeck/mock/order"
)

// caller joins the step with the caller's other steps.
func (f *Finder) caller() {
	id := order.Identify(f.e.HTTP.Req.Headers, 0).Caller()
	if id == 0 {
		return
	}
	f.steps[f.step].known = true
	if last, ok := f.callers.get(id); ok {
		f.join(last, f.step)
	}
	f.callers.set(id, f.step)
}

// shared marks a connection that several callers use.
const shared = ^uint32(0)

// connection joins a step without a known caller with the step before it on the same
// connection, unless several callers share the connection.
func (f *Finder) connection() {
	e := f.e
	_, by := e.Peer()
	if e.NetInfo == nil || e.NetInfo.ID == "" || strings.HasPrefix(by, "x-") || istioInbound[e.NetInfo.Downstream.IPAddress] || strings.HasPrefix(e.HTTP.Req.Version, "2") {
		return
	}
	key := f.numbered(keyConnection, uint64(e.NetInfo.StartTime.UnixNano()), e.Pod()+"\x00"+e.NetInfo.ID)
	last, ok := f.callers.get(key)
	self := f.root(f.step)
	switch {
	case !ok:
	case last == shared:
		return
	case !f.steps[self].known || !f.steps[f.root(last)].known:
		f.join(last, f.step)
	case f.root(last) != self:
		f.callers.set(key, shared)
		return
	}
	f.callers.set(key, f.step)
}

// istioInbound holds the addresses from which Istio's proxy connects to the application.
var istioInbound = map[string]bool{"127.0.0.6": true, "::6": true}

// root returns the first step of a step's session.
func (f *Finder) root(step uint32) uint32 {
	steps := f.steps
	for steps[step].session != step {
		steps[step].session = steps[steps[step].session].session
		step = steps[step].session
	}
	return step
}

func (f *Finder) join(a, b uint32) {
	a, b = f.root(a), f.root(b)
	if a > b {
		a, b = b, a
	}
	steps := f.steps
	steps[b].session = a
	steps[a].known = steps[a].known || steps[b].known
}
