// Package fault decides which answers of a responder are to fail, and how.
//
//	rule:  PATTERN:rate=1/10,delay=200ms,status=503
//	         │         │        └────────┴── faults, each a row of one table
//	         │         └── of each ten answers that the pattern matches, exactly one
//	         └── RE2, against METHOD scheme://host[:port]/path
//
// Which of the ten is drawn by a seed, so a run can be repeated. The package applies
// nothing itself: [Set.Next] returns an [Effect], which the responder carries out. It
// counts what it returned, and names the rules that never fired: a test whose faults
// never happened has tested nothing.
//
// The package imports the standard library.
package fault

import (
	"cmp"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Effect is what is to happen to one answer. The zero value changes nothing.
type Effect struct {
	// Rules are the texts of the rules that had a part in it.
	Rules []string
	// Delay is waited for before the answer begins.
	Delay time.Duration
	// Status replaces the HTTP status, and GRPC the status of a gRPC call; the answer
	// has no body then. 0 and "" leave it.
	Status int
	GRPC   string
	// Header is set in the answer, names with values.
	Header [][2]string
	// Truncate says how much of the body is left, framed as if it were all.
	Truncate Truncation
	// Corrupt is the seed by which bytes of the body are changed; 0 leaves it.
	Corrupt uint64
	// Throttle is how many bytes per second the body takes at most; 0: no limit.
	Throttle int64
	// End is how the connection ends.
	End End
}

// Truncation cuts a body.
type Truncation struct {
	On bool
	// Bytes are left, or half of the body if it is below 0.
	Bytes int64
}

// Of returns how many of a body's bytes are left.
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

// The ends.
const (
	Normal End = iota
	// Refuse: there is no connection. Where it exists already, it is reset.
	Refuse
	// Reset: it is reset before the answer.
	Reset
	// Stall: there is no answer, and the connection stays open.
	Stall
	// Drop: it is closed in the middle of the body.
	Drop
)

// Injects tells whether there is anything to do.
func (e Effect) Injects() bool { return len(e.Rules) > 0 }

// method is one fault: how its value is read, and what it does to an answer. apply is
// given numbers drawn for the answer.
type method struct {
	name  string
	value string // its form, for people
	doc   string
	parse func(value string) (apply func(e *Effect, draw *rand.Rand), err error)
}

// methods is the table of faults.
var methods = []method{
	{"delay", "DURATION", "waits before the answer begins", duration(func(d time.Duration, e *Effect, _ *rand.Rand) { e.Delay += d })},
	{"jitter", "DURATION", "waits for any time up to that, besides", duration(func(d time.Duration, e *Effect, draw *rand.Rand) { e.Delay += time.Duration(draw.Int64N(int64(d) + 1)) })},
	{"status", "CODE", "answers with an HTTP status (200 to 599), or a gRPC status by its name (UNAVAILABLE), and no body", parseStatus},
	{"header", "NAME:VALUE", "sets a header of the answer", parseHeader},
	{"connection", "refuse|reset|stall|drop", "refuses the connection, resets it before the answer, never answers, or closes in the middle of the body", parseEnd},
	{"body", "truncate[:BYTES]|corrupt", "leaves half of the body, or so many bytes, framed as the whole; or changes bytes of it", parseBody},
	{"throttle", "BYTES", "sends no more than that in a second", parseThrottle},
}

// aliases are the ecosystem's names.
var aliases = map[string]string{"latency": "delay"}

// Doc describes one name in a rule.
type Doc struct{ Name, Value, Doc string }

// Docs lists what a rule may say.
func Docs() []Doc {
	all := []Doc{{"rate", "F/N", "F of each N answers that match fail, drawn by `--seed`"}}
	for _, m := range methods {
		all = append(all, Doc{m.name, m.value, m.doc})
	}
	return all
}

func duration(apply func(time.Duration, *Effect, *rand.Rand)) func(string) (func(*Effect, *rand.Rand), error) {
	return func(value string) (func(*Effect, *rand.Rand), error) {
		d, err := time.ParseDuration(value)
		if err != nil || d <= 0 {
			return nil, errors.New("want a duration above zero, as 200ms")
		}
		return func(e *Effect, draw *rand.Rand) { apply(d, e, draw) }, nil
	}
}

// grpcCodes are gRPC's statuses but OK, in order from 1.
var grpcCodes = strings.Fields(`CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS
	PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL
	UNAVAILABLE DATA_LOSS UNAUTHENTICATED`)

func parseStatus(value string) (func(*Effect, *rand.Rand), error) {
	for i, name := range grpcCodes {
		if strings.EqualFold(name, value) {
			return func(e *Effect, _ *rand.Rand) { e.GRPC = strconv.Itoa(i + 1) }, nil
		}
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 200 || n > 599 {
		return nil, errors.New("want a status from 200 to 599, or the name of a gRPC status")
	}
	return func(e *Effect, _ *rand.Rand) { e.Status = n }, nil
}

// framing are headers that the server sets itself, so a rule for one would fire and do
// nothing.
var framing = []string{"Connection", "Content-Length", "Trailer", "Transfer-Encoding"}

func parseHeader(value string) (func(*Effect, *rand.Rand), error) {
	name, v, ok := strings.Cut(value, ":")
	if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) || strings.ContainsAny(v, "\r\n\x00") {
		return nil, errors.New("want NAME:VALUE")
	}
	if slices.ContainsFunc(framing, func(f string) bool { return strings.EqualFold(f, name) }) {
		return nil, fmt.Errorf("want NAME:VALUE, and another name than %s: they say how the answer is framed, which body=truncate and connection=drop break", strings.Join(framing, ", "))
	}
	return func(e *Effect, _ *rand.Rand) { e.Header = append(e.Header, [2]string{name, strings.TrimSpace(v)}) }, nil
}

func parseEnd(value string) (func(*Effect, *rand.Rand), error) {
	for end, name := range map[End]string{Refuse: "refuse", Reset: "reset", Stall: "stall", Drop: "drop"} {
		if name == value {
			return func(e *Effect, _ *rand.Rand) { e.End = end }, nil
		}
	}
	return nil, errors.New("want refuse, reset, stall or drop")
}

func parseBody(value string) (func(*Effect, *rand.Rand), error) {
	what, size, sized := strings.Cut(value, ":")
	switch {
	case what == "corrupt" && !sized:
		return func(e *Effect, draw *rand.Rand) { e.Corrupt = draw.Uint64() | 1 }, nil
	case what == "truncate" && !sized:
		return func(e *Effect, _ *rand.Rand) { e.Truncate = Truncation{true, -1} }, nil
	case what == "truncate":
		n, err := strconv.ParseUint(size, 10, 62)
		if err != nil {
			return nil, errors.New("want truncate:BYTES")
		}
		return func(e *Effect, _ *rand.Rand) { e.Truncate = Truncation{true, int64(n)} }, nil
	}
	return nil, errors.New("want truncate, truncate:BYTES or corrupt")
}

func parseThrottle(value string) (func(*Effect, *rand.Rand), error) {
	digits, unit := value, int64(1)
	for suffix, n := range map[string]int64{"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30} {
		if rest, ok := strings.CutSuffix(value, suffix); ok {
			digits, unit = rest, n
		}
	}
	n, err := strconv.ParseInt(digits, 10, 32)
	if err != nil || n <= 0 {
		return nil, errors.New("want bytes per second, as 1000 or 64Ki")
	}
	return func(e *Effect, _ *rand.Rand) { e.Throttle = n * unit }, nil
}

// rule is one rule.
type rule struct {
	text    string
	pattern *regexp.Regexp
	applies []func(*Effect, *rand.Rand)
	hits    int // of each block
	block   int
	refuses bool
	number  uint64 // of the rule, in the set

	mu      sync.Mutex
	matched int64
	fired   int64
	drawn   map[int]bool // positions in the current block
}

// maxBlock bounds N of a rate F/N.
const maxBlock = 10_000

// parse reads PATTERN:NAME=VALUE,…
func parse(text string) (*rule, error) {
	at := settings.FindStringIndex(text)
	if at == nil {
		return nil, errors.New("it names no fault")
	}
	pattern, err := regexp.Compile(text[:at[0]])
	if err != nil {
		return nil, fmt.Errorf("the pattern: %w", err)
	}
	r := &rule{text: text, pattern: pattern, hits: 1, block: 1}
	for setting := range strings.SplitSeq(text[at[0]+1:], ",") {
		name, value, ok := strings.Cut(setting, "=")
		if !ok {
			return nil, fmt.Errorf("%q is no NAME=VALUE", setting)
		}
		if name == "rate" {
			if r.hits, r.block, err = parseRate(value); err != nil {
				return nil, fmt.Errorf("rate=%s: %w", value, err)
			}
			continue
		}
		m := find(name)
		if m == nil {
			return nil, fmt.Errorf("there is no fault %q", name)
		}
		apply, err := m.parse(value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", setting, err)
		}
		r.applies = append(r.applies, apply)
		r.refuses = r.refuses || setting == "connection=refuse"
	}
	if len(r.applies) == 0 {
		return nil, errors.New("it names a rate and no fault")
	}
	return r, nil
}

// settings is where the pattern ends and a setting begins.
var settings = func() *regexp.Regexp {
	names := []string{"rate"}
	for _, m := range methods {
		names = append(names, m.name)
	}
	for alias := range aliases {
		names = append(names, alias)
	}
	return regexp.MustCompile(`:(` + strings.Join(names, "|") + `)=`)
}()

func find(name string) *method {
	name = cmp.Or(aliases[name], name)
	for i := range methods {
		if methods[i].name == name {
			return &methods[i]
		}
	}
	return nil
}

func parseRate(value string) (hits, block int, err error) {
	f, n, ok := strings.Cut(value, "/")
	hits, err1 := strconv.Atoi(f)
	block, err2 := strconv.Atoi(n)
	if !ok || errors.Join(err1, err2) != nil || hits < 1 || block < hits || block > maxBlock {
		return 0, 0, fmt.Errorf("want F/N with F from 1 to N, and N up to %d", maxBlock)
	}
	return hits, block, nil
}

// Set is a set of rules. It is safe for concurrent use; nil has none.
type Set struct {
	seed  uint64
	rules []*rule
}

// New reads rules, each PATTERN:NAME=VALUE[,NAME=VALUE…]. The seed draws which answers
// fail.
func New(seed uint64, texts []string) (*Set, error) {
	s := &Set{seed: seed}
	for i, text := range texts {
		r, err := parse(text)
		if err != nil {
			return nil, fmt.Errorf("fault %q: %w; want PATTERN:NAME=VALUE[,NAME=VALUE], as '/v1/charges:rate=1/10,status=503', with the faults %s", text, err, names())
		}
		r.number = uint64(i)
		s.rules = append(s.rules, r)
	}
	return s, nil
}

func names() string {
	var all []string
	for _, m := range methods {
		all = append(all, m.name+"="+m.value)
	}
	return strings.Join(append(all, "rate=F/N"), ", ")
}

// Anew returns a set of the same rules, none of which has been asked yet.
func (s *Set) Anew() *Set {
	if s == nil {
		return nil
	}
	anew := &Set{seed: s.seed}
	for _, r := range s.rules {
		anew.rules = append(anew.rules, &rule{text: r.text, pattern: r.pattern, applies: r.applies, hits: r.hits, block: r.block, refuses: r.refuses, number: r.number})
	}
	return anew
}

// Next decides about the next answer to a request: target is METHOD
// scheme://host[:port]/path. All rules that match and fire have an effect, the last one
// wins where they contradict each other. tunnel is what [Set.Refuses] was asked about
// when the request's connection was made, "" if it was not.
func (s *Set) Next(target, tunnel string) (e Effect) {
	if s == nil {
		return e
	}
	for _, r := range s.rules {
		if !r.pattern.MatchString(target) || tunnel != "" && r.decides(tunnel) {
			continue
		}
		number, fires := r.next(s.seed)
		if !fires {
			continue
		}
		e.Rules = append(e.Rules, r.text)
		draw := rand.New(rand.NewPCG(s.seed^r.number<<32, uint64(number)))
		for _, apply := range r.applies {
			apply(&e, draw)
		}
	}
	return e
}

// Refuses decides whether a connection is refused, before there is a request: target is
// CONNECT host:port. The effect has no faults but that.
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

// decides tells whether the rule decides about a connection itself.
func (r *rule) decides(target string) bool { return r.refuses && r.pattern.MatchString(target) }

// next counts a match and tells whether it is one that fires. Of each block of matches
// exactly so many are, drawn without replacement (Floyd's algorithm).
func (r *rule) next(seed uint64) (number int64, fires bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	number = r.matched
	r.matched++
	at := int(number % int64(r.block))
	if at == 0 && r.hits < r.block {
		h := fnv.New64a()
		fmt.Fprint(h, r.number, number/int64(r.block))
		draw := rand.New(rand.NewPCG(seed, h.Sum64()))
		r.drawn = make(map[int]bool, r.hits)
		for j := r.block - r.hits; j < r.block; j++ {
			if t := draw.IntN(j + 1); r.drawn[t] {
				r.drawn[j] = true
			} else {
				r.drawn[t] = true
			}
		}
	}
	if fires = r.hits == r.block || r.drawn[at]; fires {
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

// Counts returns the counts of all rules, in their order.
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
