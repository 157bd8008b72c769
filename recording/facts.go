package recording

import (
	"math"
	"mime"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// RequestEnd returns the time from TS to the request's last byte, and whether it is
// known.
func (e *Exchange) RequestEnd() (time.Duration, bool) { return e.micros(TagRequestEnd) }

// ResponseStart returns the time from TS to the answer's first byte, and whether it
// is known.
func (e *Exchange) ResponseStart() (time.Duration, bool) { return e.micros(TagResponseStart) }

// End returns the time from TS to the last byte, in whole milliseconds: at least 0, and at
// most what a Duration holds.
func (e *Exchange) End() time.Duration {
	return time.Duration(min(max(e.Duration, 0), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// Moment is the end of a pause in a body.
type Moment struct {
	// Offset is the number of bytes of the body before the pause.
	Offset int64
	// At is the time from TS.
	At time.Duration
}

// Pace returns the pauses in the answer's body, in order. It returns nil if there were none, or if
// they are not known.
func (e *Exchange) Pace() (all []Moment) {
	text := e.Tags.Get(TagPace)
	for len(text) > 0 {
		var mark string
		mark, text, _ = strings.Cut(text, ",")
		offset, at, _ := strings.Cut(mark, ":")
		n, err := strconv.ParseInt(offset, 10, 64)
		us, err2 := strconv.ParseInt(at, 10, 64)
		m := Moment{n, time.Duration(us) * time.Microsecond}
		if last := len(all) - 1; err != nil || err2 != nil || n < 0 || us < 0 || us > int64(maxPace/time.Microsecond) ||
			last >= 0 && (m.Offset < all[last].Offset || m.At < all[last].At) {
			return nil
		}
		all = append(all, m)
	}
	return all
}

// maxPace is the longest time that Pace accepts.
const maxPace = 24 * time.Hour

// IsEvents reports whether a Content-Type is that of an event stream, which may last as long as the
// client listens.
func IsEvents(contentType string) bool {
	kind, _, _ := mime.ParseMediaType(contentType)
	return slices.Contains(eventTypes[:], kind)
}

var eventTypes = [...]string{"text/event-stream", "application/x-ndjson", "application/stream+json", "application/jsonl", "multipart/x-mixed-replace"}

// Ended returns when the last byte was seen.
func (e *Exchange) Ended() time.Time { return e.TS.Add(e.End()) }

func (e *Exchange) micros(tag string) (time.Duration, bool) {
	n, err := strconv.ParseInt(e.Tags.Get(tag), 10, 64)
	if err != nil || n < 0 {
		return 0, false
	}
	return time.Duration(n) * time.Microsecond, true
}

// Reasons for which an exchange is incomplete.
const (
	// NoAnswer: the connection ended without an answer.
	NoAnswer = "no_answer"
	// CutOff: the connection ended in the middle of the request or of the answer.
	CutOff = "cut"
	// Reset: one side cancelled the stream.
	Reset = "reset"
	// BytesLost: the tap dropped bytes.
	BytesLost = "bytes_lost"
	// HeadersLost: names of fields were in a header block that was lost.
	HeadersLost = "headers_lost"
	// Malformed: the bytes that followed could not be parsed.
	Malformed = "malformed"
	// NoMemory: no memory was left to assemble the bytes that followed.
	NoMemory = "no_memory"
	// PartsMissing: parts of the conversation are not in the recording, or were read
	// too late to be joined.
	PartsMissing = "parts_missing"
)

// Incomplete returns why a part of the exchange is missing, or "". It does not count parts that
// a limit cut off: see [Exchange.Truncated].
func (e *Exchange) Incomplete() string { return e.Tags.Get(TagIncomplete) }

// Truncated reports whether a limit cut a body or a message, or left content out.
func (e *Exchange) Truncated() bool { return e.Tags.Get(TagTruncated) != "" }

// Complete reports whether the recording holds all of the exchange: nothing is missing,
// nothing was cut, all of it was decoded, and the conversation, if it is one, is whole.
func (e *Exchange) Complete() bool {
	if e.Incomplete() != "" || e.Truncated() || e.Tags.Get(TagUndecoded) != "" {
		return false
	}
	c := e.Conversation()
	return c == nil || c.Part == 1 && c.Last
}

// Conversation returns the messages in any of the protocols; nil if there are none, as in plain
// HTTP.
func (e *Exchange) Conversation() *Conversation {
	for _, c := range [...]*Conversation{e.GRPC, e.WebSocket, e.TCP} {
		if c != nil {
			return c
		}
	}
	return nil
}

// ConversationID returns the UUID of part 1 of the conversation, and whether this is
// one of several parts.
func (e *Exchange) ConversationID() (UUID, bool) { return e.uuid(TagConversation) }

// Tunnel returns the UUID of the CONNECT that opened the tunnel of this exchange, and whether
// there is one.
func (e *Exchange) Tunnel() (UUID, bool) { return e.uuid(TagTunnel) }

func (e *Exchange) uuid(tag string) (UUID, bool) {
	text := e.Tags.Get(tag)
	if text == "" {
		return UUID{}, false
	}
	u, err := ParseUUID(text)
	return u, err == nil
}

// ParentKind says how much is known about the cause of an exchange.
type ParentKind string

// Kinds of parents.
const (
	// ParentNone: the exchange has no parent tag, such as an inbound one.
	ParentNone ParentKind = ""
	// ParentKnown: one inbound exchange.
	ParentKnown ParentKind = "known"
	// ParentUnknown: none was found.
	ParentUnknown ParentKind = "unknown"
	// ParentAmbiguous: several inbound exchanges may be the cause.
	ParentAmbiguous ParentKind = "ambiguous"
)

// Parent is the inbound exchange that caused an outbound one.
type Parent struct {
	Kind ParentKind
	// UUID identifies the parent, and By names the header by which it was found, if known.
	UUID UUID
	By   string
}

// Parent returns the cause of the exchange.
func (e *Exchange) Parent() Parent {
	text, by := e.Tags.Get(TagParent), e.Tags.Get(TagParentBy)
	switch {
	case text == "":
		return Parent{}
	case by == "" && text == string(ParentAmbiguous):
		return Parent{Kind: ParentAmbiguous}
	}
	if u, err := ParseUUID(text); err == nil {
		return Parent{ParentKnown, u, by}
	}
	return Parent{Kind: ParentUnknown}
}

// Replay returns the ID of the replay run that sent the request or caused it; "" for other traffic.
func (e *Exchange) Replay() string { return e.Tags.Get(TagReplay) }

// Peer returns the caller, and how it is known; both are "" for an outbound exchange.
func (e *Exchange) Peer() (who, by string) { return e.Tags.Get(TagPeer), e.Tags.Get(TagPeerBy) }

// Pod returns the name of the pod, "" if it is unknown.
func (e *Exchange) Pod() string { return e.Tags.Get(TagPodName) }

// Sequence returns the record's number in its process, from 1, and whether the record has one.
func (e *Exchange) Sequence() (uint64, bool) {
	n, err := strconv.ParseUint(e.Tags.Get(TagSequence), 10, 64)
	return n, err == nil
}

// Host returns the server that the client asked for: the HTTP host, otherwise host and port,
// otherwise the port alone.
func (e *Exchange) Host() string {
	if e.HTTP != nil && e.HTTP.Req.Host != "" {
		return e.HTTP.Req.Host
	}
	if host, port, err := net.SplitHostPort(e.NetworkAddress); err == nil && host == "" {
		return port
	}
	return e.NetworkAddress
}

// Sizes returns how many bytes of payload each side sent, kept or not.
func (e *Exchange) Sizes() (client, server int64) {
	if c := e.Conversation(); c != nil {
		return c.ClientBytes, c.ServerBytes
	}
	return e.Request().Size(), e.Response().Size()
}

// IsSafe reports whether an HTTP method only reads: those of RFC 9110, section 9.2.1, and QUERY.
func IsSafe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "QUERY":
		return true
	}
	return false
}
