package match

// Ref is where the caller finds a recorded exchange again: an offset, a number. The
// index keeps it and never looks at it.
type Ref uint64

// Entry is the number of an exchange in an index: its position in the recorded
// order, from 0.
type Entry uint32

// How says by which step of a lookup recorded requests were found.
type How uint8

const (
	None   How = iota // nothing in the recording is the same request
	Exact             // the canonical forms agree
	Bound             // they agree once bound values are put back
	Masked            // they agree except at places that are masked
)

// String gives the name that explanations and metrics use.
func (h How) String() string { return [...]string{"none", "exact", "bound", "masked"}[h] }

// Result is what a lookup found.
type Result struct {
	// How the entries were found.
	How How
	// Sequence identifies the entries: two results of one index with the same
	// Sequence have the same Entries. A caller that hands out repeated requests
	// in order keeps its cursor by it.
	Sequence uint64
	// Entries that answer, in recorded order. They belong to the index: do not
	// write to them.
	Entries []Entry
	// Masks are the places at which the live request was not compared as it
	// stands, and why. Set if How is Masked.
	Masks []Mask
}

// Mask is a place that was not compared as it stands.
type Mask struct {
	// Place, as `query:ts` or `body:$.id`.
	Place string `json:"place"`
	// Why it is masked.
	Why Reason `json:"why"`
	// Class of the value, as `uuid`; empty if the reason is none of value classes.
	Class string `json:"class,omitempty"`
	// Rule that masks it, if the reason is a rule.
	Rule string `json:"rule,omitempty"`
}

// Reason says why a place is masked.
type Reason string

const (
	ByRepeats   Reason = "repeats"   // the recording shows that responses do not depend on it
	ByClass     Reason = "class"     // a value that a client makes anew for each request
	ByRedaction Reason = "redaction" // it was redacted, under a key that nobody here has
	ByRule      Reason = "rule"      // a rule says so
	ByProtocol  Reason = "protocol"  // the protocol has a fresh value there, as JSON-RPC's id
)

// Group is a part of a result's entries whose requests are equal.
type Group struct {
	// Entries of equal requests, in recorded order.
	Entries []Entry
}

// Bindings maps live values back to recorded ones, in one session: a caller that
// answered a masked request knows that each masked live value stands for the
// recorded one. Recorded returns the value that the recording has instead of the
// live one.
type Bindings interface {
	Recorded(live string) (recorded string, ok bool)
}

// Binding is one pair of values that stand for each other, and where they were seen.
type Binding struct {
	Place    string `json:"place"`
	Class    string `json:"class,omitempty"`
	Recorded string `json:"recorded"`
	Live     string `json:"live"`
}
