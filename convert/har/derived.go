package har

import (
	"net/url"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// derived names what members say that follow from others, and do not.
func (p *parser) derived() {
	e := p.e
	in := map[pair]bool{}
	for _, c := range requestCookies(e.HTTP.Req.Headers) {
		in[c] = true
	}
	for _, c := range p.cookies {
		if !in[c] && !in[pair{c.name, strings.Trim(c.value, `"`)}] && !in[pair{c.name, `"` + c.value + `"`}] {
			p.losses.Add("request.cookies", "has one that is in no field Cookie, not kept")
		}
	}
	set := map[string]bool{}
	for _, c := range responseCookies(e.HTTP.Res.Headers) {
		set[c.name] = true
	}
	for _, c := range p.setCookies {
		if !set[c.name] {
			p.losses.Add("response.cookies", "has one that no field Set-Cookie sets, not kept")
		}
	}
	_, query, _ := strings.Cut(e.HTTP.Req.URI, "?")
	if n := len(queryOf(query)); len(p.query) > n {
		p.losses.Add("request.queryString", "has more than the URL, not kept")
	}
	if p.redirect != "" && p.redirect != e.HTTP.Res.Headers.Get("Location") {
		p.keptRes = append(p.keptRes, recording.Member{Name: "redirectURL", Value: recording.AppendString(nil, p.redirect)})
	}
}

// requestCookies are those that a client sent.
func requestCookies(h recording.Headers) (all []pair) {
	for line := range h.Values("Cookie") {
		for one := range strings.SplitSeq(line, ";") {
			if name, value, ok := strings.Cut(strings.TrimSpace(one), "="); ok {
				all = append(all, pair{name, value})
			}
		}
	}
	return all
}

// responseCookies are the names and values of those that a server set.
func responseCookies(h recording.Headers) (all []pair) {
	for line := range h.Values("Set-Cookie") {
		for line := range strings.SplitSeq(line, "\n") { // as Chromium joins several
			first, _, _ := strings.Cut(line, ";")
			name, value, _ := strings.Cut(strings.TrimSpace(first), "=")
			all = append(all, pair{name, value})
		}
	}
	return all
}

// setCookies are the cookies of an answer.
func setCookies(h recording.Headers) []byte {
	var all []object
	for line := range h.Values("Set-Cookie") {
		first, attributes, _ := strings.Cut(line, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(first), "=")
		var o object
		o.text("name", name)
		o.text("value", value)
		for one := range strings.SplitSeq(attributes, ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
			switch strings.ToLower(name) {
			case "path", "domain":
				o.text(strings.ToLower(name), value)
			case "expires":
				if t, err := time.Parse(time.RFC1123, strings.ReplaceAll(value, "-", " ")); err == nil {
					o.text("expires", t.UTC().Format(time.RFC3339))
				}
			case "httponly":
				o.set("httpOnly", []byte("true"))
			case "secure":
				o.set("secure", []byte("true"))
			case "samesite":
				o.text("sameSite", value)
			}
		}
		all = append(all, o)
	}
	return array(all)
}

// queryOf are the parameters of a query, decoded where that is possible.
func queryOf(query string) (all []pair) {
	if query == "" {
		return nil
	}
	plain := func(text string) string {
		if s, err := url.QueryUnescape(text); err == nil {
			return s
		}
		return text
	}
	for one := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(one, "=")
		all = append(all, pair{plain(name), plain(value)})
	}
	return all
}
