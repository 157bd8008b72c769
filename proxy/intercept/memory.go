package intercept

import (
	"sync"
	"time"
)

const (
	// maxEndpoints bounds what is remembered; names come from the application.
	maxEndpoints = 4096
	// maxStrikes is how many handshakes with clients may fail for a reason that
	// is not known, before it is taken for distrust: one may have been cancelled.
	// As many times in a row an upstream may fail, before it is taken for one that
	// can't be spoken to: it may have been restarted.
	maxStrikes = 2
	// firstPause is how long an endpoint is let through before it is tried again,
	// and longestPause how long at most: each time in vain, it is twice as long.
	firstPause   = 10 * time.Minute
	longestPause = 24 * time.Hour
)

// history is what is known of an endpoint.
type history struct {
	pass    Outcome   // let through untouched for this reason, "" if it never was
	until   time.Time // for so long; zero: for good
	pause   time.Duration
	strikes int  // handshakes with clients that failed for a reason that is not known
	open    int  // intercepted connections that have not ended
	missed  int  // handshakes with upstream, in a row, that failed
	trusted bool // some client has accepted a certificate for it
	failed  bool // its certificate was not good, and that was reported
	late    bool // it asks for a client certificate in the middle of a connection, and that is to be reported
	unfit   bool // a client could not use a certificate for it, and that was reported
}

// passes returns why an endpoint is let through, "" if it is not.
func (h *history) passes() Outcome {
	if h.until.IsZero() || time.Now().Before(h.until) {
		return h.pass
	}
	return ""
}

// letThrough lets an endpoint through, for good or for a while, and reports
// whether the reason is new.
func (h *history) letThrough(why Outcome, good bool) bool {
	first := h.pass != why
	switch {
	case good:
		h.until = time.Time{}
	case h.passes() == "": // or else the connection began before
		h.pause = min(max(2*h.pause, firstPause), longestPause)
		h.until = time.Now().Add(h.pause)
	default:
		return false
	}
	h.pass = why
	return first
}

// memory remembers endpoints: a name and a port. Those of which it knows too
// many are forgotten, in no order: they are found out again.
type memory struct {
	mu        sync.Mutex
	endpoints map[string]*history
}

func (m *memory) of(endpoint string) *history {
	h := m.endpoints[endpoint]
	if h == nil {
		if m.endpoints == nil {
			m.endpoints = map[string]*history{}
		}
		for old := range m.endpoints {
			if len(m.endpoints) < maxEndpoints {
				break
			}
			delete(m.endpoints, old)
		}
		h = &history{}
		m.endpoints[endpoint] = h
	}
	return h
}

// passes returns why an endpoint is let through, "" if it is not.
func (m *memory) passes(endpoint string) Outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.endpoints[endpoint]; h != nil {
		return h.passes()
	}
	return ""
}

// refused notes that a client did not take the certificate, and reports whether
// the endpoint is let through from now on, which is new. Where the client left no
// doubt that is for good: another try would cost another failure. A client that
// went away without a word says little once another has accepted a certificate, or
// while another is open: a client that connects several times at once hangs up on those
// that it does not need.
func (m *memory) refused(endpoint string, v verdict) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(endpoint)
	if v == silence && (h.trusted || h.open > 0) {
		return false
	}
	if h.strikes++; v != distrust && h.strikes < maxStrikes {
		return false
	}
	return h.letThrough(PassedDistrust, v == distrust)
}

// opened notes that a client's connection to an endpoint is intercepted, closed that it
// has ended.
func (m *memory) opened(endpoint string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.of(endpoint).open++
}

func (m *memory) closed(endpoint string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.endpoints[endpoint]; h != nil && h.open > 0 { // it may have been forgotten meanwhile
		h.open--
	}
}

// mutual notes that upstream asks for a client certificate that there is not,
// and reports whether that is new.
func (m *memory) mutual(endpoint string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.of(endpoint).letThrough(PassedMutual, false)
}

// late notes the same of an upstream that asks in the middle of a connection.
func (m *memory) late(endpoint string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(endpoint)
	h.late = h.letThrough(PassedMutual, false) || h.late
}

// wasLate reports, once, whether upstream has asked in the middle of a connection.
func (m *memory) wasLate(endpoint string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.endpoints[endpoint]
	if h == nil || !h.late {
		return false
	}
	h.late = false
	return true
}

// broke notes that the handshake with upstream failed, and reports whether the
// endpoint is let through from now on, which is new.
func (m *memory) broke(endpoint string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(endpoint)
	h.missed++
	return h.missed >= maxStrikes && h.letThrough(PassedUpstream, false)
}

// answered notes that the handshake with upstream went well.
func (m *memory) answered(endpoint string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.endpoints[endpoint]; h != nil {
		h.missed = 0
		if h.pass == PassedUpstream || h.pass == PassedMutual { // to try again was not in vain
			h.pause = 0
		}
	}
}

// trusted notes that a client took the certificate.
func (m *memory) trusted(endpoint string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(endpoint)
	h.trusted, h.failed = true, false
	if h.passes() == "" { // to try again was not in vain
		h.pause = 0
	}
}

// failed notes that an endpoint's own certificate was not good, and reports
// whether that is new.
func (m *memory) failed(endpoint string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(endpoint)
	first := !h.failed
	h.failed = true
	return first
}

// unfit notes that a client could not use a certificate for an endpoint, and
// reports whether that is new. Others may.
func (m *memory) unfit(endpoint string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(endpoint)
	first := !h.unfit
	h.unfit = true
	return first
}
