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

// End returns the time from TS to the last byte, in whole milliseconds: not less than 0,
// and not more than a Duration holds.
func (e *Exchange) End() time.Duration {
	return time.Duration(min(max(e.Duration, 0), math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// Moment is when a body went on after a pause.
type Moment struct {
	// Offset is how many bytes of the body had come before.
	Offset int64
	// At is the time from TS.
	At time.Duration
}

// Pace returns when the answer's body went on after pauses, in order. It is nil if
// there were none, or if they are not known.
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

// maxPace bounds what Pace believes.
const maxPace = 24 * time.Hour

// IsEvents tells by the value of Content-Type whether a body is a stream of events, which
// may go on as long as the client listens.
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
	// Reset: one side gave the stream up.
	Reset = "reset"
	// BytesLost: the tap dropped bytes.
	BytesLost = "bytes_lost"
	// HeadersLost: names of fields were in a header block that was lost.
	HeadersLost = "headers_lost"
	// Malformed: bytes that followed could not be parsed.
	Malformed = "malformed"
	// NoMemory: what followed could not be put together for want of memory.
	NoMemory = "no_memory"
	// PartsMissing: parts of the conversation are not in the recording, or were read
	// too late to be put together.
	PartsMissing = "parts_missing"
)

// Incomplete returns why a part of the exchange is missing, "" if none is. What a
// limit cut off is not missing in this sense: see [Exchange.Truncated].
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

// Conversation returns the messages, whatever the protocol; nil if there are none to
// be had, as of plain HTTP.
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

// Tunnel returns the UUID of the CONNECT that opened the tunnel in which this was said,
// and whether there is one.
func (e *Exchange) Tunnel() (UUID, bool) { return e.uuid(TagTunnel) }

func (e *Exchange) uuid(tag string) (UUID, bool) {
	text := e.Tags.Get(tag)
	if text == "" {
		return UUID{}, false
	}
	u, err := ParseUUID(text)
	return u, err == nil
}

// ParentKind tells how much is known of what caused an exchange.
type ParentKind string

// Kinds of parents.
const (
	// ParentNone: nothing was looked for, as of an inbound exchange.
	ParentNone ParentKind = ""
	// ParentKnown: one inbound exchange.
	ParentKnown ParentKind = "known"
	// ParentUnknown: none was found.
	ParentUnknown ParentKind = "unknown"
	// ParentAmbiguous: several inbound exchanges may have.
	ParentAmbiguous ParentKind = "ambiguous"
)

// Parent is the inbound exchange that caused an outbound one.
type Parent struct {
	Kind ParentKind
	// UUID is the exchange's, and By the header by which it was found, if it is known.
	UUID UUID
	By   string
}

// Parent returns what caused the exchange.
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

// Replay returns the ID of the run of a replay that sent the request, or the one that
// caused it; "" for traffic of others.
func (e *Exchange) Replay() string { return e.Tags.Get(TagReplay) }

// Peer returns who asked, and how that is known; both are "" for an outbound exchange.
func (e *Exchange) Peer() (who, by string) { return e.Tags.Get(TagPeer), e.Tags.Get(TagPeerBy) }

// Pod returns the name of the pod, "" if it is unknown.
func (e *Exchange) Pod() string { return e.Tags.Get(TagPodName) }

// Sequence returns the record's number in its process, from 1, and whether it has one.
func (e *Exchange) Sequence() (uint64, bool) {
	n, err := strconv.ParseUint(e.Tags.Get(TagSequence), 10, 64)
	return n, err == nil
}

// Host returns whom the client asked: HTTP's host, else the host and port, else the
// port alone.
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

// IsSafe reports whether a method of HTTP only reads: those of RFC 9110, section 9.2.1, and
// QUERY.
func IsSafe(method string) bool {
	switch method {
	case "GET", "HEAD", "OPTIONS", "TRACE", "QUERY":
		return true
	}
	return false
}
