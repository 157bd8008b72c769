package mock

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/recording"
)

// faultSets are the rules for faults: those that hold, and those that held before.
type faultSets struct {
	now atomic.Pointer[fault.Set]

	mu       sync.Mutex
	all      []*fault.Set
	injected []Injection
}

// Injection is a fault that was injected.
type Injection struct {
	At time.Time `json:"at"`
	// Rules are those that fired.
	Rules []string `json:"rules"`
	// Request is what they were asked about, as `GET https://api.example.com/v1`.
	Request string `json:"request"`
	// RefUUID is that of the recorded exchange; of a refused connection there is none.
	RefUUID string `json:"refUuid,omitempty"`
}

// maxInjections bounds how many are listed; all are counted.
const maxInjections = 1000

// SetFaults has other rules for faults hold from now on; nil: none. Counts of those before
// stay in the receipt.
func (m *Mock) SetFaults(s *fault.Set) {
	m.changing.Lock()
	defer m.changing.Unlock()
	m.now.Load().faults.set(s)
}

func (f *faultSets) set(s *fault.Set) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if s != nil {
		f.all = append(f.all, s)
	}
	f.now.Store(s)
}

func (f *faultSets) current() *fault.Set { return f.now.Load() }

// counts are those of all rules, whether they still hold or not.
func (f *faultSets) counts() (all []fault.Count) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, s := range f.all {
		all = append(all, s.Counts()...)
	}
	return all
}

func (f *faultSets) list() []Injection {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]Injection(nil), f.injected...)
}

// inject notes that a fault is injected. ref is the recorded exchange.
func (s *state) inject(e fault.Effect, target string, ref recording.UUID) {
	i := Injection{At: time.Now().UTC(), Rules: e.Rules, Request: target}
	if ref != (recording.UUID{}) {
		i.RefUUID = ref.String()
	}
	s.faults.mu.Lock()
	if len(s.faults.injected) < maxInjections {
		s.faults.injected = append(s.faults.injected, i)
	}
	s.faults.mu.Unlock()
	s.log.Info("fault", "rules", strings.Join(e.Rules, " | "), "request", target)
}
