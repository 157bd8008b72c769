package markdown

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"iter"
	"mime"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
)

// http returns the HTTP part of an exchange, and adds it if it is missing.
func http(e *recording.Exchange) *recording.HTTP {
	if e.HTTP == nil {
		e.HTTP = new(recording.HTTP)
	}
	return e.HTTP
}

// request reads the section of the request.
func (p *parser) request(e *recording.Exchange, s *section) error {
	first, fields, err := head(s)
	if err != nil {
		return err
	}
	method, rest, _ := strings.Cut(first, " ")
	target, version, ok := cutLast(rest, " HTTP/")
	if !ok || method == "" || target == "" {
		return &Error{s.at(0), fmt.Sprintf("found %.80q, want a request line such as GET http://host/path HTTP/1.1", first)}
	}
	u, err := url.Parse(target)
	if err != nil {
		return &Error{s.at(0), fmt.Sprintf("the request line's URL %.80q can't be parsed", target)}
	}
	r := &http(e).Req
	r.Method, r.Version = method, version
	if e.L7Protocol != recording.GRPC {
		e.Command = method
	}
	same := body(&r.Body, s.block(1))
	p.headers(&r.Headers, fields, same)
	if media, _, _ := mime.ParseMediaType(r.Headers.Get("Content-Type")); !same && media == "application/x-www-form-urlencoded" {
		if form, ok := formOf(r.Body); ok {
			r.Body = form
			p.lose("REQUEST body: the file shows a form as JSON; how it was escaped is not known")
		}
	}
	if uri := requestURI(target, u); r.URI != uri && r.URI != target {
		r.URI, r.URL, e.Location = uri, u.Path, u.Path
	}
	r.Host = cmp.Or(r.Headers.Get("Host"), r.Host, u.Host)
	if e.NetworkAddress == "" && p.sections[internal] == nil {
		e.NetworkAddress = address(u)
		e.IsTLS = u.Scheme == "https"
	}
	if e.L7Protocol == "" {
		e.L7Protocol = recording.HTTP1
		if u.Scheme == "https" {
			e.L7Protocol = recording.HTTPS
		}
	}
	return nil
}

// formOf returns the form that the ecosystem's recorder shows as a JSON object. The values are strings, or
// lists of strings if a name is repeated.
func formOf(body []byte) (form []byte, ok bool) {
	if !json.Valid(body) {
		return nil, false
	}
	var b bytes.Buffer
	err := recording.EachMember(body, recording.MaxMembers, func(name string, value []byte) error {
		var all []string
		if err := json.Unmarshal(value, &all); err != nil {
			text, _, err := recording.Unquote(value)
			if err != nil {
				return err
			}
			all = []string{text}
		}
		for _, text := range all {
			b.WriteString("&" + url.QueryEscape(name) + "=" + url.QueryEscape(text))
		}
		return nil
	})
	return bytes.TrimPrefix(b.Bytes(), []byte("&")), err == nil && b.Len() > 0
}

// requestURI returns the path and the query of a URL as they are in the text.
func requestURI(text string, u *url.URL) string {
	if u.Host == "" {
		return text
	}
	_, rest, _ := strings.Cut(text, "://")
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest, _, _ = strings.Cut(rest[i:], "#")
		if rest[0] == '?' {
			rest = "/" + rest
		}
		return rest
	}
	return "/"
}

// address returns the host and port of a URL.
func address(u *url.URL) string {
	if u.Host == "" || u.Port() != "" {
		return u.Host
	}
	port := "80"
	if u.Scheme == "https" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// response reads the section of the response. Without a status line there is no answer.
func (p *parser) response(e *recording.Exchange, s *section) error {
	if strings.TrimSpace(s.block(0)) == "" {
		return nil
	}
	first, fields, err := head(s)
	if err != nil {
		return err
	}
	_, message, ok := strings.Cut(first, " ")
	number, _, _ := strings.Cut(message, " ")
	code, err := strconv.Atoi(number)
	if !ok || !strings.HasPrefix(first, "HTTP/") || err != nil || code < 100 || code > 999 {
		return &Error{s.at(0), fmt.Sprintf("found %.80q, want a status line such as HTTP/1.1 200 OK", first)}
	}
	r := &http(e).Res
	if r.StatusCode != code || r.StatusMessage != message {
		r.StatusCode, r.StatusMessage = code, message
		if e.L7Protocol != recording.GRPC {
			e.Status = number
		}
	}
	same := body(&r.Body, s.block(1))
	p.headers(&r.Headers, fields, same)
	r.ContentType = cmp.Or(r.Headers.Get("Content-Type"), r.ContentType)
	return nil
}

// head reads the first block of a message: its first line and its fields.
func head(s *section) (first string, fields recording.Headers, err error) {
	first, rest, _ := strings.Cut(s.block(0), "\n")
	at := s.at(0)
	for line := range strings.SplitSeq(rest, "\n") {
		at++
		if line = strings.TrimRight(line, "\r"); line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return "", nil, &Error{at, fmt.Sprintf("found %.80q, want a field such as Content-Type: text/plain", line)}
		}
		for v := range list(strings.TrimPrefix(value, " ")) {
			if fields = append(fields, recording.Header{Name: name, Value: v}); len(fields) > recording.MaxHeaders {
				return "", nil, &Error{at, fmt.Sprintf("more than %d fields", recording.MaxHeaders)}
			}
		}
	}
	return strings.TrimRight(first, "\r"), fields, nil
}

// list splits a list at its commas. It removes the escapes of commas and backslashes within an item.
func list(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		var one strings.Builder
		for i := 0; i < len(text); i++ {
			switch c := text[i]; {
			case c == '\\' && i+1 < len(text) && (text[i+1] == ',' || text[i+1] == '\\'):
				i++
				one.WriteByte(text[i])
			case c == ',':
				if !yield(one.String()) {
					return
				}
				one.Reset()
				if i+1 < len(text) && text[i+1] == ' ' {
					i++
				}
			default:
				one.WriteByte(c)
			}
		}
		yield(one.String())
	}
}

// headers sets the fields to those of a section, unless they equal those of the JSON. A section has no
// Content-Length, so the JSON's is kept if the body is the same.
func (p *parser) headers(have *recording.Headers, shown recording.Headers, sameBody bool) {
	const length = "Content-Length"
	var lengths recording.Headers
	others := slices.DeleteFunc(slices.Clone(*have), func(h recording.Header) bool { return h.Name == length })
	for v := range have.Values(length) {
		lengths = append(lengths, recording.Header{Name: length, Value: v})
	}
	if !sameBody || shown.Get(length) != "" {
		lengths = nil
	}
	if shown = append(shown, lengths...); !reflect.DeepEqual(byName(append(others, lengths...)), byName(shown)) {
		*have = shown
	}
}

func byName(h recording.Headers) map[string][]string {
	all := map[string][]string{}
	for _, one := range h {
		all[one.Name] = append(all[one.Name], one.Value)
	}
	return all
}

// body sets the body to that of a section, unless the section shows the JSON's body, which may be binary.
// It reports whether the section does.
func body(have *[]byte, shown string) (same bool) {
	if len(*have) > 0 && (!utf8.Valid(*have) || sameText(*have, shown)) || len(*have) == 0 && shown == "" {
		return true
	}
	*have = nil
	if shown != "" {
		*have = []byte(shown)
	}
	return false
}

// maxCompared limits the size of bodies that are compared as JSON values, which take many times the memory
// of their text.
const maxCompared = 4 << 20

// sameText reports whether the text shows the body: unchanged, with other line ends, or as JSON with the
// same value.
func sameText(body []byte, shown string) bool {
	if string(body) == shown || strings.TrimSpace(strings.ReplaceAll(string(body), "\r\n", "\n")) == strings.TrimSpace(strings.ReplaceAll(shown, "\r\n", "\n")) {
		return true
	}
	var x, y bytes.Buffer
	if json.Compact(&x, body) != nil || json.Compact(&y, []byte(shown)) != nil {
		return false
	}
	if bytes.Equal(x.Bytes(), y.Bytes()) {
		return true
	}
	var a, b any
	return max(x.Len(), y.Len()) <= maxCompared && decode(x.Bytes(), &a) && decode(y.Bytes(), &b) && reflect.DeepEqual(a, b)
}

// decode reads JSON, and keeps its numbers as text.
func decode(text []byte, to *any) bool {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	return d.Decode(to) == nil
}
