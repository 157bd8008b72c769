// Package fault decides which answers of the mock fail, and how.
//
// A rule is a [contract.FaultRule], such as PATTERN:rate=1/10,delay=200ms,status=503. Of every
// ten answers that the pattern matches, exactly one fails. A seed decides which, so that a
// run can be repeated. [Set.Next] returns an [Effect], which the mock carries out. The
// package counts how often each rule fired, because a test whose faults never fired has
// tested nothing.
//
// It imports package contract and the standard library.
package fault

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

// Effect says how to change one answer. The zero value changes nothing.
type Effect struct {
	// Rules are the rules that caused the effect, as written.
	Rules []string
	// Delay is the time to wait before the answer begins.
	Delay time.Duration
	// Status replaces the HTTP status, and GRPC the status of a gRPC call. The answer then has
	// no body. 0 and "" keep the recorded status.
	Status int
	GRPC   string
	// Header lists the names and values of headers to set.
	Header [][2]string
	// Truncate says how much of the body is sent, framed as the whole body.
	Truncate Truncation
	// Corrupt is the seed for changing bytes of the body. 0 changes none.
	Corrupt uint64
	// Throttle limits the bytes of the body per second. 0 means no limit.
	Throttle int64
	// End is how the connection ends.
	End End
}

// Truncation says where to cut a body.
type Truncation struct {
	On bool
	// Bytes is how many bytes to send. If negative, half of the body is sent.
	Bytes int64
}

// Of returns how many bytes of a body are sent.
func (t Truncation) Of(size int64) int64 {
	switch {
	case !t.On:
		return size
	case t.Bytes < 0:
		return size / 2
	}
	return min(size, t.Bytes)
}

// End is how a connection ends.
type End int

// Ways to end a connection.
const (
	Normal End = iota
	// Refuse refuses the connection. If it exists already, it is reset.
	Refuse
	// Reset resets the connection before the answer.
	Reset
	// Stall sends no answer, and keeps the connection open.
	Stall
	// Drop closes the connection in the middle of the body.
	Drop
)

// Injects reports whether the effect changes anything.
func (e Effect) Injects() bool { return len(e.Rules) > 0 }

// ends maps the words of the rule grammar.
var ends = map[string]End{"refuse": Refuse, "reset": Reset, "stall": Stall, "drop": Drop}

// apply adds a fault to the effect. draw returns random numbers.
func apply(f contract.Fault, e *Effect, draw *rand.Rand) {
	switch f.Name {
	case "delay":
		e.Delay += f.Duration
	case "jitter":
		e.Delay += time.Duration(draw.Int64N(int64(f.Duration) + 1))
	case "status":
		if f.GRPC != "" {
			e.GRPC = f.GRPC
		} else {
			e.Status = f.Status
		}
	case "header":
		e.Header = append(e.Header, f.Header)
	case "connection":
		e.End = ends[f.Word]
	case "body":
		if f.Word == "corrupt" {
			e.Corrupt = draw.Uint64() | 1
		} else {
			e.Truncate = Truncation{true, f.Bytes}
		}
	case "throttle":
		e.Throttle = f.Bytes
	}
}

// rule is one rule.
type rule struct {
	contract.FaultRule
	text   string
	number uint64 // of the rule, in the set

	mu      sync.Mutex
	matched int64
	fired   int64
	drawn   map[int]bool // positions in the current block
}

// Set is a set of rules. It is safe for concurrent use. A nil Set has no rules.
type Set struct {
	seed  uint64
	rules []*rule
}

// New parses rules, each PATTERN:NAME=VALUE[,NAME=VALUE…]. The seed decides which answers
// fail.
func New(seed uint64, texts []string) (*Set, error) {
	s := &Set{seed: seed}
	for i, text := range texts {
		r, err := contract.ParseFault(text)
		if err != nil {
			return nil, fmt.Errorf("fault %q: %w; want %s", text, err, contract.FaultForm())
		}
		s.rules = append(s.rules, &rule{FaultRule: r, text: text, number: uint64(i)})
	}
	return s, nil
}

// Anew returns a new set of the same rules with all counts at 0.
func (s *Set) Anew() *Set {
	if s == nil {
		return nil
	}
	anew := &Set{seed: s.seed}
	for _, r := range s.rules {
		anew.rules = append(anew.rules, &rule{FaultRule: r.FaultRule, text: r.text, number: r.number})
	}
	return anew
}

// Next returns the effect on the next answer to a request. target is METHOD
// scheme://host[:port]/path. All rules that match and fire have an effect; where they
// conflict, the last one wins. tunnel is the target that was passed to [Set.Refuses] for the
// request's connection, or "" if it was not called.
func (s *Set) Next(target, tunnel string) (e Effect) {
	if s == nil {
		return e
	}
	for _, r := range s.rules {
		if !r.Pattern.MatchString(target) || tunnel != "" && r.decides(tunnel) {
			continue
		}
		number, fires := r.next(s.seed)
		if !fires {
			continue
		}
		e.Rules = append(e.Rules, r.text)
		draw := rand.New(rand.NewPCG(s.seed^r.number<<32, uint64(number)))
		for _, f := range r.Faults {
			apply(f, &e, draw)
		}
	}
	return e
}

// Refuses decides whether a connection is refused, before its first request. target is
// CONNECT host:port. The effect has no other fault.
func (s *Set) Refuses(target string) (e Effect) {
	if s == nil {
		return e
	}
	for _, r := range s.rules {
		if !r.decides(target) {
			continue
		}
		if _, fires := r.next(s.seed); fires {
			e.Rules, e.End = append(e.Rules, r.text), Refuse
		}
	}
	return e
}

// decides reports whether the rule applies to connections rather than answers.
func (r *rule) decides(target string) bool {
	refuses := slices.ContainsFunc(r.Faults, func(f contract.Fault) bool { return f.Word == "refuse" })
	return refuses && r.Pattern.MatchString(target)
}

// next counts a match and reports whether it fires. In each block of matches the same number
// fires, drawn without replacement (Floyd's algorithm).
func (r *rule) next(seed uint64) (number int64, fires bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	number = r.matched
	r.matched++
	at := int(number % int64(r.Block))
	if at == 0 && r.Hits < r.Block {
		h := fnv.New64a()
		fmt.Fprint(h, r.number, number/int64(r.Block))
		draw := rand.New(rand.NewPCG(seed, h.Sum64()))
		r.drawn = make(map[int]bool, r.Hits)
		for j := r.Block - r.Hits; j < r.Block; j++ {
			if t := draw.IntN(j + 1); r.drawn[t] {
				r.drawn[j] = true
			} else {
				r.drawn[t] = true
			}
		}
	}
	if fires = r.Hits == r.Block || r.drawn[at]; fires {
		r.fired++
	}
	return number, fires
}

// Count says how often a rule matched and fired.
type Count struct {
	Rule    string `json:"rule"`
	Matched int64  `json:"matched"`
	Fired   int64  `json:"fired"`
}

// Counts returns the counts of all rules, in the order of the rules.
func (s *Set) Counts() (all []Count) {
	if s == nil {
		return nil
	}
	for _, r := range s.rules {
		r.mu.Lock()
		all = append(all, Count{r.text, r.matched, r.fired})
		r.mu.Unlock()
	}
	return all
}
