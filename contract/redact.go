package contract

import (
	"fmt"
	"strings"
)

// Redaction says what is redacted besides secrets.
type Redaction struct {
	// Emails and Phones redact mail addresses, and phone numbers that begin with a plus sign.
	Emails, Phones bool
	// DropGRPC leaves out the bytes of gRPC messages. Their sizes stay.
	DropGRPC bool
}

// RedactionAllowed completes the sentence "allowed: …" for the text of a [Redaction].
const RedactionAllowed = "email, phone, grpc, or several of them, separated by commas"

// ParseRedaction reads what TAPEDECK_REDACT, or the option redact, asks for. The error names
// the word that it does not know; the caller adds what is allowed.
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
