package plainhttp

import "sync/atomic"

// exchange is a request and its answer.
type exchange struct {
	method  string
	upgrade bool        // the request may ask for an upgrade
	asked   atomic.Bool // the request asks for an upgrade
	// verdict tells the request side whether the server accepts the upgrade.
	verdict chan bool
	// finished is closed when the client's side of an upgraded connection has ended.
	finished chan struct{}
	// voided says that the request was rejected after a part of it was sent to the server.
	// claimed says that the client is getting the server's answer. At most one of them is
	// set. The upstreamConn's lock guards them.
	voided, claimed bool
}

func newExchange(method string) *exchange { return &exchange{method: method} }

func newUpgrade(method string) *exchange {
	x := &exchange{method: method, upgrade: true, verdict: make(chan bool, 1), finished: make(chan struct{})}
	x.asked.Store(true)
	return x
}
