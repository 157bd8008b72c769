package mock

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/recording"
)

// faultSets holds the current fault rules and, for the receipt, the earlier ones.
type faultSets struct {
	now atomic.Pointer[fault.Set]

	mu       sync.Mutex
	all      []*fault.Set
	injected []Injection
}

// Injection is a fault that was injected.
type Injection struct {
	At time.Time `json:"at"`
	// Rules are the rules that fired, as written.
	Rules []string `json:"rules"`
	// Request is what the rules were matched against, such as `GET https://api.example.com/v1`.
	Request string `json:"request"`
	// RefUUID is the UUID of the recorded exchange. A refused connection has none.
	RefUUID string `json:"refUuid,omitempty"`
}

// maxInjections bounds the faults that are listed. Further ones are only counted.
const maxInjections = 1000

// SetFaults replaces the fault rules; nil removes them. The receipt keeps the counts of the earlier
// rules.
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

// counts returns the counts of all rules, current and former ones.
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

// inject lists and logs an injected fault. ref is the recorded exchange.
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
