package match

import (
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/tapedeck/tapedeck/match/canon"
	"github.com/tapedeck/tapedeck/match/class"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// firstMessage returns the client's first message of a conversation, unless the server speaks
// first.
func firstMessage(c *recording.Conversation) (*recording.Message, bool) {
	if len(c.Messages) == 0 || c.Messages[0].From != recording.Client {
		return nil, false
	}
	return &c.Messages[0], true
}

// appendOpening appends the data that the client sends before the server sends any.
func appendOpening(dst []byte, c *recording.Conversation) []byte {
	if c == nil {
		return dst
	}
	for i := range c.Messages {
		if c.Messages[i].From != recording.Client {
			break
		}
		dst = append(dst, c.Messages[i].Data...)
	}
	return dst
}

// message decodes a gRPC message of the client, and returns its format.
func (m *Matcher) message(dst []byte, e *recording.Exchange, msg *recording.Message) ([]byte, canon.Format, canon.Params) {
	return m.grpc(dst, e, msg, e.HTTP.Req.Headers, protoreflect.MethodDescriptor.Input)
}

// answer decodes a gRPC message of the server, and returns its format.
func (m *Matcher) answer(e *recording.Exchange, msg *recording.Message) ([]byte, canon.Format, canon.Params) {
	return m.grpc(nil, e, msg, e.HTTP.Res.Headers, protoreflect.MethodDescriptor.Output)
}

func (m *Matcher) grpc(dst []byte, e *recording.Exchange, msg *recording.Message, h recording.Headers, of func(protoreflect.MethodDescriptor) protoreflect.MessageDescriptor) ([]byte, canon.Format, canon.Params) {
	if msg.Compressed {
		decoder := m.decoders.Get().(*coding.Decoder)
		body, err := decoder.Decode(dst, coding.Split(h.Get("Grpc-Encoding")), msg.Data, maxBody)
		m.decoders.Put(decoder)
		if err != nil {
			return append(dst[:0], msg.Data...), canon.Raw, canon.Params{}
		}
		dst = body
	} else {
		dst = append(dst, msg.Data...)
	}
	if strings.HasSuffix(e.HTTP.Req.Headers.Get("Content-Type"), "json") {
		return dst, canon.JSON, canon.Params{}
	}
	var p canon.Params
	service, method, _ := strings.Cut(strings.TrimPrefix(e.HTTP.Req.URL, "/"), "/")
	if d := m.method(service, method); d != nil {
		p.Message = of(d)
	}
	return dst, canon.Protobuf, p
}

// method returns the descriptor of a gRPC method; nil if there is none.
func (m *Matcher) method(service, method string) protoreflect.MethodDescriptor {
	if m.files == nil {
		return nil
	}
	d, err := m.files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil
	}
	s, ok := d.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil
	}
	return s.Methods().ByName(protoreflect.Name(method))
}

// Openings says how the conversations of an endpoint open. A server uses it to know when it can
// look one up.
type Openings struct {
	// Server means that, in some of them, the server spoke first or the client sent nothing. Look
	// these up with a request without messages.
	Server bool
	// Client means that some of them open with a message of the client. Look these up with that
	// message.
	Client bool
	// Lengths has the numbers of bytes that clients sent over TCP before the server sent any, in
	// ascending order. Look a conversation up when that many bytes have arrived.
	Lengths []int
}

// maxOpenings bounds the different lengths of an endpoint's openings.
const maxOpenings = 64

func (o *Openings) add(r *Request, e *recording.Exchange) {
	switch {
	case r.Protocol == recording.TCP:
		if n := len(r.body); n == 0 {
			o.Server = true
		} else if i, ok := slices.BinarySearch(o.Lengths, n); !ok && len(o.Lengths) < maxOpenings {
			o.Client = true
			o.Lengths = slices.Insert(o.Lengths, i, n)
		}
	case e.GRPC != nil:
		_, ok := firstMessage(e.GRPC)
		o.Client, o.Server = o.Client || ok, o.Server || !ok
	}
}

func (o *Openings) merge(p Openings) {
	o.Client, o.Server = o.Client || p.Client, o.Server || p.Server
	for _, n := range p.Lengths {
		if i, ok := slices.BinarySearch(o.Lengths, n); !ok && len(o.Lengths) < maxOpenings {
			o.Lengths = slices.Insert(o.Lengths, i, n)
		}
	}
}

// Openings returns how the recorded conversations of a request's endpoint open. The messages of
// the request don't matter. The result is zero if there are no such conversations.
func (x *Index) Openings(r *Request) Openings {
	if e := x.point(r); e != nil && e.openings != nil {
		return *e.openings
	}
	return Openings{}
}

// Side is one message of a conversation. Foreign means that its tokens were made under a key that
// Redact doesn't have.
type Side struct {
	Exchange *recording.Exchange
	Message  *recording.Message
	Foreign  bool
}

// SameMessage compares a live message with a recorded one, to follow a conversation after its
// opening. It returns [Exact], [Masked] or [None]. Repeats give no evidence about messages, so only
// classes, redaction and rules mask values. SameMessage does not change the exchanges; their
// messages must be redacted already.
func (m *Matcher) SameMessage(recorded, live Side) How {
	a, b := m.requests.Get().(*Request), m.requests.Get().(*Request)
	defer m.Release(a)
	defer m.Release(b)
	m.oneMessage(a, recorded)
	m.oneMessage(b, live)
	if a.k.sum == b.k.sum {
		return Exact
	}
	for _, p := range b.k.fired {
		p.Rule.Fire()
	}
	redacted := map[key]bool{} // masked places
	for i := range a.k.leaves {
		l := &a.k.leaves[i]
		if recorded.Foreign && l.whole {
			redacted[l.path] = true
		}
	}
	masked := func(r *Request) key {
		sum := r.k.sum
		for i := range r.k.leaves {
			l := &r.k.leaves[i]
			switch {
			case redacted[l.path]:
				sum = sum.minus(l.exact).plus(m.secret.any(l.path))
			case l.rule != nil, l.Class == class.Token && recorded.Foreign,
				l.Class != class.None && l.Class != class.Token && (&profile{values: 1, once: l.once}).verdict(l.Value).Mask:
				sum = sum.minus(l.exact).plus(l.mask)
			}
		}
		return sum
	}
	if masked(a) == masked(b) {
		return Masked
	}
	return None
}

// oneMessage fills r in from a message.
func (m *Matcher) oneMessage(r *Request, s Side) {
	*r = Request{TS: s.Exchange.TS.Add(time.Duration(s.Message.At) * time.Microsecond), k: r.k, scope: r.scope, Path: r.Path[:0], body: r.body[:0]}
	r.k.secret = m.secret
	r.k.reset(r.TS)
	r.head(s.Exchange)
	r.scope.Reset(m.rules, r.Method, r.Host, "/"+strings.Join(r.Path, "/"), false)
	switch {
	case s.Exchange.GRPC != nil:
		r.body, r.format, r.params = m.message(r.body, s.Exchange, s.Message)
	case s.Exchange.WebSocket != nil && !s.Message.Compressed:
		r.body = append(r.body, s.Message.Data...)
		r.format, r.params = canon.Detect("", r.body)
		r.k.sum = r.k.part("frame", s.Message.Type)
	default:
		r.body = append(r.body, s.Message.Data...)
	}
	r.walk()
}
