// Package web has what the formats of other tools share: URLs, names of fields and bodies, as
// an exchange has them and as a message of HTTP has them.
//
// It imports recording and the standard library.
package web

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
)

// MaxBody is how large a body may become when decoded.
const MaxBody = 32 << 20

// SplitURL splits a URL where it stands, without a change to any of its parts. The target is
// path and query; a fragment is left out, as clients do.
func SplitURL(url string) (scheme, userinfo, host, target string, ok bool) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok || scheme == "" || !IsToken(scheme) {
		return "", "", "", "", false
	}
	rest, _, _ = strings.Cut(rest, "#")
	host, target = rest, "/"
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		host, target = rest[:i], rest[i:]
		if target[0] == '?' {
			target = "/" + target
		}
	}
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		userinfo, host = host[:i], host[i+1:]
	}
	return strings.ToLower(scheme), userinfo, host, target, host != ""
}

// IsTLS tells by a URL's scheme whether TLS is spoken.
func IsTLS(scheme string) bool { return scheme == "https" || scheme == "wss" }

// Address is the host with a port, which may be the scheme's.
func Address(scheme, host string) string {
	if host == "" {
		return ""
	}
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	port := "80"
	if IsTLS(scheme) {
		port = "443"
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

// SetRequest fills in what follows from a request's method and URL.
func SetRequest(e *recording.Exchange, method, scheme, host, target string) {
	if e.HTTP == nil {
		e.HTTP = new(recording.HTTP)
	}
	q := &e.HTTP.Req
	q.Method, q.Host, q.URI = method, host, target
	q.URL, _, _ = strings.Cut(target, "?")
	e.Command, e.Location = method, q.URL
	e.IsTLS, e.L7Protocol = IsTLS(scheme), recording.HTTP1
	if e.IsTLS {
		e.L7Protocol = recording.HTTPS
	}
	e.NetworkAddress = Address(scheme, host)
}

// URL is the whole URL of an exchange's request. It is "" if there is none: no request of
// HTTP, one without a host, or a CONNECT.
func URL(e *recording.Exchange) string {
	if e.HTTP == nil {
		return ""
	}
	q := &e.HTTP.Req
	target := cmp.Or(q.URI, q.URL, e.Location)
	if strings.HasPrefix(target, "http://") || strings.HasPrefix(target, "https://") {
		return target
	}
	host := cmp.Or(q.Host, q.Headers.Get("Host"), e.NetworkAddress)
	if q.Method == "CONNECT" || host == "" || host == recording.Undefined || strings.ContainsAny(host, "/?#@ ") {
		return ""
	}
	scheme := "http"
	if e.IsTLS || e.L7Protocol == recording.HTTPS {
		scheme = "https"
	}
	if e.L7Protocol == recording.WebSocket || e.WebSocket != nil {
		scheme = map[bool]string{false: "ws", true: "wss"}[e.IsTLS]
	}
	if target == "*" { // OPTIONS of the server
		target = ""
	} else if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	return scheme + "://" + host + target
}

// Name brings the name of a field into the form that exchanges have.
func Name(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

// IsToken tells whether a text is a token of HTTP, as methods and names of fields are.
func IsToken(text string) bool {
	for i := range len(text) {
		c := text[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("()<>@,;:\\\"/[]?={}", c) >= 0 {
			return false
		}
	}
	return text != ""
}

// IsValue tells whether a text can be a field's value in a message of HTTP/1.
func IsValue(text string) bool { return !strings.ContainsAny(text, "\r\n\x00") }

// Body is how a body goes into a message that is built anew.
type Body struct {
	// Bytes are the body's.
	Bytes []byte
	// Decoded tells that they have not the codings that Content-Encoding names.
	Decoded bool
}

// BodyOf is the body as it is stored.
func BodyOf(h recording.Half) Body { return Body{h.Body, h.Decoded()} }

// maxDepth is how deep JSON may be nested that is kept as it is: a record, in which it is nested
// again, may be 500 deep.
const maxDepth = 100

// Keep returns JSON as a [recording.Member] has it, without white space and in UTF-8, and says in
// words what was lost; nil if nothing can be kept.
func Keep(raw []byte) (kept json.RawMessage, lost string) {
	if recording.Depth(raw) > maxDepth {
		return nil, fmt.Sprintf("nested more than %d deep, not kept", maxDepth)
	}
	var b bytes.Buffer
	b.Grow(len(raw))
	if err := json.Compact(&b, raw); err != nil {
		return nil, "is no JSON, not kept"
	}
	if !utf8.Valid(b.Bytes()) {
		return bytes.ToValidUTF8(b.Bytes(), []byte("\ufffd")), "is no UTF-8; U+FFFD stands for what is none"
	}
	return b.Bytes(), ""
}

// UUID makes an identity of what is the same whenever a record is read.
func UUID(parts ...[]byte) (u recording.UUID) {
	h := sha256.New()
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write(p)
	}
	copy(u[:], h.Sum(nil))
	return u
}
