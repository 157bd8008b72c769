package har

import (
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

// derived checks members that should follow from others, such as cookies from headers. It reports
// values that don't as losses.
func (p *parser) derived() {
	e := p.e
	if p.req.nameless && p.own == nil {
		p.losses.Add("request.headers", "a field without a name, not kept")
	}
	if p.res.nameless && p.own == nil {
		p.losses.Add("response.headers", "a field without a name, not kept")
	}
	in := map[recording.Header]bool{}
	for _, c := range requestCookies(e.HTTP.Req.Headers) {
		in[c] = true
	}
	for _, c := range p.req.cookies {
		if !in[c] && !in[recording.Header{Name: c.Name, Value: strings.Trim(c.Value, `"`)}] && !in[recording.Header{Name: c.Name, Value: `"` + c.Value + `"`}] {
			p.losses.Add("request.cookies", "has one that no field Cookie has, not kept")
		}
	}
	set := map[string]bool{}
	for _, c := range responseCookies(e.HTTP.Res.Headers) {
		set[c.Name] = true
	}
	for _, c := range p.res.cookies {
		if !set[c.Name] {
			p.losses.Add("response.cookies", "has one that no field Set-Cookie sets, not kept")
		}
	}
	_, query, _ := strings.Cut(p.req.url, "?")
	if n := len(queryOf(query)); len(p.req.query) > n {
		p.losses.Add("request.queryString", "has more than the URL, not kept")
	}
	if p.res.redirect != "" && p.res.redirect != e.HTTP.Res.Headers.Get("Location") {
		p.res.kept = append(p.res.kept, recording.Member{Name: "redirectURL", Value: recording.AppendString(nil, p.res.redirect)})
	}
}

// requestCookies returns the cookies that a client sent.
func requestCookies(h recording.Headers) (all recording.Headers) {
	for line := range h.Values("Cookie") {
		for one := range strings.SplitSeq(line, ";") {
			if name, value, ok := strings.Cut(strings.TrimSpace(one), "="); ok {
				all = append(all, recording.Header{Name: name, Value: value})
			}
		}
	}
	return all
}

// responseCookies returns the names and values of the cookies that a server set.
func responseCookies(h recording.Headers) (all recording.Headers) {
	for line := range h.Values("Set-Cookie") {
		first, _, _ := strings.Cut(line, ";")
		name, value, _ := strings.Cut(strings.TrimSpace(first), "=")
		all = append(all, recording.Header{Name: name, Value: value})
	}
	return all
}

// appendCookies appends the cookies that a server set.
func appendCookies(dst []byte, h recording.Headers) []byte {
	dst = append(dst, '[')
	some := false
	for line := range h.Values("Set-Cookie") {
		if some {
			dst = append(dst, ',')
		}
		some = true
		dst = appendCookie(dst, line)
	}
	return append(dst, ']')
}

func appendCookie(dst []byte, line string) []byte {
	first, attributes, _ := strings.Cut(line, ";")
	name, value, _ := strings.Cut(strings.TrimSpace(first), "=")
	o := begin(dst)
	o.text("name", name)
	o.text("value", value)
	last := map[string][]byte{} // of several equal attributes, the last one counts
	for one := range strings.SplitSeq(attributes, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
		switch strings.ToLower(name) {
		case "path", "domain":
			last[strings.ToLower(name)] = recording.AppendString(nil, value)
		case "expires":
			if t, err := time.Parse(time.RFC1123, strings.ReplaceAll(value, "-", " ")); err == nil {
				last["expires"] = recording.AppendString(nil, t.UTC().Format(time.RFC3339))
			}
		case "httponly":
			last["httpOnly"] = []byte("true")
		case "secure":
			last["secure"] = []byte("true")
		case "samesite":
			last["sameSite"] = recording.AppendString(nil, value)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(last)) {
		o.raw(name, last[name])
	}
	return o.end()
}

// queryOf returns the parameters of a query, decoded if possible.
func queryOf(query string) (all recording.Headers) {
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
		all = append(all, recording.Header{Name: plain(name), Value: plain(value)})
	}
	return all
}
