package har

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

func (p *parser) response(raw []byte) (err error) {
	var headers []pair
	p.keptRes, err = p.object("response", raw, map[string]func([]byte) error{
		"status":      p.number("response.status", &p.status),
		"statusText":  p.text("response.statusText", &p.statusText),
		"httpVersion": p.text("response.httpVersion", &p.resValue),
		"headers":     p.pairs("response.headers", recording.MaxHeaders, &headers),
		"cookies":     p.pairs("response.cookies", recording.MaxHeaders, &p.setCookies),
		"redirectURL": p.text("response.redirectURL", &p.redirect),
		"content": func(raw []byte) error {
			others, err := p.object("response.content", raw, map[string]func([]byte) error{
				"mimeType":    p.text("response.content.mimeType", &p.resMime),
				"size":        p.number("response.content.size", &p.resSize),
				"compression": nil,
				"encoding":    p.text("response.content.encoding", &p.resCoded),
				"text": func(raw []byte) error {
					p.resText = new(string)
					return p.text("response.content.text", p.resText)(raw)
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
	p.e.HTTP.Res.Headers = p.headers("response.headers", headers)
	return err
}

// answer fills in what is known of the answer. Status 0 is none.
func (p *parser) answer() {
	e, s := p.e, &p.e.HTTP.Res
	code := int(p.status)
	if float64(code) != p.status || code < 0 || code > 999 || code > 0 && code < 100 {
		p.losses.Add("response.status", fmt.Sprintf("%v is no status, not kept", p.status))
		code = 0
	}
	if code == 0 {
		e.Tags.Set(recording.TagIncomplete, "no_answer")
		if p.statusText != "" {
			p.keptRes = append(p.keptRes, recording.Member{Name: "statusText", Value: recording.AppendString(nil, p.statusText)})
		}
		return
	}
	s.StatusCode, e.Status = code, strconv.Itoa(code)
	s.StatusMessage = strings.TrimSpace(e.Status + " " + p.statusText)
	s.ContentType = s.Headers.Get("Content-Type")
	if s.ContentType == "" && p.resMime != "" && p.resMime != "x-unknown" && len(s.Headers) > 0 {
		p.keptRes = append(p.keptRes, recording.Member{Name: "_mimeType", Value: recording.AppendString(nil, p.resMime)})
	} else if s.ContentType == "" && p.resMime != "x-unknown" {
		s.ContentType = p.resMime
	}
}

// response is the answer, and whether its body is exactly in it. Without an answer its status
// is 0, as browsers have it.
func response(e *recording.Exchange) (o object, exact bool) {
	s := &e.HTTP.Res
	h := e.Response()
	_, reason, _ := strings.Cut(s.StatusMessage, " ")
	o.number("status", int64(s.StatusCode))
	o.text("statusText", reason)
	o.text("httpVersion", version(e))
	o.set("cookies", setCookies(s.Headers))
	o.set("headers", fields(s.Headers))
	body := show(h)
	var content object
	content.number("size", int64(body.size))
	if n := int64(body.size) - int64(len(s.Body)); !body.exact && n != 0 {
		content.number("compression", n)
	}
	content.text("mimeType", cmp.Or(s.ContentType, s.Headers.Get("Content-Type"), "x-unknown"))
	if len(s.Body) > 0 {
		content.text("text", body.text)
	}
	if body.encoding != "" {
		content.text("encoding", body.encoding)
	}
	o.set("content", content.append(nil))
	o.text("redirectURL", s.Headers.Get("Location"))
	o.number("headersSize", -1)
	o.number("bodySize", size(h))
	if s.StatusCode == 0 {
		o.number("bodySize", -1)
	}
	return o, body.exact
}
