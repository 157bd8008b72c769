package intercept

import "sync"

// maxNames bounds what is remembered; names come from the application.
const maxNames = 4096

// maxStrikes is how many handshakes with clients may fail for a reason that is
// not known, before it is taken for distrust: one may have been cancelled.
// As many times in a row an upstream may, before it is taken for one that can't
// be spoken to: it may have been restarted.
const maxStrikes = 2

// history is what is known of a name.
type history struct {
	pass    Outcome // let through untouched for this reason, "" if not
	strikes int     // handshakes with clients that failed for a reason that is not known
	missed  int     // handshakes with upstream, in a row, that broke off without a word
	trusted bool    // some client has accepted a certificate for it
	failed  bool    // its certificate was not good, and that was reported
	unfit   bool    // a client could not use a certificate for it, and that was reported
}

// memory remembers names. Those of which it knows too many are forgotten, in
// no order: they are found out again.
type memory struct {
	mu    sync.Mutex
	names map[string]*history
}

func (m *memory) of(name string) *history {
	h := m.names[name]
	if h == nil {
		for old := range m.names {
			if len(m.names) < maxNames {
				break
			}
			delete(m.names, old)
		}
		h = &history{}
		m.names[name] = h
	}
	return h
}

// passes returns why a name is let through, "" if it is not.
func (m *memory) passes(name string) Outcome {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.names[name]; h != nil {
		return h.pass
	}
	return ""
}

// pass lets a name through from now on, and reports whether that is new.
func (m *memory) pass(name string, why Outcome) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(name)
	first := h.pass == ""
	h.pass = why
	return first
}

// refused notes that a client did not take the certificate, and reports whether
// the name is let through from now on. A client that went away without a word
// says little once another has accepted the name: it may have hung up unused.
func (m *memory) refused(name string, v verdict) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(name)
	if v == silence && h.trusted {
		return false
	}
	if h.strikes++; v != distrust && h.strikes < maxStrikes {
		return false
	}
	first := h.pass == ""
	h.pass = PassedDistrust
	return first
}

// broke notes that the handshake with upstream broke off without a word, and
// reports whether that has happened too often.
func (m *memory) broke(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(name)
	h.missed++
	return h.missed >= maxStrikes
}

// answered notes that the handshake with upstream went well.
func (m *memory) answered(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if h := m.names[name]; h != nil {
		h.missed = 0
	}
}

// trusted notes that a client took the certificate.
func (m *memory) trusted(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(name)
	h.trusted, h.failed = true, false
}

// failed notes that a name's own certificate was not good, and reports whether
// that is new.
func (m *memory) failed(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(name)
	first := !h.failed
	h.failed = true
	return first
}

// unfit notes that a client could not use a certificate for a name, and reports
// whether that is new. Others may.
func (m *memory) unfit(name string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	h := m.of(name)
	first := !h.unfit
	h.unfit = true
	return first
}
