package har

import (
	"cmp"
	"mime"
	"net/url"
	"slices"
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
	p.e.HTTP.Req.Headers = p.headers("request.headers", headers)
	return err
}

// form makes the body of a form of its parameters, where no text is.
func (p *parser) form() {
	at := slices.IndexFunc(p.req.post, func(m recording.Member) bool { return m.Name == "params" })
	if at < 0 || !strings.HasPrefix(p.req.mime, "application/x-www-form-urlencoded") {
		return
	}
	var params recording.Headers
	if p.pairs("request.postData.params", 100_000, &params)(p.req.post[at].Value) != nil {
		return
	}
	var b strings.Builder
	for i, one := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(one.Name) + "=" + url.QueryEscape(one.Value))
	}
	if b.Len() > 0 {
		p.e.HTTP.Req.Body = []byte(b.String())
	}
}

// appendRequest appends the request, and tells whether its body is exactly in it.
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
		var form recording.Headers // which Firefox and other readers show
		if name, _, _ := mime.ParseMediaType(kind); name == "application/x-www-form-urlencoded" && body.encoding == "" {
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

// method is the request's, as HAR has it.
func method(e *recording.Exchange) string { return cmp.Or(e.HTTP.Req.Method, "GET") }
