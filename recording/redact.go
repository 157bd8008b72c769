package recording

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"
)

// RedactedPrefix begins the token that stands for a secret.
const RedactedPrefix = "REDACTED-"

// form says which part of a value is secret.
type form uint8

const (
	whole     form = iota // all of it
	scheme                // what follows the authentication scheme: Bearer …
	cookies               // the values of a=…; b=…
	setCookie             // the value of a=…, not its attributes
	protocols             // what in a list of WebSocket protocols isn't the name of one
	link                  // user information and secret parameters of a URL
)

// secrets is what is redacted unless said otherwise: headers and parameters by
// names as [Redact.find] compares them.
var secrets = []struct {
	form  form
	names []string
}{
	{whole, []string{
		// Who is asked in so many words.
		"auth", "code", "jwt", "passwd", "password", "pwd", "secret", "sig", "signature", "token",
		// Of OAuth, OpenID and sessions.
		"access-token", "auth-token", "client-assertion", "client-secret", "csrf-token", "forwarded-access-token", "forwarded-id-token",
		"id-token", "jsessionid", "refresh-token", "session-token", "xsrf-token",
		// Of APIs and gateways.
		"api-key", "api-token", "auth-key", "cf-access-jwt-assertion", "functions-key", "gitlab-token", "ocp-apim-subscription-key",
		"private-token", "vault-token",
		// Of clouds.
		"amz-credential", "amz-security-token", "amz-signature", "amzn-oidc-accesstoken", "amzn-oidc-data",
		"goog-api-key", "goog-credential", "goog-iap-jwt-assertion", "goog-signature",
		"ms-token-aad-access-token", "ms-token-aad-id-token",
	}},
	{scheme, []string{"authorization", "forwarded-authorization", "original-authorization", "proxy-authorization"}},
	{cookies, []string{"cookie"}},
	{setCookie, []string{"set-cookie"}},
	{protocols, []string{"sec-websocket-protocol"}},
	{link, []string{"content-location", "envoy-original-path", "forwarded-uri", "host", "location", "original-url", "referer", "rewrite-url"}},
}

// Redact is a [Sink] that replaces secrets by tokens and passes the exchange
// on. Equal secrets get equal tokens while the process lives, so a session can
// be followed through a recording; the key is random and never leaves memory,
// so a token can't be turned back or guessed at.
//
// It covers headers, trailers, gRPC metadata, cookies, parameters of a URL and
// its user information. It doesn't look into bodies, nor into streams that no decoder knew.
type Redact struct {
	next  Sink
	names map[string]form
	ends  ends
	key   [32]byte
}

// NewRedact returns a sink in front of next that redacts the default headers
// and parameters, and all of the ones named in more.
func NewRedact(next Sink, more ...string) *Redact {
	r := &Redact{next: next, names: make(map[string]form)}
	rand.Read(r.key[:])
	add := func(name string, f form) {
		plain := string(appendPlain(nil, name))
		r.names[plain] = f
		r.ends.add(plain)
	}
	for _, s := range secrets {
		for _, name := range s.names {
			add(name, s.form)
		}
	}
	for _, name := range more {
		add(name, whole)
	}
	return r
}

// Write implements [Sink].
func (r *Redact) Write(e *Exchange) error {
	if h := e.HTTP; h != nil {
		h.Req.URI = r.link(h.Req.URI)
		h.Req.Host = r.link(h.Req.Host)
		url := r.link(h.Req.URL)
		if e.Location == h.Req.URL { // of all that were captured
			e.Location = url
		} else {
			e.Location = r.link(e.Location)
		}
		h.Req.URL = url
		r.fields(h.Req.Headers)
		r.fields(h.Res.Headers)
	}
	return r.next.Write(e)
}

// Flush implements [Sink].
func (r *Redact) Flush(ctx context.Context) error { return r.next.Flush(ctx) }

// Close implements [Sink].
func (r *Redact) Close(ctx context.Context) error { return r.next.Close(ctx) }

func (r *Redact) fields(h Headers) {
	for i := range h {
		if !r.ends.has(h[i].Name) {
			continue
		}
		if f, ok := r.find(h[i].Name); ok {
			h[i].Value = r.value(f, h[i].Value)
		}
	}
}

// find tells what of the value under a name is secret. Headers and parameters
// are called alike, so their names are compared alike: without case, `-`, `_`
// and a leading `X-`, and unescaped.
func (r *Redact) find(name string) (f form, ok bool) {
	var room [64]byte
	f, ok = r.names[string(appendPlain(room[:0], name))]
	return f, ok
}

// isSecret tells whether a parameter's value is secret, by each part of names
// such as `user[password]` and `user.password`, too. Where a header has a URL, a
// parameter may have anything.
func (r *Redact) isSecret(name string) bool {
	var room [64]byte
	for rest := appendPlain(room[:0], name); ; {
		if f, ok := r.names[string(rest)]; ok && f != link {
			return true
		}
		end := bytes.IndexAny(rest, parts)
		if end < 0 {
			return false
		}
		if f, ok := r.names[string(rest[:end])]; ok && f != link {
			return true
		}
		rest = rest[end+1:]
	}
}

// parts end a part of a parameter's name.
const parts = "[]."

// appendPlain appends a name without what names that mean the same differ in.
func appendPlain(p []byte, name string) []byte {
	start := len(p) // of the part
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c == '%' && i+2 < len(name) {
			if b, err := strconv.ParseUint(name[i+1:i+3], 16, 8); err == nil {
				c = byte(b)
				i += 2
			}
		}
		switch {
		case isDash(c):
			if len(p) == start+1 && p[start] == 'x' {
				p = p[:start]
			}
			continue
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		p = append(p, c)
		if strings.IndexByte(parts, c) >= 0 {
			start = len(p)
		}
	}
	return p
}

// ends knows with which letters names begin and end: bit n of ends[m] is set for
// those with the m-th and the n-th. It spares most headers the comparison.
type ends [32]uint32

func (e *ends) add(plain string) {
	if plain != "" {
		e[plain[0]&31] |= 1 << (plain[len(plain)-1] & 31) // of either case
	}
}

// has reports whether a header's name may be one that was added.
func (e *ends) has(name string) bool {
	name = trimDashes(name)
	for len(name) > 1 && name[0]|0x20 == 'x' && isDash(name[1]) {
		name = trimDashes(name[2:])
	}
	return name != "" && (e[name[0]&31]>>(name[len(name)-1]&31)&1 == 1 || strings.IndexByte(name, '%') >= 0)
}

// trimDashes does the work of [strings.Trim] for names, of which few have any.
func trimDashes(name string) string {
	for name != "" && isDash(name[0]) {
		name = name[1:]
	}
	for name != "" && isDash(name[len(name)-1]) {
		name = name[:len(name)-1]
	}
	return name
}

func isDash(c byte) bool { return c == '-' || c == '_' }

func (r *Redact) value(f form, v string) string {
	switch f {
	case scheme:
		if name, secret, ok := strings.Cut(v, " "); ok && !strings.ContainsAny(name, "=,:;\"") {
			return name + " " + r.token(secret)
		}
	case cookies:
		pairs := strings.Split(v, ";")
		for i, p := range pairs {
			pairs[i] = r.pair(p)
		}
		return strings.Join(pairs, ";")
	case setCookie:
		pair, attributes, _ := strings.Cut(v, ";")
		if attributes != "" {
			attributes = ";" + attributes
		}
		return r.pair(pair) + attributes
	case protocols:
		return r.protocols(v)
	case link:
		return r.link(v)
	}
	return r.token(v)
}

// pair redacts the value of name=value; without a name, all is secret.
func (r *Redact) pair(p string) string {
	name, value, ok := strings.Cut(p, "=")
	if !ok {
		if strings.TrimSpace(p) == "" {
			return p
		}
		return r.token(p)
	}
	return name + "=" + r.token(value)
}

const (
	// bearerProtocol begins the protocol by which browsers, which can't send an
	// Authorization with a WebSocket, send Kubernetes its bearer token.
	bearerProtocol = "base64url.bearer.authorization.k8s.io."
	// maxProtocol is longer than the registered names of protocols are.
	maxProtocol = 32
)

// protocols redacts in a list of WebSocket protocols what is no name: browsers
// have no other header to put a token into.
func (r *Redact) protocols(v string) string {
	all := strings.Split(v, ",")
	announced := false // by the name of what follows, as access_token
	for i, p := range all {
		name := strings.TrimSpace(p)
		space := p[:len(p)-len(strings.TrimLeft(p, " \t"))]
		switch {
		case strings.HasPrefix(name, bearerProtocol):
			all[i] = space + bearerProtocol + r.token(name[len(bearerProtocol):])
		case announced || len(name) > maxProtocol:
			all[i] = space + r.token(name)
		}
		f, known := r.find(name)
		announced = !announced && (known && f != link && len(name) <= maxProtocol || strings.EqualFold(name, "bearer"))
	}
	return strings.Join(all, ",")
}

// link redacts in a URL, or in a part of one: the path and query, an authority.
func (r *Redact) link(u string) string {
	u = r.parameters(u)
	if strings.IndexByte(u, '@') >= 0 {
		u = r.users(u)
	}
	return u
}

func (r *Redact) parameters(u string) string {
	var out []byte // what is changed so far: nothing, for most
	done := 0      // of u, in out
	for i := strings.IndexAny(u, separators); i >= 0 && i < len(u); {
		end := len(u)
		if n := strings.IndexAny(u[i+1:], separators); n >= 0 {
			end = i + 1 + n
		}
		name, value, ok := strings.Cut(u[i+1:end], "=")
		if ok && value != "" && r.isSecret(name) {
			out = append(out, u[done:end-len(value)]...)
			out = append(out, r.token(value)...)
			done = end
		}
		i = end
	}
	if out == nil {
		return u
	}
	return string(append(out, u[done:]...))
}

// separators begin a parameter: of a path, as servlets write their session; of
// a query; or of a fragment, in which OAuth hands tokens over.
const separators = "?&;#"

// users redacts the user information of an authority, and of every URL within
// the URL.
func (r *Redact) users(u string) string {
	var out strings.Builder
	for {
		if end := strings.IndexAny(u, "/?#"); end != 0 { // an authority may begin here
			if end < 0 {
				end = len(u)
			}
			if at := strings.LastIndexByte(u[:end], '@'); at > 0 {
				out.WriteString(r.token(u[:at]))
				u = u[at:]
			}
		}
		next := strings.Index(u, "//")
		if next < 0 {
			out.WriteString(u)
			return out.String()
		}
		out.WriteString(u[:next+2])
		u = u[next+2:]
	}
}

// token stands for the secret. Half of the hash is cut off, so a keyed prefix
// is as good as HMAC: there is no full state to extend.
func (r *Redact) token(secret string) string {
	if secret == "" || strings.HasPrefix(secret, RedactedPrefix) {
		return secret
	}
	var room [512]byte
	sum := sha256.Sum256(append(append(room[:0], r.key[:]...), secret...))
	var text [len(RedactedPrefix) + 16]byte
	copy(text[:], RedactedPrefix)
	hex.Encode(text[len(RedactedPrefix):], sum[:8])
	return string(text[:])
}
