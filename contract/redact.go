package contract

import (
	"fmt"
	"strings"
)

// Redaction says what to redact in addition to secrets.
type Redaction struct {
	// Emails and Phones redact mail addresses, and phone numbers that begin with a plus sign.
	Emails, Phones bool
	// DropGRPC drops the bytes of gRPC messages. Their sizes are kept.
	DropGRPC bool
}

// RedactionAllowed completes the sentence "allowed: …" for the text of a [Redaction].
const RedactionAllowed = "email, phone, grpc, or several of them, separated by commas"

// ParseRedaction reads TAPEDECK_REDACT, or the option redact. The error names the unknown word. The
// caller adds the allowed words.
func ParseRedaction(text string) (r Redaction, err error) {
	for _, word := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' || c == ' ' }) {
		switch word {
		case "email":
			r.Emails = true
		case "phone":
			r.Phones = true
		case "grpc":
			r.DropGRPC = true
		default:
			return Redaction{}, fmt.Errorf("unknown word %q", word)
		}
	}
	return r, nil
}
