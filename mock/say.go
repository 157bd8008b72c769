package mock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/mock/fault"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// say sends the recorded answer.
func (q *ask) say(live replacer) {
	a, h := q.answer, q.w.Header()
	q.pause(scaled(a.Wait, q.Latency.Answers) + q.effect.Delay)
	if q.effect.End != fault.Normal && q.effect.End != fault.Drop {
		q.breakOff()
		return
	}
	if a.Interim > 101 && a.Interim < 200 { // net/http sends 100 Continue itself
		q.w.WriteHeader(a.Interim)
	}
	q.out.begun = time.Now()
	body, size, err := q.content(live)
	if err != nil {
		q.Log.Error("a recorded answer can't be read", "error", err)
		q.miss(reason{"damaged", err.Error()}, nil, noResult)
		return
	}
	q.fields(h, live)
	status := a.Status
	if status < 200 || status > 999 {
		status = http.StatusBadGateway // no valid answer has such a status
	}
	if q.effect.Status != 0 || q.effect.GRPC != "" {
		if status, body, size = q.effect.Status, http.NoBody, 0; status == 0 {
			status = http.StatusBadGateway // the rule has a gRPC status, but this answer isn't gRPC
		}
		h.Del("Content-Encoding")
	}
	for _, set := range q.effect.Header {
		h.Set(set[0], set[1])
	}
	q.frame(h, status, size)
	q.w.WriteHeader(status)
	q.out.status, q.out.header = status, h
	if bodyless(status) || q.r.Method == http.MethodHead {
		q.finish(Hit)
		return
	}
	if q.r.ProtoMajor > 1 && h["Content-Length"] == nil {
		_ = http.NewResponseController(q.w).Flush() // otherwise net/http would add the header
	}
	sent, err := q.send(body, size)
	if err == nil && len(a.Trailer) > 0 {
		for _, t := range a.Trailer {
			h.Add(http.TrailerPrefix+t.Name, live.text(t.Value))
		}
	}
	q.out.size = sent
	q.finish(Hit)
	if q.effect.End == fault.Drop {
		_ = http.NewResponseController(q.w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// pause waits for d. It ends the request if the client disconnects meanwhile.
func (q *ask) pause(d time.Duration) {
	if d <= 0 {
		return
	}
	ctx, stop := q.context()
	defer stop()
	if !wait(ctx, time.Now().Add(d)) {
		q.gone()
	}
}

// context returns a context that ends with the request or with the Mock.
func (q *ask) context() (context.Context, func()) {
	ctx, cancel := context.WithCancel(q.r.Context())
	stop := context.AfterFunc(q.end, cancel)
	return ctx, func() { stop(); cancel() }
}

// breakOff breaks the connection instead of answering, as a fault rule requires.
func (q *ask) breakOff() {
	q.out.why = "fault"
	q.finish(Hit)
	if q.effect.End == fault.Stall {
		ctx, stop := q.context()
		defer stop()
		<-ctx.Done()
		panic(http.ErrAbortHandler)
	}
	if q.r.ProtoMajor == 1 {
		q.conn.Abort()
	}
	panic(http.ErrAbortHandler) // resets an HTTP/2 stream
}

// maxDecoded bounds a decoded body.
const maxDecoded = 64 << 20

// content returns the body for the client, and its size.
func (q *ask) content(live replacer) (io.Reader, int64, error) {
	a := q.answer
	coded := len(a.Codings) > 0
	undo := coded && (!live.empty() || a.Negotiated && !q.accepts(a.Codings))
	if !undo && live.empty() && !q.effect.Truncate.On && q.effect.Corrupt == 0 && q.effect.End != fault.Drop {
		q.plain = a.Body != nil && q.effect.Throttle == 0
		return a.Reader(), a.Size, nil
	}
	p, err := a.All()
	if err != nil {
		return nil, 0, err
	}
	if undo {
		var d coding.Decoder
		defer d.Close()
		plain, err := d.Decode(nil, a.Codings, p, maxDecoded)
		if undo = err == nil; undo { // a body that can't be decoded is sent as stored
			p, a.Codings = plain, nil
		}
	}
	if !live.empty() && len(a.Codings) == 0 && isText(p) {
		p = []byte(live.text(string(p)))
	}
	p = p[:q.effect.Truncate.Of(int64(len(p)))]
	if q.effect.Corrupt != 0 {
		p = corrupted(p, q.effect.Corrupt)
	}
	return bytes.NewReader(p), int64(len(p)), nil
}

// isText reports whether a body is text. Values are replaced only in text.
func isText(p []byte) bool { return bytes.IndexByte(p[:min(len(p), 8<<10)], 0) < 0 }

// corrupted changes one in every 64 bytes of a body, and at least one byte.
func corrupted(p []byte, seed uint64) []byte {
	p = bytes.Clone(p)
	draw := rand.New(rand.NewPCG(seed, 0))
	for range min(len(p), len(p)/64+1) {
		p[draw.IntN(len(p))] ^= byte(1 + draw.IntN(255))
	}
	return p
}

// accepts reports whether the client accepts a body with these codings.
func (q *ask) accepts(codings []string) bool {
	for _, c := range codings {
		if !acceptsOne(q.r.Header["Accept-Encoding"], c) {
			return false
		}
	}
	return true
}

func acceptsOne(fields []string, c string) bool {
	any := false
	for _, f := range fields {
		for item := range strings.SplitSeq(f, ",") {
			name, params, _ := strings.Cut(item, ";")
			name = strings.ToLower(strings.TrimSpace(name))
			if name != c && name != "x-"+c && name != "*" {
				continue
			}
			q := strings.TrimPrefix(strings.ReplaceAll(params, " ", ""), "q=")
			weight, err := strconv.ParseFloat(q, 64)
			takes := err != nil || weight > 0
			if name != "*" {
				return takes
			}
			any = takes
		}
	}
	return any
}

// fields sets the recorded header fields.
func (q *ask) fields(h http.Header, live replacer) {
	a := q.answer
	shift := time.Duration(0)
	if q.RefreshDates {
		shift = q.began.Sub(a.TS)
	}
	values := make([]string, 0, len(a.Header))
	for i := range a.Header {
		f := &a.Header[i]
		if f.Name == "Content-Encoding" && len(a.Codings) == 0 && a.Size > 0 {
			continue // the body is sent without this coding
		}
		v := live.text(f.Value)
		if shift > 0 {
			v = refreshed(f.Name, v, shift)
		}
		if have := h[f.Name]; have != nil {
			h[f.Name] = append(have, v)
			continue
		}
		values = append(values, v) // one allocation for all
		n := len(values)
		h[f.Name] = values[n-1 : n : n]
	}
	for _, name := range [...]string{"Date", "Content-Type"} { // otherwise net/http would add them
		if _, ok := h[name]; !ok {
			h[name] = nil
		}
	}
}

// refreshed moves the times in a header field.
func refreshed(name, value string, shift time.Duration) string {
	move := func(text string) string {
		for _, layout := range [...]string{http.TimeFormat, "Mon, 02-Jan-2006 15:04:05 MST", time.RFC850, time.ANSIC} {
			if t, err := time.Parse(layout, text); err == nil && t.Year() > 1971 { // earlier times mean "expired"
				return t.Add(shift).UTC().Format(strings.Replace(layout, "MST", "GMT", 1))
			}
		}
		return text
	}
	switch name {
	case "Date", "Expires", "Last-Modified":
		return move(value)
	case "Set-Cookie":
		parts := strings.Split(value, ";")
		for i, p := range parts[1:] {
			attribute, date, ok := strings.Cut(p, "=")
			if ok && strings.EqualFold(strings.TrimSpace(attribute), "expires") {
				parts[i+1] = attribute + "=" + move(strings.TrimSpace(date))
			}
		}
		return strings.Join(parts, ";")
	}
	return value
}

// frame sets the header fields for the framing of the recorded body.
func (q *ask) frame(h http.Header, status int, size int64) {
	a := q.answer
	switch {
	case bodyless(status), q.r.Method == http.MethodHead:
		if a.Length >= 0 {
			h["Content-Length"] = []string{strconv.FormatInt(a.Length, 10)}
		}
	case a.Framing == recording.FramingLength && (len(a.Trailer) == 0 || q.r.ProtoMajor > 1):
		h["Content-Length"] = []string{strconv.FormatInt(size, 10)}
	case q.r.ProtoMajor > 1: // HTTP/2 frames mark the end
	case a.Framing == recording.FramingClose:
		h["Transfer-Encoding"] = []string{"identity"} // closing the connection marks the end
	case q.r.ProtoMinor >= 1:
		h["Transfer-Encoding"] = []string{"chunked"}
	}
	var announced []string
	for _, t := range a.Trailer {
		if !slices.Contains(announced, t.Name) {
			announced = append(announced, t.Name)
		}
	}
	if len(announced) > 0 && q.r.ProtoMajor == 1 {
		h["Trailer"] = []string{strings.Join(announced, ", ")}
	}
}

func bodyless(status int) bool { return status < 200 || status == 204 || status == 304 }

// send sends the body at its recorded pace.
func (q *ask) send(body io.Reader, size int64) (sent int64, err error) {
	if p := q.answer.Body; q.plain && q.Sink == nil && int64(len(p)) == size && len(q.answer.Pace) == 0 {
		n, err := q.w.Write(p)
		return int64(n), err
	}
	to := io.Writer(q.w)
	if q.Sink != nil {
		to = io.MultiWriter(q.w, &keeper{q: q})
	}
	if q.effect.Throttle > 0 {
		to = &throttled{q: q, to: to, rate: q.effect.Throttle, since: time.Now()}
	}
	if q.effect.End == fault.Drop {
		size /= 2
		body = io.LimitReader(body, size)
	}
	for _, m := range q.moments(size) {
		n, err := io.CopyN(to, body, max(0, m.offset-sent))
		if sent += n; err != nil {
			return sent, ignoreEOF(err)
		}
		if err := http.NewResponseController(q.w).Flush(); err != nil {
			return sent, err
		}
		ctx, stop := q.context()
		there := wait(ctx, m.at)
		stop()
		if !there {
			q.unfinished.Add(1)
			return sent, context.Canceled
		}
	}
	n, err := io.Copy(to, body)
	return sent + n, err
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// moment is when a body continues after a pause.
type moment struct {
	offset int64
	at     time.Time
}

// moments returns the moments of the body. An event stream pauses only between events, because
// redaction may have changed lengths, so that recorded offsets are inside events.
func (q *ask) moments(size int64) (all []moment) {
	a := q.answer
	if len(a.Pace) == 0 || q.Latency == (Latency{}) {
		return nil
	}
	stream := recording.IsEvents(a.Header.Get("Content-Type"))
	factor := q.Latency.Streams
	if !stream && q.Latency.Answers == 0 {
		factor = 0 // probably a download
	}
	if factor == 0 {
		return nil
	}
	var ends []int64
	if body := a.Body; stream && len(a.Codings) == 0 {
		ends = eventEnds(body)
	}
	for _, m := range a.Pace {
		offset := min(m.Offset, size)
		if i, found := slices.BinarySearch(ends, offset); !found && len(ends) > 0 {
			offset = ends[min(i, len(ends)-1)]
			if i > 0 && m.Offset-ends[i-1] < offset-m.Offset {
				offset = ends[i-1]
			}
		}
		all = append(all, moment{offset, q.out.begun.Add(scaled(m.At, factor))})
	}
	return all
}

// eventEnds returns the offsets of a body's beginning and of the ends of its events.
func eventEnds(body []byte) []int64 {
	ends := []int64{0}
	for i := 1; i < len(body); i++ {
		if body[i] == '\n' && (body[i-1] == '\n' || i > 2 && string(body[i-3:i]) == "\r\n\r") {
			ends = append(ends, int64(i+1))
		}
	}
	return ends
}

// keeper keeps the beginning of a body for the record.
type keeper struct{ q *ask }

func (k *keeper) Write(p []byte) (int, error) {
	out := &k.q.out
	out.body = append(out.body, p[:min(len(p), max(0, maxKept-len(out.body)))]...)
	return len(p), nil
}

// throttled writes at most rate bytes per second.
type throttled struct {
	q     *ask
	to    io.Writer
	rate  int64
	since time.Time
	sent  int64
}

func (t *throttled) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		part := int(min(int64(len(p)), max(1, t.rate/20)))
		written, err := t.to.Write(p[:part])
		n += written
		if err == nil {
			err = http.NewResponseController(t.q.w).Flush()
		}
		if err != nil {
			return n, err
		}
		p = p[part:]
		t.sent += int64(part)
		ctx, stop := t.q.context()
		there := wait(ctx, t.since.Add(time.Duration(float64(t.sent)/float64(t.rate)*float64(time.Second))))
		stop()
		if !there {
			return n, fmt.Errorf("the client is gone: %w", context.Canceled)
		}
	}
	return n, nil
}
