package wire

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// Result is the result of a request. The zero value is ready to use. A Result can be reused for the
// next request, which then allocates no memory. After [Client.Send] returns, the Result belongs to
// the caller until the next Send.
type Result struct {
	// Sent is when a connection got the request, or when the client began to open a connection for
	// it; the target is responsible for the time after that. FirstByte is when the first byte of the
	// final answer arrived, or zero if none did. Done is when the request was over.
	Sent, FirstByte, Done time.Time
	// Live is the live exchange. HTTP.Res is the answer, with its trailers after its fields. GRPC
	// or WebSocket has the server's messages. The request has only the recorded method, target,
	// version and host. The tags say what was cut, which fields followed the body, and when the
	// body paused.
	Live recording.Exchange
	// BytesOut and BytesIn count the bytes of bodies and messages, whether or not they were kept.
	// They do not count heads and framing.
	BytesOut, BytesIn int64
	// Fail is the class of the error that Send returned.
	Fail Failure

	form  form
	http  recording.HTTP
	talk  recording.Conversation
	body  []byte // of the answer, or the server's messages one after the other
	pace  []byte // text of the tag for pauses
	marks int
	moved time.Time // when the last part of the body arrived
	ends  []int     // ends of the messages in body
	over  bool      // the body was larger than the part that is kept
	http2 bool
	names []string
}

// reset empties the result, but keeps its memory.
func (r *Result) reset() {
	clear(r.http.Res.Headers)
	clear(r.talk.Messages)
	clear(r.Live.Tags)
	*r = Result{
		Live: recording.Exchange{MsgType: recording.MsgType, Direction: recording.In, Tags: r.Live.Tags[:0]},
		http: recording.HTTP{Res: recording.HTTPResponse{Headers: r.http.Res.Headers[:0]}},
		talk: recording.Conversation{Messages: r.talk.Messages[:0]},
		body: r.body[:0:min(cap(r.body), maxRoom)], pace: r.pace[:0], ends: r.ends[:0], names: r.names[:0],
	}
	r.Live.HTTP = &r.http
}

// maxRoom bounds the memory that is kept for the next body.
const maxRoom = 1 << 20

// asked fills in the request.
func (r *Result) asked(f *form) {
	end := f.host.end()
	if end == 0 {
		end = lineEnd(f.head)
	}
	text := string(f.head[:end])
	line := text[:lineEnd(f.head)]
	req := &r.http.Req
	req.Method, line, _ = strings.Cut(line, " ")
	req.URI = line[:max(0, strings.LastIndexByte(line, ' '))]
	req.URL, _, _ = strings.Cut(req.URI, "?")
	req.Version = f.version.String()
	if f.host.n > 0 {
		req.Host = text[f.host.at:end]
	}
}

// finish completes the result of a request, failed or not.
func (r *Result) finish(ctx context.Context, err error) error {
	r.Done = time.Now()
	e := &r.Live
	if r.Sent.IsZero() {
		r.Sent = r.Done
	}
	e.TS = r.Sent
	e.Duration = r.Done.Sub(r.Sent).Milliseconds()
	if r.over {
		e.Tags.Set(recording.TagTruncated, "true")
	}
	if r.talk.Part > 0 {
		r.messages()
	} else {
		r.http.Res.Body = r.body
		if r.over {
			e.Tags.Set(recording.TagResponseBodySize, strconv.FormatInt(r.BytesIn, 10))
		}
	}
	if len(r.pace) > 0 && r.talk.Part == 0 {
		e.Tags.Set(recording.TagPace, string(r.pace))
	}
	if errors.Is(err, errLeft) { // the recorded client left at this point, too
		e.Tags.Set(recording.TagIncomplete, recording.CutOff)
		if r.http2 {
			e.Tags.Set(recording.TagIncomplete, recording.Reset)
			e.Tags.Set(recording.TagReset, recording.Client+": CANCEL")
		}
		err = nil
	}
	if err == nil {
		return nil
	}
	known := new(Error)
	if !errors.As(err, &known) {
		known = classify(ctx, err, !r.FirstByte.IsZero())
	}
	r.Fail = known.Failure
	e.Tags.Set(recording.TagIncomplete, incomplete(r))
	return known
}

func incomplete(r *Result) string {
	switch {
	case r.Fail == Protocol || r.Fail == TooLarge:
		return recording.Malformed
	case r.http.Res.StatusCode == 0:
		return recording.NoAnswer
	case r.Fail == Reset:
		return recording.Reset
	}
	return recording.CutOff
}

// messages sets the data of the conversation's messages.
func (r *Result) messages() {
	begin := 0
	for i, end := range r.ends {
		r.talk.Messages[i].Data = r.body[begin:end:end]
		begin = end
	}
}

const (
	// pause is the shortest silence that the tag responsePace marks.
	pause = 5 * time.Millisecond
	// maxMarks bounds its marks.
	maxMarks = 512
)

// flows records when a part of the body arrived. It is called before BytesIn counts this part.
func (r *Result) flows(now time.Time) {
	last := r.moved
	if last.IsZero() {
		last = r.FirstByte
	}
	r.moved = now
	if now.Sub(last) < pause || r.marks == maxMarks {
		return
	}
	if r.marks++; r.marks > 1 {
		r.pace = append(r.pace, ',')
	}
	r.pace = append(strconv.AppendInt(r.pace, r.BytesIn, 10), ':')
	r.pace = strconv.AppendInt(r.pace, now.Sub(r.Sent).Microseconds(), 10)
}

// grow makes room for more of the body.
func (r *Result) grow() { r.body = slices.Grow(r.body, readSize) }

// errLeft ends an answer whose recorded client left before the end.
var errLeft = errors.New("the client has gone")

// enough returns errLeft if the recorded client left after this much of the answer.
func (r *Result) enough(f *form) error {
	if f.has(cancels) && f.kind == plain && r.BytesIn >= f.enough && r.http.Res.StatusCode/100 == 2 {
		r.BytesIn = f.enough
		r.body = r.body[:min(int64(len(r.body)), f.enough)]
		return errLeft
	}
	return nil
}

// keep adds a part of a body, up to max bytes in total.
func (r *Result) keep(p []byte, max int64) {
	r.BytesIn += int64(len(p))
	if room := max - int64(len(r.body)); int64(len(p)) > room {
		p, r.over = p[:room], true
	}
	r.body = append(r.body, p...)
}

// field adds a field of the answer.
func (r *Result) field(name, value string) error {
	h := &r.http.Res.Headers
	if len(*h) == recording.MaxHeaders {
		return fail(TooLarge, "the answer has more than %d fields", recording.MaxHeaders)
	}
	*h = append(*h, recording.Header{Name: name, Value: value})
	return nil
}

// trailers sets the tag for the fields from index first, which followed the body. Announced fields
// need no tag.
func (r *Result) trailers(first int) {
	h := r.http.Res.Headers
	var names []byte
	for _, t := range h[first:] {
		announced := strings.HasPrefix(t.Name, "Grpc-")
		for list := range h[:first].Values("Trailer") {
			for name := range strings.SplitSeq(list, ",") {
				announced = announced || strings.EqualFold(strings.TrimSpace(name), t.Name)
			}
		}
		if announced {
			continue
		}
		if len(names) > 0 {
			names = append(names, ',')
		}
		names = append(names, t.Name...)
	}
	if len(names) > 0 {
		r.Live.Tags.Set(recording.TagResponseTrailers, string(names))
	}
}
