package recording

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/textproto"
	"strings"
)

// RedactedPrefix begins the token that stands for a secret.
const RedactedPrefix = "REDACTED-"

// form says which part of a header's value is secret.
type form uint8

const (
	whole     form = iota // all of it
	scheme                // what follows the authentication scheme: Bearer …
	cookies               // the values of a=…; b=…
	setCookie             // the value of a=…, not its attributes
	link                  // user information and secret query parameters of a URL
)

// secretHeaders is what is redacted unless said otherwise, by canonical name.
var secretHeaders = map[string]form{
	"Authorization":               scheme,
	"Proxy-Authorization":         scheme,
	"X-Forwarded-Authorization":   scheme,
	"X-Original-Authorization":    scheme,
	"Cookie":                      cookies,
	"Set-Cookie":                  setCookie,
	"Api-Key":                     whole,
	"Apikey":                      whole,
	"Ocp-Apim-Subscription-Key":   whole,
	"Private-Token":               whole,
	"X-Access-Token":              whole,
	"X-Amz-Security-Token":        whole,
	"X-Api-Key":                   whole,
	"X-Api-Token":                 whole,
	"X-Auth-Key":                  whole,
	"X-Auth-Token":                whole,
	"X-Csrf-Token":                whole,
	"X-Forwarded-Access-Token":    whole,
	"X-Functions-Key":             whole,
	"X-Gitlab-Token":              whole,
	"X-Goog-Api-Key":              whole,
	"X-Id-Token":                  whole,
	"X-Refresh-Token":             whole,
	"X-Session-Token":             whole,
	"X-Vault-Token":               whole,
	"X-Xsrf-Token":                whole,
	"Content-Location":            link,
	"Location":                    link,
	"Referer":                     link,
	"X-Original-Url":              link,
	"X-Envoy-Original-Path":       link,
	"X-Forwarded-Uri":             link,
	"X-Rewrite-Url":               link,
	"Forwarded-Authorization":     scheme,
	"X-Forwarded-Id-Token":        whole,
	"X-Ms-Token-Aad-Id-Token":     whole,
	"X-Amzn-Oidc-Data":            whole,
	"X-Amzn-Oidc-Accesstoken":     whole,
	"Cf-Access-Jwt-Assertion":     whole,
	"X-Goog-Iap-Jwt-Assertion":    whole,
	"X-Ms-Token-Aad-Access-Token": whole,
}

// secretParams are query parameters whose values are redacted, in lower case.
var secretParams = map[string]bool{
	"access_token": true, "api_key": true, "api-key": true, "apikey": true, "auth": true, "auth_token": true,
	"client_assertion": true, "client_secret": true, "code": true, "id_token": true, "jsessionid": true, "jwt": true,
	"passwd": true, "password": true, "private_token": true, "pwd": true, "refresh_token": true, "secret": true,
	"session_token": true, "sig": true, "signature": true, "token": true,
	"x-amz-credential": true, "x-amz-security-token": true, "x-amz-signature": true,
	"x-goog-credential": true, "x-goog-signature": true,
}

// Redact is a [Sink] that replaces secrets by tokens and passes the exchange
// on. Equal secrets get equal tokens while the process lives, so a session can
// be followed through a recording; the key is random and never leaves memory,
// so a token can't be turned back or guessed at.
//
// It covers headers, trailers, gRPC metadata, cookies, query parameters and a
// URL's user information. It doesn't look into bodies, nor into streams that no decoder knew.
type Redact struct {
	next    Sink
	headers map[string]form
	lengths uint64 // bit n: a name of n bytes is in headers
	key     [32]byte
}

// NewRedact returns a sink in front of next that redacts the default headers
// and the ones named in more.
func NewRedact(next Sink, more ...string) *Redact {
	r := &Redact{next: next, headers: make(map[string]form, len(secretHeaders)+len(more))}
	rand.Read(r.key[:])
	add := func(name string, f form) {
		r.headers[name] = f
		r.lengths |= 1 << (len(name) & 63)
	}
	for _, name := range more {
		add(textproto.CanonicalMIMEHeaderKey(name), whole)
	}
	for name, f := range secretHeaders {
		add(name, f)
	}
	return r
}

// Write implements [Sink].
func (r *Redact) Write(e *Exchange) error {
	if h := e.HTTP; h != nil {
		h.Req.URI = r.link(h.Req.URI)
		h.Req.URL = r.link(h.Req.URL)
		e.Location = r.link(e.Location)
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
		if r.lengths>>(len(h[i].Name)&63)&1 == 0 {
			continue // spares most headers the map
		}
		if f, ok := r.headers[h[i].Name]; ok {
			h[i].Value = r.value(f, h[i].Value)
		}
	}
}

func (r *Redact) value(f form, v string) string {
	switch f {
	case scheme:
		if name, secret, ok := strings.Cut(v, " "); ok {
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

// link redacts in a URL, or in the path and query of one.
func (r *Redact) link(u string) string {
	if i := strings.Index(u, "://"); i >= 0 {
		host := u[i+3:]
		if end := strings.IndexAny(host, "/?#"); end >= 0 {
			host = host[:end]
		}
		if at := strings.LastIndexByte(host, '@'); at >= 0 {
			u = u[:i+3] + r.token(host[:at]) + u[i+3+at:]
		}
	}
	var out []byte // what is changed so far: nothing, for most
	done := 0      // of u, in out
	for i := strings.IndexAny(u, separators); i >= 0 && i < len(u); {
		end := len(u)
		if n := strings.IndexAny(u[i+1:], separators); n >= 0 {
			end = i + 1 + n
		}
		name, value, ok := strings.Cut(u[i+1:end], "=")
		if ok && value != "" && secretParams[strings.ToLower(name)] {
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
