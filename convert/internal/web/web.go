// Package web converts URLs, header field names and bodies between exchanges and HTTP messages.
// The formats of other tools share it.
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

// MaxBody is the largest size of a decoded body, in bytes.
const MaxBody = 32 << 20

// SplitURL splits a URL without normalizing its parts, except that the scheme becomes lower case.
// The target is path and query. The fragment is left out, as in a request.
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

// IsTLS reports whether a URL's scheme uses TLS.
func IsTLS(scheme string) bool { return scheme == "https" || scheme == "wss" }

// Address returns the host with its port, or with the default port of the scheme.
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

// SetRequest sets the fields of an exchange that follow from the method and the URL of its request.
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

// URL returns the whole URL of an exchange's request. It returns "" if the exchange is not HTTP, or
// if the request has no host or is a CONNECT.
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
	if target == "*" { // OPTIONS for the whole server
		target = ""
	} else if !strings.HasPrefix(target, "/") {
		target = "/" + target
	}
	return scheme + "://" + host + target
}

// Name returns the name of a header field in the form that exchanges use.
func Name(name string) string { return textproto.CanonicalMIMEHeaderKey(name) }

// IsToken reports whether text is an HTTP token. Methods and field names are tokens.
func IsToken(text string) bool {
	for i := range len(text) {
		c := text[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("()<>@,;:\\\"/[]?={}", c) >= 0 {
			return false
		}
	}
	return text != ""
}

// IsValue reports whether text can be a field value in an HTTP/1 message.
func IsValue(text string) bool { return !strings.ContainsAny(text, "\r\n\x00") }

// Body is a body for a new message.
type Body struct {
	Bytes []byte
	// Decoded means that the codings that Content-Encoding names have been removed.
	Decoded bool
}

// BodyOf returns a body as it is stored.
func BodyOf(h recording.Half) Body { return Body{h.Body, h.Decoded()} }

// maxDepth is how deep JSON may be nested for Keep. The limit for a whole record, in which the JSON is
// nested further, is 500.
const maxDepth = 100

// Keep returns JSON for a [recording.Member], without white space and in UTF-8, and describes what was
// lost. It returns nil if it can't keep the JSON.
func Keep(raw []byte) (kept json.RawMessage, lost string) {
	if recording.Depth(raw) > maxDepth {
		return nil, fmt.Sprintf("nested more than %d deep, not kept", maxDepth)
	}
	var b bytes.Buffer
	b.Grow(len(raw))
	if err := json.Compact(&b, raw); err != nil {
		return nil, "is not JSON, not kept"
	}
	if !utf8.Valid(b.Bytes()) {
		return bytes.ToValidUTF8(b.Bytes(), []byte("\ufffd")), "is not UTF-8; U+FFFD replaces the invalid bytes"
	}
	return b.Bytes(), ""
}

// UUID derives an identity from the parts. Parts that don't change give the same identity each time.
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
