package tape

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
)

// Kind is the protocol of an answer.
type Kind uint8

// Kinds of answers.
const (
	HTTP Kind = iota
	GRPC
	WebSocket
	TCP
)

// Answer is a recorded answer without the headers that describe its connection.
type Answer struct {
	Kind Kind
	// Status is the HTTP status, or 0 if there was no answer.
	Status int
	// Interim is the status of an interim answer before it, or 0 if there was none.
	Interim int
	// Header and Trailer are the fields before and after the body.
	Header, Trailer recording.Headers
	// Framing is how the body was framed.
	Framing recording.Framing
	// Length is the Content-Length of an answer without a body, such as to HEAD, or -1 if it had none.
	Length int64
	// Codings are the content codings of the body, outermost last.
	Codings []string
	// Asked is the compression of the client's messages in a gRPC call, or "" if there is none.
	Asked string
	// Negotiated reports whether the client accepted Codings.
	Negotiated bool
	// Wait is the time from the end of the request to the beginning of the answer, and Took the
	// time from there to its end. Pace says when the body continued after pauses, counted from
	// the beginning of the answer.
	Wait, Took time.Duration
	Pace       []recording.Moment
	// Lasted is the time of the whole exchange.
	Lasted time.Duration
	// Lacks says why the answer is incomplete, or is "" if it is complete.
	Lacks string
	// Echoes are headers of the request whose values the answer repeats.
	Echoes recording.Headers
	// TS is when the request arrived.
	TS time.Time
	// UUID is the UUID of the exchange.
	UUID recording.UUID
	// Size is the number of bytes in Body or Reader. It has no meaning for a conversation.
	Size int64
	// Body is nil if it is on disk; see Reader.
	Body []byte
	// Messages are the messages of a conversation, in order. After a read,
	// [Answer.Conversation] decodes them.
	Messages []recording.Message

	onDisk *io.SectionReader
}

// Reader returns the body, from its beginning.
func (a *Answer) Reader() io.Reader {
	if a.onDisk != nil {
		return io.NewSectionReader(a.onDisk, 0, a.Size)
	}
	return bytes.NewReader(a.Body)
}

// All reads the whole body.
func (a *Answer) All() ([]byte, error) {
	if a.onDisk == nil {
		return a.Body, nil
	}
	p := make([]byte, a.Size)
	if _, err := a.onDisk.ReadAt(p, 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read a recorded body: %w", err)
	}
	return p, nil
}

// unsaid lists headers that describe the recorded connection, or lead past the mock: with
// Alt-Svc a client would try HTTP/3 with the real server.
var unsaid = map[string]bool{
	"Connection": true, "Keep-Alive": true, "Proxy-Connection": true, "Transfer-Encoding": true, "Content-Length": true, "Trailer": true,
	"Upgrade": true, "Alt-Svc": true, "Sec-Websocket-Accept": true, recording.UnknownName: true,
}

// Of returns the answer of a recorded exchange. It shares the exchange's memory.
func Of(e *recording.Exchange) *Answer {
	a := &Answer{Length: -1, TS: e.TS, UUID: e.UUID, Lacks: lacks(e)}
	switch {
	case e.GRPC != nil:
		a.Kind, a.Messages = GRPC, e.GRPC.Messages
		if e.HTTP != nil {
			a.Asked = e.HTTP.Req.Headers.Get("Grpc-Encoding")
		}
	case e.WebSocket != nil:
		a.Kind, a.Messages = WebSocket, e.WebSocket.Messages
	case e.TCP != nil:
		a.Kind, a.Messages = TCP, e.TCP.Messages
	}
	a.times(e)
	if e.HTTP == nil {
		return a
	}
	half := e.Response()
	a.Status, a.Framing, a.Body = e.HTTP.Res.StatusCode, half.Framing(), half.Body
	a.Interim, _ = strconv.Atoi(e.Tags.Get(recording.TagInterim))
	if a.Framing == recording.FramingStream && half.Headers.Get("Content-Length") != "" {
		a.Framing = recording.FramingLength
	}
	decoded := half.Decoded()
	if len(half.Body) > 0 && !decoded {
		a.Codings = half.Codings()
		accepted := strings.ToLower(strings.Join(slices.Collect(e.HTTP.Req.Headers.Values("Accept-Encoding")), ","))
		a.Negotiated = len(a.Codings) > 0 && strings.Contains(accepted, a.Codings[0])
	}
	if n, err := strconv.ParseInt(half.Headers.Get("Content-Length"), 10, 64); err == nil && half.Framing() == recording.FramingNone && n >= 0 && e.HTTP.Res.StatusCode != 204 {
		a.Length = n
	}
	trailers := half.Trailers()
	onlyTrailers := a.Kind == GRPC && !slices.ContainsFunc(a.Messages, fromServer) && half.Headers.Get("Grpc-Status") != ""
	for _, h := range half.Headers {
		if a.Kind == GRPC && strings.HasSuffix(h.Name, "-Bin") && strings.HasPrefix(h.Value, redact.Prefix) {
			h.Value = base64.RawStdEncoding.EncodeToString([]byte(h.Value)) // clients decode this value, but a token isn't base64
		}
		switch {
		case unsaid[h.Name]:
			continue
		case decoded && h.Name == "Content-Encoding":
			continue
		case slices.Contains(trailers, h.Name), onlyTrailers && h.Name != "Content-Type":
			a.Trailer = append(a.Trailer, h)
		default:
			a.Header = append(a.Header, h)
		}
	}
	a.echoes(e)
	return a
}

func fromServer(m recording.Message) bool { return m.From == recording.Server }

// times copies the exchange's times.
func (a *Answer) times(e *recording.Exchange) {
	a.Lasted = e.End()
	asked, ok := e.RequestEnd()
	begun, ok2 := e.ResponseStart()
	if ok && ok2 {
		a.Wait = max(0, begun-asked) // an answer may begin early
	}
	if ok2 {
		a.Took = max(0, e.End()-begun)
		for _, m := range e.Pace() {
			a.Pace = append(a.Pace, recording.Moment{Offset: m.Offset, At: max(0, m.At-begun)})
		}
	}
}

// lacks returns why an answer is incomplete, or "" if it is complete.
func lacks(e *recording.Exchange) string {
	switch why := e.Incomplete(); {
	case e.HTTP != nil && e.HTTP.Res.StatusCode == 0:
		return "no answer was recorded"
	case why != "":
		return "the recorded exchange is incomplete: " + why
	case e.Tags.Get(recording.TagUndecoded) != "":
		return "the recorded exchange was not decoded: " + e.Tags.Get(recording.TagUndecoded)
	case e.Response().Cut():
		return fmt.Sprintf("the recorded body was cut: %d of %d bytes were kept", len(e.Response().Body), e.Response().Size())
	}
	c := e.Conversation()
	if c == nil {
		return ""
	}
	var kept int64
	for i := range c.Messages {
		if m := &c.Messages[i]; m.From == recording.Server {
			if kept += int64(len(m.Data)); m.Size > int64(len(m.Data)) {
				if e.TCP != nil && len(m.Data) == 0 {
					return "the recording has the sizes of this stream but not its bytes: record with TAPEDECK_OPAQUE_BYTES=true"
				}
				return fmt.Sprintf("a recorded message was cut: %d of %d bytes were kept", len(m.Data), m.Size)
			}
		}
	}
	switch {
	case c.Part != 1 || !c.Last:
		return "the recording lacks parts of this conversation"
	case e.WebSocket == nil && kept < c.ServerBytes && e.GRPC == nil:
		return fmt.Sprintf("the recorded conversation was cut: %d of %d bytes were kept", kept, c.ServerBytes)
	}
	return ""
}

const (
	// minEcho is the minimal length of a value that counts as an echo. Shorter values occur in
	// answers by chance.
	minEcho   = 8
	maxEchoes = 16
)

// plain lists request headers whose values servers don't repeat, or that many requests have in
// common.
var plain = map[string]bool{
	"Host": true, "Accept": true, "Accept-Encoding": true, "Accept-Language": true, "Content-Type": true, "Content-Length": true, "Content-Encoding": true,
	"Connection": true, "Te": true, "Transfer-Encoding": true, "Cache-Control": true, "Pragma": true, "Upgrade": true, "Sec-Websocket-Version": true,
	"Grpc-Accept-Encoding": true, "Grpc-Timeout": true, "Date": true, "Proxy-Connection": true,
}

// echoes finds headers of the request whose values the answer repeats.
func (a *Answer) echoes(e *recording.Exchange) {
	for _, h := range e.HTTP.Req.Headers {
		if len(h.Value) < minEcho || plain[h.Name] || len(a.Echoes) == maxEchoes {
			continue
		}
		in := func(f recording.Header) bool { return strings.Contains(f.Value, h.Value) }
		if slices.ContainsFunc(a.Header, in) || slices.ContainsFunc(a.Trailer, in) || len(a.Codings) == 0 && bytes.Contains(a.Body, []byte(h.Value)) {
			a.Echoes = append(a.Echoes, h)
		}
	}
}

// framings maps the number of a framing in the file to the framing.
var framings = [...]recording.Framing{recording.FramingNone, recording.FramingStream, recording.FramingChunked, recording.FramingLength, recording.FramingClose}

func (a *Answer) appendHead(dst []byte) []byte {
	negotiated := byte(0)
	if a.Negotiated {
		negotiated = 1
	}
	dst = append(dst, byte(a.Kind), byte(slices.Index(framings[:], a.Framing)), negotiated)
	dst = append(dst, a.UUID[:]...)
	for _, v := range []int64{int64(a.Status), int64(a.Interim), a.Length + 1, int64(a.Wait), int64(a.Took), int64(a.Lasted), a.TS.UnixNano(), int64(len(a.Pace))} {
		dst = binary.AppendUvarint(dst, uint64(v))
	}
	for _, m := range a.Pace {
		dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(m.Offset)), uint64(m.At))
	}
	dst = appendText(appendText(appendText(dst, a.Lacks), strings.Join(a.Codings, ",")), a.Asked)
	for _, h := range []recording.Headers{a.Header, a.Trailer, a.Echoes} {
		dst = appendHeaders(dst, h)
	}
	return dst
}

var errHead = errors.New("the head of the answer is damaged")

// decodeHead decodes what appendHead encoded. The answer may have been used before.
func (a *Answer) decodeHead(p []byte) error {
	const fixed = 3 + len(a.UUID)
	if len(p) < fixed || int(p[1]) >= len(framings) {
		return errHead
	}
	d := decoder{text: string(p[fixed:])} // a single copy that all fields share
	*a = Answer{
		Kind: Kind(p[0]), Framing: framings[p[1]], Negotiated: p[2] == 1, UUID: recording.UUID(p[3:fixed]),
		Header: a.Header[:0], Trailer: a.Trailer[:0], Echoes: a.Echoes[:0], Pace: a.Pace[:0],
	}
	a.Status, a.Interim, a.Length = int(d.uint()), int(d.uint()), int64(d.uint())-1
	a.Wait, a.Took, a.Lasted = time.Duration(d.uint()), time.Duration(d.uint()), time.Duration(d.uint())
	a.TS = time.Unix(0, int64(d.uint())).UTC()
	for range d.count() {
		a.Pace = append(a.Pace, recording.Moment{Offset: int64(d.uint()), At: time.Duration(d.uint())})
	}
	a.Lacks = d.string()
	if codings := d.string(); codings != "" {
		a.Codings = strings.Split(codings, ",")
	}
	a.Asked = d.string()
	a.Header, a.Trailer, a.Echoes = d.headers(a.Header), d.headers(a.Trailer), d.headers(a.Echoes)
	if d.bad {
		return errHead
	}
	return nil
}

func (a *Answer) appendBody(dst []byte) []byte {
	if a.Kind == HTTP {
		return append(dst, a.Body...)
	}
	dst = binary.AppendUvarint(dst, uint64(len(a.Body)))
	dst = append(dst, a.Body...)
	for i := range a.Messages {
		m := &a.Messages[i]
		var flags byte
		for bit, on := range []bool{m.From == recording.Server, m.More, m.Compressed} {
			if on {
				flags |= 1 << bit
			}
		}
		dst = append(dst, flags)
		dst = appendText(dst, m.Type)
		for _, v := range []int64{m.At, m.Size, int64(len(m.Data))} {
			dst = binary.AppendUvarint(dst, uint64(v))
		}
		dst = append(dst, m.Data...)
	}
	return dst
}

// Conversation decodes the messages of a conversation into Messages. They remain valid as long
// as the answer.
func (a *Answer) Conversation() error {
	p, err := a.All()
	if err != nil {
		return err
	}
	take := func() (v uint64) {
		v, n := binary.Uvarint(p)
		if n <= 0 {
			err, p = errHead, nil
			return 0
		}
		p = p[n:]
		return v
	}
	data := func(n uint64) (d []byte) {
		if n > uint64(len(p)) {
			err, p = errHead, nil
			return nil
		}
		d, p = p[:n:n], p[n:]
		return d
	}
	a.Messages = nil
	body := data(take())
	for len(p) > 0 {
		flags := p[0]
		p = p[1:]
		m := recording.Message{From: recording.Client, More: flags&2 != 0, Compressed: flags&4 != 0}
		if flags&1 != 0 {
			m.From = recording.Server
		}
		m.Type = string(data(take()))
		m.At, m.Size = int64(take()), int64(take())
		m.Data = data(take())
		a.Messages = append(a.Messages, m)
	}
	if err != nil {
		return fmt.Errorf("read a recorded conversation: %w", err)
	}
	a.Body, a.Size, a.onDisk = body, int64(len(body)), nil
	return nil
}
