package ship

import (
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

// fate is what becomes of a segment after an attempt.
type fate uint8

const (
	fateStored   fate = iota // it is stored, now or before
	fateRetried              // the collector may take it soon
	fateKept                 // the collector takes nothing until somebody mends something
	fateHeld                 // the collector does not take this one until then
	fateSetAside             // it will never be taken
	fateGone                 // it is not there any more: it made room for others
)

// String says what a fate means, for the page on the sidecar.
func (f fate) String() string {
	return [...]string{
		fateStored:   "is removed",
		fateRetried:  "is sent again, after a minute at most",
		fateKept:     "is sent again, after five minutes at most, and so are the others",
		fateHeld:     "is sent again after five minutes at most, the others as before",
		fateSetAside: "is set aside",
		fateGone:     "is gone",
	}[f]
}

// verdict is the outcome of an attempt.
type verdict struct {
	fate   fate
	reason string // "" if it is stored or gone
	err    error
	after  time.Duration // for how long the collector asks to be left alone
}

// fateOf returns what a refusal means for the segment.
func fateOf(r contract.Refusal) fate {
	switch {
	case r.Fate == contract.SetAside:
		return fateSetAside
	case r.Code == contract.RefusedOtherBytes: // the others are not concerned
		return fateHeld
	case r.Fate == contract.Kept:
		return fateKept
	}
	return fateRetried
}

// Reasons beside the codes of [contract.Refusals].
const (
	reasonUnreachable = "unreachable"
	reasonSlow        = "slow"
	reasonAnswer      = "unexpected_answer"
	reasonSpool       = "spool_failed"
)

// Reason is why a segment was not stored.
type Reason struct {
	// Code names it, in the metrics and in the log.
	Code string
	// Then is what becomes of the segment: the end of a sentence that begins with it.
	Then string
	// Doc says what it means, and what to do.
	Doc string
}

// Reasons lists them, in the order in which they are documented: the sidecar's own, and then
// the collector's.
func Reasons() []Reason {
	all := []Reason{
		{reasonUnreachable, fateRetried.String(), "No connection, or one that broke. Check the collector's pods, its Service, and what must let the sidecar through: NetworkPolicy, AuthorizationPolicy, egress rules."},
		{reasonSlow, fateRetried.String(), "No answer in time: 3 minutes, and 1 s more for each 64 KiB. Check the collector's load and its store."},
		{reasonAnswer, fateRetried.String(), "What answered is no collector: a proxy, Envoy on behalf of a collector that is down, or another server at that address."},
		{reasonSpool, fateHeld.String(), "The pod's directory can't be read or written."},
	}
	for _, r := range contract.Refusals() {
		all = append(all, Reason{r.Code, fateOf(r).String(), r.Doc})
	}
	return all
}

// remedy says what a reason means, and what to do.
func remedy(code string) string {
	for _, r := range Reasons() {
		if r.Code == code {
			return r.Doc
		}
	}
	return ""
}
