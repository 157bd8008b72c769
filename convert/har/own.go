package har

import (
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
// may have changed it.
func (p *parser) merge() {
	e, own := p.e, p.own
	if own.HTTP == nil {
		own.HTTP = new(recording.HTTP)
	}
	q, s := &own.HTTP.Req, &own.HTTP.Res
	q.Headers, s.Headers = e.HTTP.Req.Headers, e.HTTP.Res.Headers // which name the bodies' codings
	if url, _ := address(own); p.req.url != url || p.req.method != method(own) {
		q.Method, q.Host, q.URI, q.URL = p.req.method, e.HTTP.Req.Host, e.HTTP.Req.URI, e.HTTP.Req.URL
		own.Command, own.Location, own.NetworkAddress, own.IsTLS = e.Command, e.Location, e.NetworkAddress, e.IsTLS
	}
	if s.StatusCode != e.HTTP.Res.StatusCode {
		s.StatusCode, s.StatusMessage, own.Status = e.HTTP.Res.StatusCode, e.HTTP.Res.StatusMessage, e.Status
	}
	if q.Body = p.current(own.Request(), p.req.text, p.req.encoding, e.HTTP.Req.Body); q.Body == nil {
		q.Body = e.HTTP.Req.Body
		p.decoded(own.Request(), "request")
	}
	if s.Body = p.current(own.Response(), p.res.text, p.res.encoding, e.HTTP.Res.Body); s.Body == nil {
		s.Body = e.HTTP.Res.Body
		p.decoded(own.Response(), "response")
	}
	if !own.TS.Equal(e.TS) {
		own.TS = e.TS
	}
	*e = *own
}

// current returns the body that the record holds beside the entry's, if the entry shows what
// it is; nil if somebody changed that. A record holds none where the entry has it exactly.
func (p *parser) current(own recording.Half, text *string, encoding string, entry []byte) []byte {
	if len(own.Body) == 0 {
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

// appendOwn appends the record without what the entry has of it.
func appendOwn(dst []byte, e *recording.Exchange, inRequest, inResponse bool) []byte {
	own := *e
	http := *e.HTTP
	own.HTTP = &http
	http.Req.Headers, http.Res.Headers = nil, nil
	if inRequest {
		http.Req.Body = nil
	}
	if inResponse {
		http.Res.Body = nil
	}
	return own.AppendJSON(dst)
}
