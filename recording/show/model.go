package show

import (
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// Options bound what is shown. The zero value has the defaults.
type Options struct {
	// MaxBody is how many bytes of a body are decoded and shown; 0: 1 MiB.
	MaxBody int
	// MaxMessage is the same for each message of a conversation; 0: 64 KiB.
	MaxMessage int
	// MaxFields is how many fields of a message are shown; 0: 1000.
	MaxFields int
	// MaxValue is how many bytes of a field's value, or of a name, are shown; 0: 8 KiB.
	MaxValue int
	// MaxJoined is how many bytes a WebSocket's messages may have together when they are joined and
	// decompressed, beside those that the recording has, and how many a stream of events may have;
	// 0: 32 MiB.
	MaxJoined int64
}

// Exchange is what there is to say about one exchange. All its texts have passed [clean.Text].
type Exchange struct {
	// Title names it in a line, such as `POST /orders` or `tcp db:3306`.
	Title string
	UUID  recording.UUID
	// Direction and Protocol are the recording's, Address is whom the client asked.
	Direction, Protocol, Address string
	// Facts say what else it is, where and when: `workload`, `cart`.
	Facts []Fact
	// Notes say in words what is missing, cut or replaced.
	Notes []string
	// Request is nil if the recording has none of HTTP, Response if no answer was seen.
	Request, Response *Message
	// Conversation is nil for plain HTTP, unless the answer is a stream of events. Then the answer's
	// body has no text.
	Conversation *Conversation
	// Timings say where the time went.
	Timings Timings
	Tags    []Tag
	// Parent is the inbound exchange that caused this one, Conversation's first part and Tunnel's
	// CONNECT are others that it belongs to.
	Parent recording.Parent
	// FirstPart is the first part of the conversation of which this is one, Tunnel the CONNECT in
	// which this was said; zero if there is none.
	FirstPart, Tunnel recording.UUID
	// Peer is who asked, PeerBy how that is known; "" for an outbound exchange.
	Peer, PeerBy string
	// Trace are the fields of the request that name its trace.
	Trace []Fact
	// Network says between which addresses the connection was; nil if that isn't known.
	Network []Fact
	// Extra are members that other tools wrote.
	Extra []Part
}

// Fact is a name and a value.
type Fact struct{ Name, Value string }

// Tag is a tag with what it means, which is "" for a tag that Tapedeck doesn't write.
type Tag struct{ Name, Value, Doc string }

// Message is a request or an answer of HTTP.
type Message struct {
	// Line is the request line or the status line.
	Line string
	// Query is that of the request's URL, decoded. QueryLeft counts further ones.
	Query     []Field
	QueryLeft int
	// Fields are in the order of the recording, trailers last.
	Fields []Field
	// FieldsLeft counts further fields, which are not in Fields.
	FieldsLeft int
	// Body is nil if there is none.
	Body *Body
}

// Field is a header or a trailer, or a field of a query or of a form.
type Field struct {
	Name, Value string
	// Trailer means that it came behind the body.
	Trailer bool
	// Redacted means that redaction replaced the value or a part of it.
	Redacted bool
	// More is how many bytes of the value are not shown.
	More int64
}

// Kind is what a body was recognised as.
type Kind string

// Kinds of bodies.
const (
	JSON      Kind = "JSON"
	JSONLines Kind = "JSON lines"
	GraphQL   Kind = "GraphQL"
	XML       Kind = "XML"
	HTML      Kind = "HTML"
	Form      Kind = "form"
	Multipart Kind = "multipart"
	Events    Kind = "events"
	GRPC      Kind = "gRPC messages"
	Protobuf  Kind = "protobuf"
	Text      Kind = "text"
	Image     Kind = "image"
	Binary    Kind = "binary"
)

// Body is a body, a message of a conversation, or a part of either. Depending on its kind it has
// Text, Fields or Parts; a template shows those that are not empty, in this order.
type Body struct {
	Kind Kind
	// Type is the Content-Type, "" if there is none.
	Type string
	// Codings are the content codings that were undone, in the order in which they were applied.
	Codings []string
	// Size is how many bytes were sent, Stored how many of them are in the recording, and Decoded
	// how many are left to show without the codings, as far as they were undone.
	Size, Stored, Decoded int64
	// Notes say what is cut, or why a body isn't shown as what its type says.
	Notes []string
	// Text is preformatted, of several lines. Hex tells that it is a dump.
	Text string
	Hex  bool
	// Fields are those of a form.
	Fields []Field
	// Parts are those of a multipart body, events, messages, or a query and its variables.
	Parts []Part
	// More is how many bytes, and MoreParts how many parts or fields, are not shown. Unknown tells
	// that More is not known, as the rest was not decoded, and is more than 0.
	More      int64
	MoreParts int
	Unknown   bool
}

// Part is a body within a body.
type Part struct {
	// Title says what it is, such as `variables` or `message 2`.
	Title  string
	Fields []Field
	// Body is nil if it has none.
	Body *Body
}

// Conversation is a list of messages.
type Conversation struct {
	// Kind is a protocol, [recording.GRPC], [recording.WebSocket] or [recording.TCP], or `events`.
	Kind string
	// What is the word for one of Total: `message`, `frame` where a WebSocket's frames could not be joined,
	// `piece` of a stream, or `event`.
	What  string
	Total int
	// Part and Last are the recording's: whether it is whole.
	Part int
	Last bool
	// ClientBytes and ServerBytes count what each side sent, kept or not.
	ClientBytes, ServerBytes int64
	// Notes say what is not shown.
	Notes []string

	list []recording.Message
	o    Options
	of   *recording.Exchange

	stream []byte // of events
	events []span
	cut    bool // the end of the stream is missing
}

// span is where an event is in a stream, and when it came; -1: that is not known.
type span struct {
	from, to int
	at       time.Duration
}

// Said is one message of a conversation.
type Said struct {
	// Number counts from 1.
	Number int
	// From is [recording.Client] or [recording.Server]; else what the recording has.
	From string
	// At is the time from the start of the exchange; -1 if it is not known.
	At time.Duration
	// Type is a WebSocket's opcode, or an event's type.
	Type string
	// Fields are those of an event beside its data.
	Fields []Field
	// Body is never nil. Its size is 0 if the message is empty.
	Body *Body
}

// Timings are the parts of an exchange's time.
type Timings struct {
	Start time.Time
	Total time.Duration
	// Phases are in order, and none if the recording doesn't know them.
	Phases []Phase
}

// Phase is a bar.
type Phase struct {
	// Name is `request sent`, `waiting` or `answer received`.
	Name string
	// Start is the time from the start of the exchange.
	Start, Length time.Duration
	// From and Width are in thousandths of the total; together they are 1000 at most.
	From, Width int
}
