package har

import (
	"cmp"
	"encoding/json"
	"fmt"
	"mime"
	"net/url"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

func (p *parser) request(raw []byte) (err error) {
	var headers recording.Headers
	p.req.kept, err = p.object("request", raw, map[string]func([]byte) error{
		"method":      p.text("request.method", &p.req.method),
		"url":         p.text("request.url", &p.req.url),
		"httpVersion": p.text("request.httpVersion", &p.req.version),
		"headers":     p.pairs("request.headers", recording.MaxHeaders, &headers),
		"cookies":     p.pairs("request.cookies", recording.MaxHeaders, &p.req.cookies),
		"queryString": p.pairs("request.queryString", 100_000, &p.req.query),
		"postData": func(raw []byte) error {
			others, err := p.object("request.postData", raw, map[string]func([]byte) error{
				"mimeType": p.text("request.postData.mimeType", &p.req.mime),
				"text": func(raw []byte) error {
					p.req.text = new(string)
					return p.text("request.postData.text", p.req.text)(raw)
				},
				"encoding":  p.text("request.postData.encoding", &p.req.encoding),
				"_encoding": p.text("request.postData._encoding", &p.req.encoding),
			})
			p.req.post = others
			return err
		},
	})
	p.e.HTTP.Req.Headers = fieldsOf(headers)
	p.req.authority, p.req.nameless = headers.Get(":authority"), isNameless(headers)
	return err
}

// params handles the members of postData other than the text. Parameters become the body of a form
// without a text.
func (p *parser) params() {
	for _, o := range p.req.post {
		switch v := string(o.Value); {
		case v == `""` || v == "[]" || v == "null":
		case o.Name != "params" || !strings.HasPrefix(strings.ToLower(p.req.mime), formType):
			if o.Name != "params" || len(p.e.HTTP.Req.Body) == 0 { // otherwise the text has the parameters
				p.losses.Add("request.postData."+o.Name, "not kept")
			}
		default:
			var params recording.Headers
			if p.pairs("request.postData.params", 100_000, &params)(o.Value) != nil {
				p.losses.Add("request.postData.params", "is not a list of names and values, not kept")
			} else if len(p.e.HTTP.Req.Body) == 0 {
				p.form(params)
			} else if n := len(queryOf(string(p.e.HTTP.Req.Body))); len(params) > n {
				p.losses.Add("request.postData.params", "has more than the text, not kept")
			}
		}
	}
}

const formType = "application/x-www-form-urlencoded"

// missing reports a body that was sent and is not in the file.
func (p *parser) missing() {
	for _, m := range p.req.kept {
		size := 0.0
		if m.Name != "bodySize" || json.Unmarshal(m.Value, &size) != nil || size < 1 || size > 1<<50 {
			continue
		}
		p.losses.Add("request.postData", fmt.Sprintf("a body of %.0f bytes is not in the file", size))
		p.e.Tags.Set(recording.TagTruncated, "true")
		p.e.Tags.Set(recording.TagRequestBodySize, strconv.FormatInt(int64(size), 10))
	}
}

// form makes the body of a form from its parameters.
func (p *parser) form(params recording.Headers) {
	var b strings.Builder
	for i, one := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(one.Name) + "=" + url.QueryEscape(one.Value))
	}
	p.e.HTTP.Req.Body = []byte(b.String())
}

// appendRequest appends the request. exact means that it has the exact body.
func appendRequest(dst []byte, e *recording.Exchange, url string, kept []recording.Member) (_ []byte, exact bool) {
	q := &e.HTTP.Req
	h := e.Request()
	o := begin(dst)
	o.text("method", method(e))
	o.text("url", url)
	o.text("httpVersion", version(e))
	o.pairs("cookies", requestCookies(q.Headers))
	o.pairs("headers", q.Headers)
	_, query, _ := strings.Cut(url, "?")
	o.pairs("queryString", queryOf(query))
	body := show(h)
	if len(q.Body) > 0 {
		kind := q.Headers.Get("Content-Type")
		o.key("postData")
		post := begin(o.dst)
		post.text("mimeType", kind)
		var form recording.Headers // Firefox and other readers show these
		if name, _, _ := mime.ParseMediaType(kind); name == formType && body.encoding == "" {
			form = queryOf(strings.TrimSpace(body.text))
		}
		post.pairs("params", form)
		post.text("text", body.text)
		if body.encoding != "" {
			post.text("_encoding", body.encoding)
		}
		o.dst = post.end()
	}
	o.raw("headersSize", take(&kept, "headersSize", []byte("-1")))
	o.raw("bodySize", take(&kept, "bodySize", strconv.AppendInt(nil, size(h), 10)))
	o.rest(kept)
	return o.end(), body.exact
}

// method returns the method for an entry.
func method(e *recording.Exchange) string { return cmp.Or(e.HTTP.Req.Method, "GET") }
