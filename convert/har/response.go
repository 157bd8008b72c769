package har

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

func (p *parser) response(raw []byte) (err error) {
	var headers recording.Headers
	p.res.kept, err = p.object("response", raw, map[string]func([]byte) error{
		"status":      p.number("response.status", &p.res.status),
		"statusText":  p.text("response.statusText", &p.res.statusText),
		"httpVersion": p.text("response.httpVersion", &p.res.version),
		"headers":     p.pairs("response.headers", recording.MaxHeaders, &headers),
		"cookies":     p.pairs("response.cookies", recording.MaxHeaders, &p.res.cookies),
		"redirectURL": p.text("response.redirectURL", &p.res.redirect),
		"content": func(raw []byte) error {
			others, err := p.object("response.content", raw, map[string]func([]byte) error{
				"mimeType":    p.text("response.content.mimeType", &p.res.mime),
				"size":        p.number("response.content.size", &p.res.size),
				"compression": nil,
				"encoding":    p.text("response.content.encoding", &p.res.encoding),
				"text": func(raw []byte) error {
					p.res.text = new(string)
					return p.text("response.content.text", p.res.text)(raw)
				},
			})
			for _, o := range others {
				if string(o.Value) != `""` {
					p.losses.Add("response.content."+o.Name, "not kept")
				}
			}
			return err
		},
	})
	p.e.HTTP.Res.Headers = fieldsOf(headers)
	p.res.nameless = isNameless(headers)
	return err
}

// answer sets the status line of the exchange. Status 0 means that there is no answer.
func (p *parser) answer() {
	e, s := p.e, &p.e.HTTP.Res
	code := int(p.res.status)
	if float64(code) != p.res.status || code < 0 || code > 999 || code > 0 && code < 100 {
		p.losses.Add("response.status", fmt.Sprintf("%v is not a status, not kept", p.res.status))
		code = 0
	}
	if code == 0 {
		e.Tags.Set(recording.TagIncomplete, "no_answer")
		if p.res.statusText != "" {
			p.res.kept = append(p.res.kept, recording.Member{Name: "statusText", Value: recording.AppendString(nil, p.res.statusText)})
		}
		return
	}
	s.StatusCode, e.Status = code, strconv.Itoa(code)
	s.StatusMessage = strings.TrimSpace(e.Status + " " + p.res.statusText)
	s.ContentType = s.Headers.Get("Content-Type")
	if s.ContentType == "" && p.res.mime != "" && p.res.mime != noType && len(s.Headers) > 0 {
		p.res.kept = append(p.res.kept, recording.Member{Name: "_mimeType", Value: recording.AppendString(nil, p.res.mime)})
	} else if s.ContentType == "" && p.res.mime != noType {
		s.ContentType = p.res.mime
	}
}

// appendResponse appends the answer. exact means that it has the exact body. Without an answer, it
// writes status 0, as browsers do.
func appendResponse(dst []byte, e *recording.Exchange, kept []recording.Member) (_ []byte, exact bool) {
	s := &e.HTTP.Res
	h := e.Response()
	o := begin(dst)
	o.number("status", int64(s.StatusCode))
	o.raw("statusText", take(&kept, "statusText", recording.AppendString(nil, reason(s))))
	o.raw("httpVersion", take(&kept, "httpVersion", recording.AppendString(nil, version(e))))
	o.key("cookies")
	o.dst = appendCookies(o.dst, s.Headers)
	o.pairs("headers", s.Headers)
	body := show(h)
	o.key("content")
	content := begin(o.dst)
	content.number("size", int64(body.size))
	if n := int64(body.size) - int64(len(s.Body)); !body.exact && n != 0 {
		content.number("compression", n)
	}
	content.text("mimeType", mimeType(s))
	if len(s.Body) > 0 {
		content.text("text", body.text)
	}
	if body.encoding != "" {
		content.text("encoding", body.encoding)
	}
	o.dst = content.end()
	o.raw("redirectURL", take(&kept, "redirectURL", recording.AppendString(nil, s.Headers.Get("Location"))))
	o.raw("headersSize", take(&kept, "headersSize", []byte("-1")))
	onWire := size(h)
	if s.StatusCode == 0 {
		onWire = -1
	}
	o.raw("bodySize", take(&kept, "bodySize", strconv.AppendInt(nil, onWire, 10)))
	o.rest(kept)
	return o.end(), body.exact
}

// reason returns the reason phrase of an answer.
func reason(s *recording.HTTPResponse) string {
	_, reason, _ := strings.Cut(s.StatusMessage, " ")
	return reason
}

// noType is the media type that Chromium writes for a body without one.
const noType = "x-unknown"

func mimeType(s *recording.HTTPResponse) string {
	return cmp.Or(s.ContentType, s.Headers.Get("Content-Type"), noType)
}
