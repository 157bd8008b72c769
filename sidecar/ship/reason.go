package ship

import (
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

// fate says what the shipper does with a segment after an attempt.
type fate uint8

const (
	fateStored   fate = iota // the collector has it, from this attempt or an earlier one
	fateRetried              // the collector may accept it soon
	fateKept                 // the collector accepts no segment until somebody fixes something
	fateHeld                 // the same, but only for this segment
	fateSetAside             // the collector will never accept it
	fateGone                 // its file was removed to make room for others
)

// String describes the fate for the page about the sidecar.
func (f fate) String() string {
	return [...]string{
		fateStored:   "is removed",
		fateRetried:  "is sent again, after a minute at most",
		fateKept:     "is sent again, after five minutes at most, and so are the others",
		fateHeld:     "is sent again, after five minutes at most; the others are not affected",
		fateSetAside: "is set aside",
		fateGone:     "is gone",
	}[f]
}

// verdict is the outcome of an attempt.
type verdict struct {
	fate   fate
	reason string // "" if the segment is stored or gone
	err    error
	after  time.Duration // the pause that the collector asks for
}

// fateOf returns the fate of a segment after a refusal.
func fateOf(r contract.Refusal) fate {
	switch {
	case r.Fate == contract.SetAside:
		return fateSetAside
	case r.Code == contract.RefusedOtherBytes: // it does not affect other segments
		return fateHeld
	case r.Fate == contract.Kept:
		return fateKept
	}
	return fateRetried
}

// The sidecar's own reasons, in addition to the codes of [contract.Refusals].
const (
	reasonUnreachable = "unreachable"
	reasonSlow        = "slow"
	reasonAnswer      = "unexpected_answer"
	reasonSpool       = "spool_failed"
)

// Reason is a reason why a segment was not stored.
type Reason struct {
	// Code is its name in the metrics and in the log.
	Code string
	// Then completes the sentence "The segment …" with what the sidecar does.
	Then string
	// Doc says what the reason means and what to do.
	Doc string
}

// Reasons lists all reasons, in the order in which they are documented: the sidecar's own, and
// then the collector's.
func Reasons() []Reason {
	all := []Reason{
		{reasonUnreachable, fateRetried.String(), "The sidecar can't connect, or the connection broke. Check the collector's pods, its Service, and the rules that must allow the connection: NetworkPolicy, AuthorizationPolicy, egress rules."},
		{reasonSlow, fateRetried.String(), "The collector did not answer within 3 minutes plus 1 s for each 64 KiB. Check its load and its store."},
		{reasonAnswer, fateRetried.String(), "The answer is not a collector's. It may be from a proxy, from Envoy for a collector that is down, or from another server at that address."},
		{reasonSpool, fateHeld.String(), "The pod's directory can't be read or written."},
	}
	for _, r := range contract.Refusals() {
		all = append(all, Reason{r.Code, fateOf(r).String(), r.Doc})
	}
	return all
}

// remedy returns the Doc of a reason.
func remedy(code string) string {
	for _, r := range Reasons() {
		if r.Code == code {
			return r.Doc
		}
	}
	return ""
}
