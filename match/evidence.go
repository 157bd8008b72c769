package match

import (
	"sync"

	"github.com/tapedeck/tapedeck/match/class"
)

// minRepeats is how many repeats must differ at a place to be evidence about it. Repeats are
// requests of one endpoint that are equal except for values of the same classes.
const minRepeats = 3

// profile has the evidence about one place of one endpoint.
type profile struct {
	name string // of the place

	values  int32 // how often the place had a value of a class
	earlier int32 // how often that value had been seen before
	agree   int32 // groups of repeats with equal responses
	follow  int32 // groups of repeats whose responses followed the value
	differ  int32 // groups of repeats whose responses differed for any reason
	foreign int32 // how often the place had a token of another key

	inPath, once, reference, unnamed, reads, protocol bool
}

// Verdict is a row of the table that decides whether a place is masked.
type Verdict struct {
	Doc  string
	Mask bool
	Why  Reason

	holds func(p *profile, v class.Value) bool
}

// verdicts is that table. The first row that applies decides.
var verdicts = []Verdict{
	{"The protocol puts a fresh value there: the `id` of a JSON-RPC 2.0 call.", true, ByProtocol,
		func(p *profile, v class.Value) bool { return p.protocol }},
	{"The recording has a token there that was made under an unknown key.", true, ByRedaction,
		func(p *profile, v class.Value) bool { return p.foreign > 0 }},
	{"The responses follow the value: among repeats with the same value they are equal, among others they are not.", false, "",
		func(p *profile, v class.Value) bool { return p.follow > 0 }},
	{"An identifier of which more than half of the values had occurred in an earlier request or response: it refers to something.", false, "",
		func(p *profile, v class.Value) bool { return 2*p.earlier > p.values }},
	{"Three or more repeats with different values there all got the same answer, without an error. If the request only reads, this does not apply to the path or to a name that says what to read, such as `userId` or `cursor`.", true, ByRepeats,
		func(p *profile, v class.Value) bool {
			return p.agree > 0 && p.differ == 0 && !(p.reads && (p.inPath || p.reference))
		}},
	{"A JSON Web Token.", true, ByClass,
		func(p *profile, v class.Value) bool { return v.Class.Role() == class.Credential }},
	{"A time less than a month from the exchange's own. The live and the recorded time must be equally far from their exchanges, to the hour or, beyond about a day, to the day; the beginning and the end of a day must belong to the same day.", true, ByClass,
		func(p *profile, v class.Value) bool { return v.Class.Role() == class.Moment && v.Near }},
	{"A value whose name says that it is made for one request or signs it: `nonce`, `requestId`, `signature`. It may be redacted under a known key.", true, ByClass,
		func(p *profile, v class.Value) bool { return p.once && !p.inPath && 2*p.earlier <= p.values }},
	{"An identifier in the path.", false, "",
		func(p *profile, v class.Value) bool { return p.inPath }},
	{"An identifier that contains its time and was made less than ten minutes before or after the exchange.", true, ByClass,
		func(p *profile, v class.Value) bool { return v.Class.Role() == class.Minted && v.Near }},
	{"An identifier that contains its time and was made at another time.", false, "",
		func(p *profile, v class.Value) bool { return v.Class.Role() == class.Minted }},
	{"A random identifier in a request that only reads, if its name says what to read, such as `userId`, if its name is a number, or if responses differed.", false, "",
		func(p *profile, v class.Value) bool {
			return v.Class.Role() == class.Random && p.reads && (p.reference || p.unnamed || p.differ > 0)
		}},
	{"Any other random identifier.", true, ByClass,
		func(p *profile, v class.Value) bool { return v.Class.Role() == class.Random }},
	{"Everything else: words, short numbers, times long ago, secrets, and text that looks random and may identify something.", false, "",
		func(p *profile, v class.Value) bool { return true }},
}

// Verdicts returns the table.
func Verdicts() []Verdict { return verdicts }

func (p *profile) verdict(v class.Value) *Verdict {
	for i := range verdicts {
		if verdicts[i].holds(p, v) {
			return &verdicts[i]
		}
	}
	return nil
}

// sightings has the times at which identifiers were first seen, to find those that a client got
// from an earlier message. It keeps at most maxSightings: beyond that, it keeps every second
// identifier, then every fourth, and so on. The choice depends on the identifier alone.
type sightings struct {
	shards [64]sightingShard
}

type sightingShard struct {
	mu   sync.Mutex
	skip uint64 // mask of bits that are set in a skipped identifier
	seen map[uint64]int64
}

const maxSightings = 1 << 21

// add records that a value was seen at a time.
func (s *sightings) add(value uint64, at int64) {
	shard := &s.shards[value>>58]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	if value&shard.skip != 0 {
		return
	}
	if shard.seen == nil {
		shard.seen = make(map[uint64]int64)
	}
	if first, ok := shard.seen[value]; !ok || at < first {
		shard.seen[value] = at
	}
	for len(shard.seen) > maxSightings/64 {
		shard.skip = shard.skip<<1 | 1
		for v := range shard.seen {
			if v&shard.skip != 0 {
				delete(shard.seen, v)
			}
		}
	}
}

// before reports whether a value was seen before a time. known is false if the value was skipped.
func (s *sightings) before(value uint64, at int64) (seen, known bool) {
	shard := &s.shards[value>>58]
	if value&shard.skip != 0 {
		return false, false
	}
	first, ok := shard.seen[value]
	return ok && first < at, true
}
