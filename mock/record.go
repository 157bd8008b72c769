package mock

import (
	"crypto/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// record writes an exchange with the request and its answer to the sink. Its tags hold the verdict
// and, for a hit, the UUID of the recorded exchange.
func (q *ask) record() {
	now := time.Now()
	e := &recording.Exchange{
		MsgType: recording.MsgType, TS: q.began.UTC(), Direction: recording.Out, L7Protocol: q.exchange.L7Protocol, IsTLS: q.exchange.IsTLS, ALPN: q.exchange.ALPN,
		Duration: now.Sub(q.began).Milliseconds(), UUID: newUUID(), NetworkAddress: q.exchange.NetworkAddress, Command: q.exchange.Command, Location: q.exchange.Location,
		Cluster: recording.Undefined, Namespace: recording.Undefined, Service: "mock", Resource: "mock",
	}
	e.Tags.Set(recording.TagSource, "tapedeck")
	e.Tags.Set(recording.TagMatch, string(q.out.verdict))
	if q.out.verdict == Hit {
		if a, err := q.lib.tape.Read(q.lib.entries[q.lib.index.Ref(q.out.entry)].offset, &q.buf); err == nil {
			e.Tags.Set(recording.TagRefUUID, a.UUID.String())
		}
	}
	if q.out.why != "" {
		e.Tags.Set(recording.TagReason, q.out.why)
	}
	if q.effect.Injects() {
		e.Tags.Set(recording.TagFault, strings.Join(q.effect.Rules, " | "))
	}
	if !q.out.begun.IsZero() {
		e.Tags.Set(recording.TagResponseStart, strconv.FormatInt(q.out.begun.Sub(q.began).Microseconds(), 10))
	}
	if q.out.size > int64(len(q.out.body)) {
		e.Tags.Set(recording.TagResponseBodySize, strconv.FormatInt(q.out.size, 10))
		e.Tags.Set(recording.TagTruncated, "true")
	}
	if q.exchange.HTTP != nil {
		h := *q.exchange.HTTP
		h.Res = recording.HTTPResponse{StatusCode: q.out.status, Headers: headers(q.out.header), Body: q.out.body}
		if q.out.status != 0 {
			h.Res.StatusMessage = strings.TrimSpace(strconv.Itoa(q.out.status) + " " + http.StatusText(q.out.status))
			e.Status = strconv.Itoa(q.out.status)
		} else {
			e.Tags.Set(recording.TagIncomplete, recording.NoAnswer)
		}
		h.Res.ContentType = q.out.header.Get("Content-Type")
		e.HTTP = &h
	}
	if q.out.said != nil {
		switch {
		case q.exchange.HTTP == nil:
			e.TCP = q.out.said
		case e.L7Protocol == recording.GRPC:
			e.GRPC = q.out.said
		default:
			e.WebSocket, e.L7Protocol = q.out.said, recording.WebSocket
		}
	}
	if err := q.Sink.Write(e); err != nil {
		q.Log.Warn("an exchange was not recorded", "error", err)
	}
}

// headers returns header fields, sorted by name.
func headers(h http.Header) (all recording.Headers) {
	for name, values := range h {
		for _, v := range values {
			all = append(all, recording.Header{Name: strings.TrimPrefix(name, http.TrailerPrefix), Value: v})
		}
	}
	slices.SortStableFunc(all, func(a, b recording.Header) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// newUUID returns a random UUID (RFC 9562 section 5.4).
func newUUID() (u recording.UUID) {
	_, _ = rand.Read(u[:]) // never fails
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}
