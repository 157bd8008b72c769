package har

import (
	"cmp"
	"mime"
	"net/url"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

func (p *parser) request(raw []byte) (err error) {
	var headers []pair
	p.keptReq, err = p.object("request", raw, map[string]func([]byte) error{
		"method":      p.text("request.method", &p.method),
		"url":         p.text("request.url", &p.url),
		"httpVersion": p.text("request.httpVersion", &p.reqVersion),
		"headers":     p.pairs("request.headers", recording.MaxHeaders, &headers),
		"cookies":     p.pairs("request.cookies", recording.MaxHeaders, &p.cookies),
		"queryString": p.pairs("request.queryString", 100_000, &p.query),
		"postData": func(raw []byte) error {
			others, err := p.object("request.postData", raw, map[string]func([]byte) error{
				"mimeType": p.text("request.postData.mimeType", &p.reqMime),
				"text": func(raw []byte) error {
					p.reqText = new(string)
					return p.text("request.postData.text", p.reqText)(raw)
				},
				"encoding":  p.text("request.postData.encoding", &p.reqCoded),
				"_encoding": p.text("request.postData._encoding", &p.reqCoded),
			})
			p.params = others
			return err
		},
	})
	p.e.HTTP.Req.Headers = p.headers("request.headers", headers)
	return err
}

// form makes the body of a form of its parameters, where no text is.
func (p *parser) form() {
	at := slices.IndexFunc(p.params, func(m recording.Member) bool { return m.Name == "params" })
	if at < 0 || !strings.HasPrefix(p.reqMime, "application/x-www-form-urlencoded") {
		return
	}
	var params []pair
	if p.pairs("request.postData.params", 100_000, &params)(p.params[at].Value) != nil {
		return
	}
	var b strings.Builder
	for i, one := range params {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(one.name) + "=" + url.QueryEscape(one.value))
	}
	if b.Len() > 0 {
		p.e.HTTP.Req.Body = []byte(b.String())
	}
}

// request is the request, and whether its body is exactly in it.
func request(e *recording.Exchange, address string) (o object, exact bool) {
	q := &e.HTTP.Req
	h := e.Request()
	o.text("method", cmp.Or(q.Method, "GET"))
	o.text("url", address)
	o.text("httpVersion", version(e))
	o.set("cookies", pairs(requestCookies(q.Headers)))
	o.set("headers", fields(q.Headers))
	_, query, _ := strings.Cut(address, "?")
	o.set("queryString", pairs(queryOf(query)))
	body := show(h)
	if len(q.Body) > 0 {
		var post object
		post.text("mimeType", q.Headers.Get("Content-Type"))
		post.set("params", params(q.Headers.Get("Content-Type"), body))
		post.text("text", body.text)
		if body.encoding != "" {
			post.text("_encoding", body.encoding)
		}
		o.set("postData", post.append(nil))
	}
	o.number("headersSize", -1)
	o.number("bodySize", size(h))
	return o, body.exact
}

// params are those of a form, which Firefox and other readers show.
func params(kind string, body shown) []byte {
	if name, _, _ := mime.ParseMediaType(kind); name == "application/x-www-form-urlencoded" && body.encoding == "" {
		return pairs(queryOf(strings.TrimSpace(body.text)))
	}
	return []byte("[]")
}
