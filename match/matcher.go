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
	// Redact replaces secrets of an exchange by tokens, in place. It is applied to
	// recorded exchanges and to live ones, so both sides show equal secrets as equal
	// tokens, and nothing that is compared or shown has a secret in it. Nil: exchanges
	// are compared as they are. It must be safe for concurrent use.
	Redact func(*recording.Exchange)
	// Rules of the user; nil: there are none.
	Rules *rules.Set
	// Descriptors is a serialized google.protobuf.FileDescriptorSet. Messages of the gRPC
	// services in it are compared by it, those of others by the wire format.
	Descriptors []byte
}

// Matcher compares requests and responses. It is safe for concurrent use. Requests are
// only comparable with those of the same Matcher.
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
