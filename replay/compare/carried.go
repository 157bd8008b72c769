package compare

import (
	"slices"
	"strings"
	"sync"

	"github.com/tapedeck/tapedeck/match"
)

// Carried maps the recorded values that answers issued to one session to the live values. It is
// safe for concurrent use. Secrets in it are redacted, as in a comparison.
type Carried struct {
	mu   sync.Mutex
	live map[string]string // by recorded value
}

// maxCarried bounds the values of a session.
const maxCarried = 10_000

// Add adds a pair of a recorded and a live value.
func (c *Carried) Add(recorded, live string) {
	if recorded == "" || live == "" || len(recorded) > match.MaxValue || len(live) > match.MaxValue {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == nil {
		c.live = map[string]string{}
	}
	if len(c.live) < maxCarried {
		c.live[recorded] = live
	}
}

// explain removes the differences that carried values explain. If a place should have a carried
// value but has another one, the difference becomes [CarriedChanged].
func (c *Carried) explain(d *match.Differences) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d.List = slices.DeleteFunc(d.List, func(one match.Difference) bool {
		return one.Kind == match.ValueChanged && c.stands(one.Recorded, one.Live)
	})
	for i := range d.List {
		one := &d.List[i]
		if _, ok := c.live[one.Recorded]; ok && one.Kind == match.ValueChanged {
			one.Kind = CarriedChanged
		}
	}
}

// stands reports whether live equals recorded after carried values are replaced by live ones.
func (c *Carried) stands(recorded, live string) bool {
	if v, ok := c.live[recorded]; ok {
		return v == live
	}
	for from, to := range c.live {
		if from != to && strings.Contains(recorded, from) && strings.ReplaceAll(recorded, from, to) == live {
			return true
		}
	}
	return false
}
