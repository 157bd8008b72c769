package mock

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/contract"
)

// Verdict is the result of a request, in the terms of the ecosystem's tools.
type Verdict string

// Verdicts.
const (
	Hit    Verdict = "HIT"
	Missed Verdict = "MISS"
	Passed Verdict = "PASSTHROUGH"
)

// Count counts the verdicts for one path of a host.
type Count struct {
	Host string `json:"host"`
	Path string `json:"path"`
	// Hit counts requests that were answered, and Masked those among them in which a volatile
	// value was masked.
	Hit         int64 `json:"hit,omitempty"`
	Masked      int64 `json:"masked,omitempty"`
	Missed      int64 `json:"missed,omitempty"`
	Passthrough int64 `json:"passthrough,omitempty"`
}

// tally counts verdicts by host and path.
type tally struct {
	mu sync.RWMutex
	by map[string]*counter // by host, a zero byte, and path
}

type counter struct{ hit, masked, missed, passed atomic.Int64 }

// maxEndpoints bounds the paths that are counted separately.
const maxEndpoints = 2000

// others is the path that counts all further paths.
const others = "(others)\x00"

// add counts a verdict.
func (t *tally) add(host, path string, v Verdict, masked bool) {
	if len(host) > maxHost {
		host = "(no host)"
	}
	var room [256]byte
	c := t.of(appendShape(append(append(room[:0], host...), 0), path))
	switch v {
	case Hit:
		if c.hit.Add(1); masked {
			c.masked.Add(1)
		}
	case Missed:
		c.missed.Add(1)
	case Passed:
		c.passed.Add(1)
	}
}

func (t *tally) of(endpoint []byte) *counter {
	t.mu.RLock()
	c := t.by[string(endpoint)]
	t.mu.RUnlock()
	if c != nil {
		return c
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	name := string(endpoint)
	if len(t.by) >= maxEndpoints {
		name = others
	}
	if c = t.by[name]; c == nil {
		c = new(counter)
		if t.by == nil {
			t.by = map[string]*counter{}
		}
		t.by[name] = c
	}
	return c
}

// counts returns all counts, sorted by host and path, and their sum.
func (t *tally) counts() (all []Count, sum Count) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for name, c := range t.by {
		host, path, _ := strings.Cut(name, "\x00")
		n := Count{host, path, c.hit.Load(), c.masked.Load(), c.missed.Load(), c.passed.Load()}
		all = append(all, n)
		sum.Hit, sum.Masked, sum.Missed, sum.Passthrough = sum.Hit+n.Hit, sum.Masked+n.Masked, sum.Missed+n.Missed, sum.Passthrough+n.Passthrough
	}
	slices.SortFunc(all, func(a, b Count) int { return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.Path, b.Path)) })
	return all, sum
}

// shape returns a path with stars for the segments that look like values, so that all paths of a
// resource count as one.
func shape(path string) string { return string(appendShape(nil, path)) }

func appendShape(dst []byte, path string) []byte {
	for n := 0; ; n++ {
		segment, rest, more := strings.Cut(path, "/")
		switch {
		case n == maxSegments:
			return append(dst, "…"...)
		case len(segment) > maxSegment, isValue(segment):
			dst = append(dst, '*')
		default:
			dst = append(dst, segment...)
		}
		if !more {
			return dst
		}
		dst, path = append(dst, '/'), rest
	}
}

// isValue reports whether a segment is a value and not a name: it has a digit or an @, and is not a
// version.
func isValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; '0' <= c && c <= '9' || c == '@' {
			return !isVersion(s)
		}
	}
	return false
}

const (
	maxHost     = contract.MaxHostName + len(":65535")
	maxSegment  = 64
	maxSegments = 12
)

// isVersion reports whether a segment is a version, such as v1 or v2beta1.
func isVersion(s string) bool {
	return len(s) >= 2 && len(s) <= 8 && s[0] == 'v' && '0' <= s[1] && s[1] <= '9'
}
