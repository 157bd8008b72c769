package match

import (
	"github.com/tapedeck/tapedeck/recording"
)

// Options say how a [Matcher] compares. The zero value compares without rules, without
// redaction and without descriptors.
type Options struct {
	// Redact replaces secrets of an exchange by tokens, in place. It is applied to
	// recorded exchanges and to live ones, so both sides show equal secrets as equal
	// tokens, and nothing that is compared or shown has a secret in it. Nil: exchanges
	// are compared as they are.
	Redact func(*recording.Exchange)
}
