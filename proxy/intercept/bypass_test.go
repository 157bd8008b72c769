package intercept

import (
	"testing"
	"testing/synctest"
	"time"
)

// An endpoint that is bypassed without a certain reason is tried again, and less often after each
// failure.
func TestWhatIsLetThroughIsTriedAgain(t *testing.T) {
	type step struct {
		after time.Duration
		what  func(*bypassList) bool
		first bool // the occasion to say so
		want  Outcome
	}
	silent := func(m *bypassList) bool { return m.clientFailed("example.test:443", silence) }
	alerts := func(m *bypassList) bool { return m.clientFailed("example.test:443", alerted) }
	refuses := func(m *bypassList) bool { return m.clientFailed("example.test:443", distrust) }
	breaks := func(m *bypassList) bool { return m.upstreamFailed("example.test:443") }
	mutual := func(m *bypassList) bool { return m.wantsClientCert("example.test:443") }
	answers := func(m *bypassList) bool { m.upstreamSucceeded("example.test:443"); return false }
	other := func(m *bypassList) bool { return m.upstreamFailed("example.test:8443") }
	waits := func(*bypassList) bool { return false }
	for name, steps := range map[string][]step{
		"an upstream that fails twice": {
			{0, breaks, false, ""},
			{time.Hour, breaks, true, PassedUpstreamTLS},
			{firstPause - 1, waits, false, PassedUpstreamTLS},
			{1, waits, false, ""},
			{0, breaks, false, PassedUpstreamTLS},
			{2*firstPause - 1, waits, false, PassedUpstreamTLS},
			{1, waits, false, ""},
		},
		"an upstream that recovers": {
			{0, breaks, false, ""},
			{0, answers, false, ""},
			{0, breaks, false, ""},
			{0, breaks, true, PassedUpstreamTLS},
			{firstPause, answers, false, ""},
			{0, breaks, false, ""},
		},
		"connections that fail at the same time": {
			{0, breaks, false, ""},
			{0, breaks, true, PassedUpstreamTLS},
			{0, breaks, false, PassedUpstreamTLS},
			{firstPause, waits, false, ""},
		},
		"an upstream that asks for a certificate": {
			{0, mutual, true, PassedClientCert},
			{firstPause, waits, false, ""},
			{0, mutual, false, PassedClientCert},
		},
		"clients that go away": {
			{0, silent, false, ""},
			{0, silent, true, PassedDistrust},
			{firstPause, waits, false, ""},
			{0, silent, false, PassedDistrust},
		},
		"clients that send alerts": {
			{0, alerts, false, ""},
			{0, alerts, true, PassedDistrust},
			{firstPause, waits, false, ""},
		},
		"a client that says why": {
			{0, refuses, true, PassedDistrust},
			{10 * longestPause, waits, false, PassedDistrust},
		},
		"a client that says why, after others went away": {
			{0, silent, false, ""},
			{0, silent, true, PassedDistrust},
			{0, refuses, false, PassedDistrust},
			{10 * longestPause, waits, false, PassedDistrust},
		},
		"another port of the host": {
			{0, other, false, ""},
			{0, other, true, ""},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &bypassList{endpoints: map[string]*history{}}
				for n, s := range steps {
					time.Sleep(s.after) // in the bubble, which takes no time
					if first := s.what(m); first != s.first {
						t.Errorf("step %d: first %v", n, first)
					}
					if got := m.reason("example.test:443"); got != s.want {
						t.Errorf("step %d: passes %q, want %q", n, got, s.want)
					}
				}
			})
		})
	}
}

func TestTriesGrowNoRarerThanOnceADay(t *testing.T) {
	var h history
	for range 100 {
		h.bypass(PassedUpstreamTLS, false)
		h.until = time.Now()
	}
	if h.pause != longestPause {
		t.Errorf("%v", h.pause)
	}
}

// An endpoint that works again loses its history: its next bypass begins with a short pause.
func TestATryThatWasNotInVainIsForgotten(t *testing.T) {
	m := &bypassList{endpoints: map[string]*history{}}
	for name, works := range map[string]func(string){"upstream": m.upstreamSucceeded, "a client": m.clientTrusted} {
		for range 3 {
			for range maxFailures {
				m.upstreamFailed(name)
			}
			h := m.endpoints[name]
			if h.pause != firstPause {
				t.Errorf("%s: let through for %v, want %v", name, h.pause, firstPause)
			}
			h.until = time.Now()
			m.upstreamSucceeded(name)
			works(name)
		}
	}
}
