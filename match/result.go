package match

// Ref is the caller's reference to a recorded exchange, such as an offset. The index keeps it and
// never interprets it.
type Ref uint64

// Entry is the number of an exchange in an index: its position in recorded order, from 0.
type Entry uint32

// How is the step of a lookup that found recorded requests.
type How uint8

const (
	None   How = iota // nothing in the recording is the same request
	Exact             // the canonical forms are equal
	Bound             // they are equal after bound values are replaced
	Masked            // they are equal except at masked places
)

// String returns the name that explanations and metrics use.
func (h How) String() string { return [...]string{"none", "exact", "bound", "masked"}[h] }

// Result is the result of a lookup.
type Result struct {
	// How is the step that found the entries.
	How How
	// Sequence identifies the entries: two results of one index with the same Sequence have the
	// same Entries. A caller that gives the answers in order can keep its position under this
	// number.
	Sequence uint64
	// Entries are the entries that were found, in recorded order. They belong to the index:
	// don't change them.
	Entries []Entry
	// Masks are the places of the live request that were masked, and why. They are set if How is
	// Masked.
	Masks []Mask
}

// Mask is a masked place.
type Mask struct {
	// Place is a place such as `query:ts` or `body:$.id`.
	Place string `json:"place"`
	// Why says why the place is masked.
	Why Reason `json:"why"`
	// Class is the class of the value, such as `uuid`; empty if the class is not the reason.
	Class string `json:"class,omitempty"`
	// Rule names the rule that masks it, if the reason is a rule.
	Rule string `json:"rule,omitempty"`
}

// Reason says why a place is masked.
type Reason string

const (
	ByRepeats   Reason = "repeats"   // the recording shows that responses do not depend on it
	ByClass     Reason = "class"     // a value that a client makes for each request
	ByRedaction Reason = "redaction" // it was redacted under an unknown key
	ByRule      Reason = "rule"      // a rule masks it
	ByProtocol  Reason = "protocol"  // the protocol has a fresh value there, such as JSON-RPC's id
)

// Group is a part of a result's entries whose requests are equal.
type Group struct {
	// Entries have equal requests, and are in recorded order.
	Entries []Entry
}

// Bindings maps the live values of one session to recorded ones. A caller that answered a masked
// request knows which recorded value each masked live value replaces. Recorded returns the recorded
// value for a live one.
type Bindings interface {
	Recorded(live string) (recorded string, ok bool)
}

// Binding is a recorded value and the live value that replaces it, with their place.
type Binding struct {
	Place    string `json:"place"`
	Class    string `json:"class,omitempty"`
	Recorded string `json:"recorded"`
	Live     string `json:"live"`
}
