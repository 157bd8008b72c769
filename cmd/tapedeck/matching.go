package main

import (
	"crypto/rand"
	"fmt"
	"os"

	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/match/rules"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/redact"
)

// matchFlags say how mock and replay compare exchanges.
type matchFlags struct {
	rules, descriptors, redactKey string
}

func (f *matchFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.rules, "rules", "", "`file` with rules for the comparison; see docs/matching.md")
	fs.StringVar(&f.descriptors, "descriptors", "", "`file` with a FileDescriptorSet, for comparing gRPC messages")
	fs.StringVar(&f.redactKey, "redact-key", "", "`file` with the key that redacted the recording; without it, redacted values are not compared")
}

// matcher returns the matcher, the function that redacts exchanges for it, and the function that
// makes the token of a secret.
func (f *matchFlags) matcher(key redactKey) (*match.Matcher, func(*recording.Exchange), func(string) string, error) {
	redacts := redact.New(recording.Discard{}, redact.Options{Key: key.bytes})
	o := match.Options{Redact: func(e *recording.Exchange) { _ = redacts.Write(e) }} // the writer discards it
	if f.rules != "" {
		text, err := os.ReadFile(f.rules)
		if err == nil {
			o.Rules, err = rules.Parse(f.rules, text)
		}
		if err != nil {
			return nil, nil, nil, fmt.Errorf("--rules: %w", err)
		}
	}
	if f.descriptors != "" {
		var err error
		if o.Descriptors, err = os.ReadFile(f.descriptors); err != nil {
			return nil, nil, nil, fmt.Errorf("--descriptors: %w", err)
		}
	}
	m, err := match.New(o)
	if err != nil {
		return nil, nil, nil, fmt.Errorf("--descriptors: %w", err)
	}
	return m, o.Redact, redact.NewTokens(key.bytes).Of, nil
}

// redactKey is a key for redaction.
type redactKey struct {
	bytes []byte
	given bool // by the user; else it is random
}

// key reads the key for redaction. Without --redact-key it is random.
func (f *matchFlags) key() (k redactKey, err error) {
	if f.redactKey == "" {
		k.bytes = make([]byte, 32)
		_, _ = rand.Read(k.bytes) // never fails
		return k, nil
	}
	text, err := os.ReadFile(f.redactKey)
	if err != nil {
		return k, fmt.Errorf("--redact-key: %w", err)
	}
	if k.bytes, err = contract.ParseRedactKey(text); err != nil {
		return k, fmt.Errorf("--redact-key %s: %w", f.redactKey, err)
	}
	k.given = true
	return k, nil
}

// checkKeys returns an error if the user gave a key that is not the recording's. With another
// key, no redacted value would match.
func checkKeys(r *read.Report, key redactKey) error {
	if !key.given {
		return nil
	}
	id := contract.RedactKeyID(key.bytes)
	for _, c := range r.Tally.Last() {
		if c.RedactKey != "" && c.RedactKey != id {
			return fmt.Errorf("--redact-key has the ID %s, but the recording was redacted with the key %s: give that key, or none", id, c.RedactKey)
		}
	}
	return nil
}
