// Package redact replaces secrets in exchanges with tokens before the exchanges are queued or
// stored.
//
//	Write ──▶ heads: fields, targets ──────────────────────┐
//	      └─▶ bodies, messages ──decode──▶ document ──▶ JSON, form, multipart, markup,
//	                                                    GraphQL, events, lines, binary
//	            values of secret names ◀── verdicts ◀── words     │
//	            all other texts ──▶ text: pairs, URLs, known tokens, cards ──▶ token
//
// One table of words (words.go) lists the names of secrets, by place. Further tables describe the
// formats of well-known secrets.
//
// It promises:
//
//   - Equal secrets get equal tokens under one key. Without the key, nobody can reverse a token or
//     test a guess.
//   - Text without secrets remains the same, byte for byte. JSON remains JSON.
//   - A body that was cut is redacted up to the cut, and a body that can't be read is left out.
//     docs/recording-format.md lists the secrets that are not found.
//   - The cost is linear in the length of a text, even if the text is hostile.
//
// It imports contract, recording with its coding and fieldpath, and the standard library.
package redact

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"runtime/debug"
	"strings"
	"sync/atomic"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// Sink is a [recording.Sink] that replaces secrets with tokens and passes the exchange
// on. Equal secrets get equal tokens under one key, so a session can be followed
// through a recording. Without the key, a token can't be reversed or guessed.
//
// It covers headers, trailers, gRPC metadata, cookies, parameters, paths and user
// information of URLs, bodies and messages, texts and URLs within any of these, and
// well-known secrets under any name.
type Sink struct {
	next       recording.Sink
	verdicts                              // on names in headers and parameters
	names      verdicts                   // on names in bodies
	plainHosts [16]atomic.Pointer[string] // hosts whose paths are not secret, by length
	last       [32]uint32                 // bit n of last[m] means that a segment that announces a secret may end with the m-th and the n-th letter
	tokens     *Tokens
	maxBody    int
	plain      plainBodies
	windows    windows
	also       contract.Redaction
	panicked   func(value any, stack []byte)
}

// Options of [New]. Zero values mean the defaults.
type Options struct {
	// Names are further names of headers, parameters and members of bodies to redact.
	Names []string
	// Key makes equal secrets equal tokens wherever it is used. If it is empty, a
	// random key is used, which never leaves memory.
	Key []byte
	// MaxBody limits the size of a redacted or decoded body in a record.
	MaxBody int
	// Redaction selects personal data to redact under any name.
	contract.Redaction
	// Panicked, if not nil, is called with each panic in the search for secrets.
	Panicked func(value any, stack []byte)
}

// New returns a sink that redacts the secrets that the table of words defines
// before it passes exchanges to next.
func New(next recording.Sink, o Options) *Sink {
	r := &Sink{next: next, tokens: NewTokens(o.Key), maxBody: cmp.Or(o.MaxBody, DefaultMaxBody), also: o.Redaction, panicked: o.Panicked}
	r.plain.seed = maphash.MakeSeed()
	r.dictionary = newDictionary(o.Names)
	r.names.dictionary = r.dictionary
	r.announcedBy("service") // as in Slack's /services/…
	for segment := range suspects {
		r.announcedBy(segment)
	}
	for _, runs := range r.runs {
		for _, run := range runs {
			if run.in&inPath != 0 {
				r.announcedBy(run.words[len(run.words)-1])
			}
		}
	}
	return r
}

// announcedBy adds a word to the filter of mayAnnounce: only path segments that end like one of its
// words are looked up.
func (r *Sink) announcedBy(word string) {
	for _, w := range []string{word, word + "s"} {
		if n := len(w); n >= 2 {
			r.last[w[n-2]&31] |= 1 << (w[n-1] & 31) // the same in upper and lower case
		}
	}
}

// ErrPanic means that the search for secrets panicked.
var ErrPanic = errors.New("redaction panicked: the exchange is dropped, because it may have secrets")

// Write implements [recording.Sink]. If the search panics, Write drops the exchange and returns
// [ErrPanic], because the exchange may have secrets.
func (r *Sink) Write(e *recording.Exchange) error {
	if err := r.redact(e); err != nil {
		return err
	}
	return r.next.Write(e)
}

func (r *Sink) redact(e *recording.Exchange) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = ErrPanic
			if r.panicked != nil {
				r.panicked(v, debug.Stack())
			}
		}
	}()
	w := works.Get().(*work)
	if e.HTTP != nil {
		r.head(e, &w.places)
		r.tags(e.Tags)
		r.bodies(e, &w.places)
	}
	if e.GRPC != nil || e.WebSocket != nil || e.TCP != nil {
		r.messages(e, &w.places)
	}
	if len(w.paths) > 0 {
		e.Tags.Set(recording.TagRedacted, w.list())
		clear(w.paths)
		w.paths = w.paths[:0]
	}
	works.Put(w)
	return nil
}

// head redacts the heads of a request and of its answer.
func (r *Sink) head(e *recording.Exchange, found *places) {
	h := e.HTTP
	g, host := authority, hostOf(&h.Req)
	if isWebhookHost(host) {
		g = webhook
	} else if n := keyedHost(host); n >= 0 {
		g = keyed + grammar(n)
	}
	uri, url := r.text(h.Req.URI, g), h.Req.URL
	if uri != h.Req.URI || !strings.HasPrefix(uri, url) { // otherwise the URL is the beginning of the URI, which has no secret
		url = r.text(url, g)
		found.target(uri)
	}
	h.Req.URI = uri
	if e.Location == h.Req.URL { // as in all captured exchanges
		e.Location = url
	} else {
		e.Location = r.text(e.Location, g)
	}
	h.Req.URL = url
	r.fields(h.Req.Headers, "req.header", found)
	if strings.ContainsAny(h.Req.Host, "@/?#=") {
		if host := r.text(h.Req.Host, authority); host != h.Req.Host {
			h.Req.Host = host
			found.add([]byte("req.host"))
		}
	}
	if r.fields(h.Res.Headers, "res.header", found) && h.Res.ContentType != "" {
		h.Res.ContentType = h.Res.Headers.Get("Content-Type")
	}
	if message := r.text(h.Res.StatusMessage, prose); message != h.Res.StatusMessage {
		h.Res.StatusMessage = message
		found.add([]byte("res.status"))
	}
}

// hostOf returns the host in a request's target or, if the target has none, in its Host field.
func hostOf(r *recording.HTTPRequest) string {
	if r.URI == "" || r.URI[0] == '/' {
		return r.Host
	}
	_, rest, ok := strings.Cut(r.URI, "://")
	if !ok {
		return r.Host
	}
	return rest[strings.LastIndexByte(rest[:valueEnd(rest, "/?#")], '@')+1 : valueEnd(rest, "/?#")]
}

// tags redacts the tags whose values come from headers.
func (r *Sink) tags(t recording.Tags) {
	for i := range t {
		switch t[i].Name {
		case recording.TagPeer:
			t[i].Value = r.once(r.remembered(recording.TagPeer), t[i].Value)
		case recording.TagReplay:
			t[i].Value = r.once(r.remembered(contract.HeaderReplay), t[i].Value)
		}
	}
}

// Flush implements [recording.Sink].
func (r *Sink) Flush(ctx context.Context) error { return r.next.Flush(ctx) }

// Close implements [recording.Sink].
func (r *Sink) Close(ctx context.Context) error { return r.next.Close(ctx) }

// fields redacts header fields, and reports whether it changed any.
func (r *Sink) fields(h recording.Headers, at string, found *places) (changed bool) {
	for i := range h {
		f := &h[i]
		var value string
		if len(f.Name) > maxName {
			value = r.fieldValue(r.look(f.Name).of(inHeader), f.Value)
		} else {
			value = r.once(r.remembered(f.Name), f.Value)
		}
		if value != f.Value {
			f.Value, changed = value, true
			found.add(append([]byte(at), r.stepOf(f.Name)...))
		}
	}
	return changed
}

// once redacts the value of a header, unless it is the cached clean value.
func (r *Sink) once(m *remembered, old string) string {
	if m.isClean(old) {
		return old
	}
	value := r.fieldValue(m.of(inHeader), old)
	if value == old {
		m.cleanIs(old)
	}
	return value
}

func (r *Sink) fieldValue(f form, v string) string {
	switch f {
	case plain:
		return r.text(v, prose)
	case scheme:
		if name, secret, ok := strings.Cut(v, " "); ok && schemes[strings.ToLower(name)] {
			return name + " " + r.tokens.Of(secret)
		}
	case challenge:
		name, rest, ok := strings.Cut(v, " ")
		if ok && !strings.ContainsAny(strings.TrimRight(rest, "="), "=,\" ") {
			return name + " " + r.tokens.Of(rest)
		}
		return r.text(v, prose)
	case cookies:
		pairs := strings.Split(v, ";")
		for i, p := range pairs {
			pairs[i] = r.pair(p)
		}
		return strings.Join(pairs, ";")
	case setCookie:
		pairs := strings.Split(v, ";")
		for i, p := range pairs {
			if i == 0 || !isCookieAttribute(p) {
				pairs[i] = r.pair(p)
			}
		}
		return strings.Join(pairs, ";")
	case protocols:
		return r.protocols(v)
	case link:
		return r.text(v, authority)
	}
	return r.token(v)
}

// schemes are the schemes of HTTP Authentication, and others in use. If an Authorization begins with
// another word, all of it is secret, because the word may not be a scheme.
var schemes = func() map[string]bool {
	m := make(map[string]bool)
	for _, name := range strings.Fields(`api-key apikey aws aws3-https aws4-hmac-sha256 aws4-ecdsa-p256-sha256 basic bearer bot concealed digest
		dpop geniekey gnap goog4-hmac-sha256 hawk hmac-sha256 hoba jwt key klaviyo-api-key mac mutual negotiate ntlm oauth oauth2 privatetoken scram-sha-1
		scram-sha-256 sharedkey sharedkeylite sharedaccesssignature signature splunk sso-key ssws token vapid`) {
		m[name] = true
	}
	return m
}()

// isCookieAttribute reports whether the text is exactly one attribute of a Set-Cookie.
func isCookieAttribute(p string) bool {
	name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
	switch strings.ToLower(name) {
	case "", "domain", "expires", "httponly", "max-age", "partitioned", "path", "priority", "samesite", "secure", "version":
		return strings.IndexByte(value, '=') < 0 // otherwise another cookie follows
	}
	return false
}

// pair redacts the value of name=value. Without a name, all of it is secret.
func (r *Sink) pair(p string) string {
	name, value, ok := strings.Cut(p, "=")
	if !ok {
		if strings.TrimSpace(p) == "" {
			return p
		}
		return r.tokens.Of(p)
	}
	return name + "=" + r.tokens.Of(value)
}

const (
	// bearerProtocol begins the protocol in which browsers send a bearer token to
	// Kubernetes, because they can't set Authorization for a WebSocket.
	bearerProtocol = "base64url.bearer.authorization.k8s.io."
	// maxProtocol is longer than any registered protocol name.
	maxProtocol = 32
)

// protocols redacts tokens in a list of WebSocket protocols, because browsers can't set any other
// header of a WebSocket.
func (r *Sink) protocols(v string) string {
	all := strings.Split(v, ",")
	announced := false // the element before was the name of a secret, such as access_token
	for i, p := range all {
		name := strings.TrimSpace(p)
		space := p[:len(p)-len(strings.TrimLeft(p, " \t"))]
		switch {
		case strings.HasPrefix(name, bearerProtocol):
			all[i] = space + bearerProtocol + r.tokens.Of(name[len(bearerProtocol):])
		case announced || len(name) > maxProtocol:
			all[i] = space + r.tokens.Of(name)
		default:
			if n := strings.IndexAny(name, ".:-="); n > 0 && r.verdict(name[:n]).of(inParameter) != plain { // such as token.…
				all[i] = space + name[:n+1] + r.tokens.Of(name[n+1:])
				name = ""
			}
		}
		announced = !announced && len(name) <= maxProtocol && r.verdict(name).of(inParameter) != plain
	}
	return strings.Join(all, ",")
}
