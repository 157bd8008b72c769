package har

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// rrpair reads the record that Writer put into the entry.
func (p *parser) rrpair(raw []byte) error {
	var own recording.Exchange
	var d recording.Decoder
	if err := d.Decode(raw, &own); err != nil || own.MsgType != recording.MsgType {
		p.losses.Add(ownMember, "is not an RRPair, not kept")
		return nil
	}
	for _, loss := range d.Losses() {
		p.losses = append(p.losses, ownMember+"."+loss)
	}
	p.own = &own
	return nil
}

// merge restores the exchange from the record, and applies changes that somebody made to the entry:
// each part of the entry that differs from the record wins.
func (p *parser) merge() {
	e, own := p.e, p.own
	if own.HTTP == nil {
		own.HTTP = new(recording.HTTP)
	}
	q, s := &own.HTTP.Req, &own.HTTP.Res
	for _, side := range []struct{ own, entry *recording.Headers }{{&q.Headers, &e.HTTP.Req.Headers}, {&s.Headers, &e.HTTP.Res.Headers}} {
		if len(*side.own) == 0 || !slices.Equal(fieldsOf(*side.own), *side.entry) {
			*side.own = *side.entry // they name the bodies' codings
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

// mergeTimes takes the times of the entry if they differ from those of the record.
func (p *parser) mergeTimes(kept []recording.Member) {
	shown := begin(nil)
	appendTimes(&shown, p.own, &kept)
	was := parser{}
	members, _ := was.object("", shown.end(), nil) // the object is valid
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

// mergeServer takes the server's address of the entry if it differs from that of the record.
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

// mergeMessages takes the WebSocket messages of the entry if they differ from those of the record.
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

// current returns the record's body if the entry shows the same one, and nil if somebody changed
// it. A record without a body means that the entry has the exact one.
func (p *parser) current(own recording.Half, text *string, encoding string, entry []byte) []byte {
	if len(own.Body) == 0 {
		if len(entry) == 0 {
			return []byte{} // there is none
		}
		return entry
	}
	if now := show(own); text != nil && now.text == *text && now.encoding == encoding {
		return own.Body
	}
	return nil
}

// decoded notes that a body is decoded, because somebody has changed it in the entry.
func (p *parser) decoded(h recording.Half, side string) {
	if len(h.Codings()) == 0 {
		return
	}
	if have := p.own.Tags.Get(recording.TagDecoded); have != "" && have != side {
		side = "true"
	}
	p.own.Tags.Set(recording.TagDecoded, side)
}

// appendOwn appends the record. It leaves out fields that would be read back from the entry
// unchanged, and bodies that the entry has exactly.
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
