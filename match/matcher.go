package match

import (
	"fmt"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/tapedeck/tapedeck/match/rules"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// Options say how a [Matcher] compares. The zero value compares without rules, without
// redaction and without descriptors.
type Options struct {
	// Redact replaces the secrets of an exchange by tokens, in place; nil: nothing is redacted.
	// It is called for recorded and for live exchanges, so that equal secrets have equal tokens
	// on both sides, and no secret is compared or shown. It must be safe for concurrent use.
	Redact func(*recording.Exchange)
	// Rules are the user's rules; may be nil.
	Rules *rules.Set
	// Descriptors is a serialized google.protobuf.FileDescriptorSet. It describes the messages
	// of the gRPC services in it. Other messages are compared by their wire format.
	Descriptors []byte
}

// Matcher compares requests and responses. It is safe for concurrent use. Requests of different
// Matchers can't be compared.
type Matcher struct {
	secret   secret
	redact   func(*recording.Exchange)
	rules    *rules.Set
	files    *protoregistry.Files
	decoders sync.Pool
	requests sync.Pool
}

// New returns a matcher.
func New(o Options) (*Matcher, error) {
	m := &Matcher{secret: newSecret(), redact: o.Redact, rules: o.Rules}
	m.decoders.New = func() any { return new(coding.Decoder) }
	m.requests.New = func() any { return new(Request) }
	if len(o.Descriptors) == 0 {
		return m, nil
	}
	var set descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(o.Descriptors, &set); err != nil {
		return nil, fmt.Errorf("read descriptors: want a google.protobuf.FileDescriptorSet, as `protoc --descriptor_set_out --include_imports` writes it: %w", err)
	}
	files, err := protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(&set)
	if err != nil {
		return nil, fmt.Errorf("read descriptors: %w", err)
	}
	m.files = files
	return m, nil
}

// Rules returns the rules, with their counters.
func (m *Matcher) Rules() *rules.Set { return m.rules }
