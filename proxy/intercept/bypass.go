package intercept

import (
	"sync"
	"time"
)

const (
	// maxEndpoints bounds the bypass list, because the application chooses the names.
	maxEndpoints = 4096
	// maxFailures is the number of handshakes that may fail for an unknown reason before
	// an endpoint is bypassed. A client may just have cancelled the first one, and an
	// upstream may have been restarting. The upstream's failures count only in a row.
	maxFailures = 2
	// firstPause is how long an endpoint is bypassed before interception is tried again.
	// Each failed try doubles the pause, up to longestPause.
	firstPause   = 10 * time.Minute
	longestPause = 24 * time.Hour
)

// history is what the bypass list knows about an endpoint.
type history struct {
	pass  Outcome       // why the endpoint is or was bypassed; "" if it never was
	until time.Time     // end of the bypass; zero: it has no end
	pause time.Duration // length of the last bypass

	clientFailures   int  // handshakes with clients that failed for an unknown reason
	upstreamFailures int  // handshakes with the upstream that failed, in a row
	open             int  // open intercepted connections
	trusted          bool // a client has accepted a certificate for the endpoint
	unverified       bool // a bad upstream certificate was reported
	clientUnfit      bool // a client that can't use our certificate was reported
	late             bool // the upstream asked for a client certificate in the middle of a connection; not reported yet
}

// reason returns why the endpoint is bypassed now; "" if it is not.
func (h *history) reason() Outcome {
	if h.until.IsZero() || time.Now().Before(h.until) {
		return h.pass
	}
	return ""
}

// bypass bypasses the endpoint, forever or for a pause. It returns true if the
// reason is new.
func (h *history) bypass(why Outcome, forever bool) bool {
	first := h.pass != why
	switch {
	case forever:
		h.until = time.Time{}
	case h.reason() == "":
		h.pause = min(max(2*h.pause, firstPause), longestPause)
		h.until = time.Now().Add(h.pause)
	default: // the connection began before the bypass
		return false
	}
	h.pass = why
	return first
}

// bypassList remembers the endpoints, each a name and a port, that interception would break.
// When it is full, it forgets entries at random, and new connections find them again.
type bypassList struct {
	mu        sync.Mutex
	endpoints map[string]*history
}

func (l *bypassList) of(endpoint string) *history {
	h := l.endpoints[endpoint]
	if h == nil {
		if l.endpoints == nil {
			l.endpoints = map[string]*history{}
		}
		for old := range l.endpoints {
			if len(l.endpoints) < maxEndpoints {
				break
			}
			delete(l.endpoints, old)
		}
		h = &history{}
		l.endpoints[endpoint] = h
	}
	return h
}

// reason returns why an endpoint is bypassed; "" if it is not.
func (l *bypassList) reason(endpoint string) Outcome {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.endpoints[endpoint]; h != nil {
		return h.reason()
	}
	return ""
}

// clientFailed records that a client did not accept the certificate. It returns true
// if that newly bypasses the endpoint. Distrust bypasses it forever, because another
// try would fail, too. Silence does not count once a client has accepted a certificate
// or while another connection is open: a client that opens several connections at the same
// time closes those that it does not need.
func (l *bypassList) clientFailed(endpoint string, v verdict) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.of(endpoint)
	if v == silence && (h.trusted || h.open > 0) {
		return false
	}
	if h.clientFailures++; v != distrust && h.clientFailures < maxFailures {
		return false
	}
	return h.bypass(PassedDistrust, v == distrust)
}

// opened records that a client's connection to an endpoint is intercepted.
func (l *bypassList) opened(endpoint string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.of(endpoint).open++
}

// closed records that an intercepted connection has ended.
func (l *bypassList) closed(endpoint string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.endpoints[endpoint]; h != nil && h.open > 0 { // the list may have forgotten it meanwhile
		h.open--
	}
}

// wantsClientCert records that the upstream asks for a client certificate and none is
// configured. It returns true if that is new.
func (l *bypassList) wantsClientCert(endpoint string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of(endpoint).bypass(PassedClientCert, false)
}

// wantsClientCertLate records the same of an upstream that asks in the middle of a
// connection.
func (l *bypassList) wantsClientCertLate(endpoint string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.of(endpoint)
	h.late = h.bypass(PassedClientCert, false) || h.late
}

// reportLate returns true once after wantsClientCertLate.
func (l *bypassList) reportLate(endpoint string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.endpoints[endpoint]
	if h == nil || !h.late {
		return false
	}
	h.late = false
	return true
}

// upstreamFailed records that the handshake with the upstream failed. It returns true
// if that newly bypasses the endpoint.
func (l *bypassList) upstreamFailed(endpoint string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.of(endpoint)
	h.upstreamFailures++
	return h.upstreamFailures >= maxFailures && h.bypass(PassedUpstreamTLS, false)
}

// upstreamSucceeded records that the handshake with the upstream succeeded.
func (l *bypassList) upstreamSucceeded(endpoint string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.endpoints[endpoint]; h != nil {
		h.upstreamFailures = 0
		if h.pass == PassedUpstreamTLS || h.pass == PassedClientCert {
			h.pause = 0 // the next bypass is a short one again
		}
	}
}

// clientTrusted records that a client accepted the certificate.
func (l *bypassList) clientTrusted(endpoint string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.of(endpoint)
	h.trusted, h.unverified = true, false
	if h.reason() == "" {
		h.pause = 0 // the next bypass is a short one again
	}
}

// unverified records that the upstream's certificate could not be verified. It returns
// true if that is new.
func (l *bypassList) unverified(endpoint string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.of(endpoint)
	first := !h.unverified
	h.unverified = true
	return first
}

// clientUnfit records that a client can't use a certificate for the endpoint; other
// clients may. It returns true if that is new.
func (l *bypassList) clientUnfit(endpoint string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.of(endpoint)
	first := !h.clientUnfit
	h.clientUnfit = true
	return first
}
