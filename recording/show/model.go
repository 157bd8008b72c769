package show

import (
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// Options limit what is shown. Zero values mean the defaults.
type Options struct {
	// MaxBody is how many bytes of a body are decoded and shown. The default is 1 MiB.
	MaxBody int
	// MaxMessage is how many bytes of each message of a conversation are decoded and shown. The default is
	// 64 KiB.
	MaxMessage int
	// MaxFields is how many fields of a message are shown. The default is 1000.
	MaxFields int
	// MaxValue is how many bytes of a field's value, or of a name, are shown. The default is 8 KiB.
	MaxValue int
	// MaxJoined is how many bytes the joined and decompressed messages of a WebSocket may have together,
	// in addition to those in the recording, and how many bytes a stream of events may have. The default is
	// 32 MiB.
	MaxJoined int64
}

// Exchange is the model of one exchange. All its texts have passed [clean.Text].
type Exchange struct {
	// Title names the exchange in one line, such as `POST /orders` or `tcp db:3306`.
	Title string
	UUID  recording.UUID
	// Direction and Protocol are as in the recording. Address is the host that the client requested.
	Direction, Protocol, Address string
	// Facts are further properties, such as `workload`, `cart`.
	Facts []Fact
	// Notes say what is missing, cut or replaced.
	Notes []string
	// Request is nil if the recording has no HTTP request, Response if it has no answer.
	Request, Response *Message
	// Conversation is nil for plain HTTP, unless the answer is a stream of events. Then the answer's
	// body has no text.
	Conversation *Conversation
	// Timings divides the exchange's time into phases.
	Timings Timings
	Tags    []Tag
	// Parent is the inbound exchange that caused this one.
	Parent recording.Parent
	// FirstPart is the first part of the conversation that this exchange is part of. Tunnel is the CONNECT
	// exchange whose tunnel this one used. Each is zero if there is none.
	FirstPart, Tunnel recording.UUID
	// Peer is the client, and PeerBy the evidence for it. Both are "" for an outbound exchange.
	Peer, PeerBy string
	// Trace has the fields of the request that name its trace.
	Trace []Fact
	// Network has the addresses of the connection; nil if they aren't known.
	Network []Fact
	// Extra has the members that other tools added.
	Extra []Part
}

// Fact is a name and a value.
type Fact struct{ Name, Value string }

// Tag is a tag with its meaning, which is "" for a tag that Tapedeck doesn't write.
type Tag struct{ Name, Value, Doc string }

// Message is an HTTP request or answer.
type Message struct {
	// Line is the request line or the status line.
	Line string
	// Query has the decoded parameters of the request's URL. QueryLeft counts further ones.
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
	// Trailer means that the field came after the body.
	Trailer bool
	// Redacted means that redaction replaced the value or part of it.
	Redacted bool
	// More is how many bytes of the value are not shown.
	More int64
}

// Kind is the recognised format of a body.
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

// Body is a body, a message of a conversation, or a part of either. Depending on its kind, it has Text,
// Fields or Parts. A template shows those that are not empty, in this order.
type Body struct {
	Kind Kind
	// Type is the Content-Type, or "" if there is none.
	Type string
	// Codings are the content codings that were decoded, in the order in which they were applied.
	Codings []string
	// Size is how many bytes were sent, Stored how many of them are in the recording, and Decoded how
	// many bytes there are after decoding the codings, as far as that was possible.
	Size, Stored, Decoded int64
	// Notes say what is cut, or why a body isn't shown in the format that its type names.
	Notes []string
	// Text is preformatted, with several lines. Hex means that it is a dump.
	Text string
	Hex  bool
	// Fields are the fields of a form.
	Fields []Field
	// Parts are the parts of a multipart body, events, messages, or a query and its variables.
	Parts []Part
	// More is how many bytes, and MoreParts how many parts or fields, are not shown. Unknown means that
	// there are more bytes, but that their number isn't known, because they were not decoded.
	More      int64
	MoreParts int
	Unknown   bool
}

// Part is a body in another body.
type Part struct {
	// Title names the part, such as `variables` or `message 2`.
	Title  string
	Fields []Field
	// Body is nil if the part has none.
	Body *Body
}

// Conversation is a list of messages.
type Conversation struct {
	// Kind is a protocol, [recording.GRPC], [recording.WebSocket] or [recording.TCP], or `events`.
	Kind string
	// What is the unit of Total: `message`, `frame` if a WebSocket's frames could not be joined, `piece`
	// for a stream, or `event`.
	What  string
	Total int
	// Part and Last are as in the recording. They show whether the conversation is whole.
	Part int
	Last bool
	// ClientBytes and ServerBytes count all bytes that each side sent, recorded or not.
	ClientBytes, ServerBytes int64
	// Notes say what is not shown.
	Notes []string

	list []recording.Message
	o    Options
	of   *recording.Exchange

	stream []byte // a stream of events
	events []span
	cut    bool // whether the end of the stream is missing
}

// span is the place of an event in a stream, and the time at which it arrived, or -1 if that isn't known.
type span struct {
	from, to int
	at       time.Duration
}

// Said is one message of a conversation.
type Said struct {
	// Number is the message's number, from 1.
	Number int
	// From is [recording.Client] or [recording.Server], or whatever else the recording has.
	From string
	// At is the time from the start of the exchange, or -1 if it is not known.
	At time.Duration
	// Type is a WebSocket's opcode, or an event's type.
	Type string
	// Fields are the fields of an event other than its data.
	Fields []Field
	// Body is never nil. Its size is 0 if the message is empty.
	Body *Body
}

// Timings are the parts of an exchange's time.
type Timings struct {
	Start time.Time
	Total time.Duration
	// Phases are in order. There are none if the recording doesn't have them.
	Phases []Phase
}

// Phase is a part of the time, shown as a bar.
type Phase struct {
	// Name is `request sent`, `waiting` or `answer received`.
	Name string
	// Start is the time from the start of the exchange.
	Start, Length time.Duration
	// From and Width are in thousandths of the total. Together they are at most 1000.
	From, Width int
}
