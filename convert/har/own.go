package har

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// rrpair reads the record that a writer of ours left.
func (p *parser) rrpair(raw []byte) error {
	var own recording.Exchange
	var d recording.Decoder
	if err := d.Decode(raw, &own); err != nil || own.MsgType != recording.MsgType {
		p.losses.Add(ownMember, "is no RRPair, not kept")
		return nil
	}
	for _, loss := range d.Losses() {
		p.losses = append(p.losses, ownMember+"."+loss)
	}
	p.own = &own
	return nil
}

// merge makes the exchange the one that was written, with what the entry says now: somebody
// may have changed it. Each part of the entry that shows something else than the record holds.
func (p *parser) merge() {
	e, own := p.e, p.own
	if own.HTTP == nil {
		own.HTTP = new(recording.HTTP)
	}
	q, s := &own.HTTP.Req, &own.HTTP.Res
	for _, side := range []struct{ own, entry *recording.Headers }{{&q.Headers, &e.HTTP.Req.Headers}, {&s.Headers, &e.HTTP.Res.Headers}} {
		if len(*side.own) == 0 || !slices.Equal(fieldsOf(*side.own), *side.entry) {
			*side.own = *side.entry // which name the bodies' codings
		}
	}
	if !own.TS.Equal(e.TS) {
		own.TS = e.TS
	}
	if url, _ := address(own); p.req.url != url || p.req.method != method(own) {
		q.Method, q.Host, q.URI, q.URL = p.req.method, e.HTTP.Req.Host, e.HTTP.Req.URI, e.HTTP.Req.URL
		own.Command, own.Location, own.NetworkAddress, own.IsTLS = e.Command, e.Location, e.NetworkAddress, e.IsTLS
	}
	if p.req.version != version(own) {
		q.Version = e.HTTP.Req.Version
	}
	kept := keptOf(own)
	shownReason, _, _ := recording.Unquote(take(&kept.response, "statusText", recording.AppendString(nil, reason(s))))
	if s.StatusCode != e.HTTP.Res.StatusCode || p.res.statusText != shownReason {
		s.StatusCode, s.StatusMessage, own.Status = e.HTTP.Res.StatusCode, e.HTTP.Res.StatusMessage, e.Status
	}
	if p.res.mime != mimeType(s) {
		s.ContentType = p.res.mime
	}
	if q.Body = p.current(own.Request(), p.req.text, p.req.encoding, e.HTTP.Req.Body); q.Body == nil {
		q.Body = e.HTTP.Req.Body
		p.decoded(own.Request(), "request")
	}
	if s.Body = p.current(own.Response(), p.res.text, p.res.encoding, e.HTTP.Res.Body); s.Body == nil {
		s.Body = e.HTTP.Res.Body
		p.decoded(own.Response(), "response")
	}
	p.mergeTimes(kept.entry)
	p.mergeServer()
	p.mergeMessages()
	*e = *own
}

// mergeTimes has the times of the entry hold, if they are others than those of the record.
func (p *parser) mergeTimes(kept []recording.Member) {
	shown := begin(nil)
	appendTimes(&shown, p.own, &kept)
	was := parser{}
	members, _ := was.object("", shown.end(), nil) // it was just made
	was.timesOf(members)
	if was.time == p.time && maps.Equal(was.timings, p.timings) {
		return
	}
	p.own.Duration = p.e.Duration
	for _, name := range []string{recording.TagRequestEnd, recording.TagResponseStart} {
		if now := p.e.Tags.Get(name); now != "" {
			p.own.Tags.Set(name, now)
		} else {
			p.own.Tags = slices.DeleteFunc(p.own.Tags, func(t recording.Tag) bool { return t.Name == name })
		}
	}
}

// mergeServer does so with the server's address.
func (p *parser) mergeServer() {
	was := ""
	if p.own.NetInfo != nil {
		was = strings.Trim(p.own.NetInfo.Upstream.IPAddress, "[]")
	}
	switch {
	case was == p.serverIP:
	case p.own.NetInfo == nil:
		p.own.NetInfo = p.e.NetInfo
	default:
		p.own.NetInfo.Upstream.IPAddress = p.serverIP
	}
}

// mergeMessages does so with the messages of a WebSocket.
func (p *parser) mergeMessages() {
	own := p.own.WebSocket
	if own == nil {
		p.own.WebSocket = p.e.WebSocket
		return
	}
	was := parser{e: &recording.Exchange{TS: p.own.TS}, webSocket: appendFrames(nil, p.own)}
	switch err := was.messages(); {
	case p.e.WebSocket == nil:
		own.Messages = nil
	case err != nil || !reflect.DeepEqual(was.e.WebSocket.Messages, p.e.WebSocket.Messages):
		own.Messages, own.ClientBytes, own.ServerBytes = p.e.WebSocket.Messages, p.e.WebSocket.ClientBytes, p.e.WebSocket.ServerBytes
	}
}

// current returns the body that the record holds beside the entry's, if the entry shows what
// it is; nil if somebody changed that. A record holds none where the entry has it exactly.
func (p *parser) current(own recording.Half, text *string, encoding string, entry []byte) []byte {
	if len(own.Body) == 0 {
		if len(entry) == 0 {
			return []byte{} // neither has one
		}
		return entry
	}
	if now := show(own); text != nil && now.text == *text && now.encoding == encoding {
		return own.Body
	}
	return nil
}

// decoded notes that a body is without its codings, now that somebody has changed it.
func (p *parser) decoded(h recording.Half, side string) {
	if len(h.Codings()) == 0 {
		return
	}
	if have := p.own.Tags.Get(recording.TagDecoded); have != "" && have != side {
		side = "true"
	}
	p.own.Tags.Set(recording.TagDecoded, side)
}

// appendOwn appends the record without what the entry has of it: fields that would be read as they
// are, and bodies that are exactly in it.
func appendOwn(dst []byte, e *recording.Exchange, inRequest, inResponse bool) []byte {
	own := *e
	http := *e.HTTP
	own.HTTP = &http
	for _, h := range []*recording.Headers{&http.Req.Headers, &http.Res.Headers} {
		if slices.Equal(fieldsOf(*h), *h) {
			*h = nil
		}
	}
	if inRequest {
		http.Req.Body = nil
	}
	if inResponse {
		http.Res.Body = nil
	}
	return own.AppendJSON(dst)
}
