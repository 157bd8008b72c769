package redact

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// last is a sink that keeps a copy of the last exchange's JSON.
type last struct {
	recording.Discard
	json string
}

func (l *last) Write(e *recording.Exchange) error { l.json = string(e.AppendJSON(nil)); return nil }

var tokens = regexp.MustCompile(Prefix + `[0-9a-f]{16}`)

var numberTokens = regexp.MustCompile(`\b8000[0-9]{12}\b`)

func TestSecretsBecomeTokens(t *testing.T) {
	for _, c := range []struct{ header, value, want string }{
		{"Authorization", "Bearer hush", "Bearer R"},
		{"Authorization", "hush", "R"},
		{"Authorization", "key=hush, b", "R"},
		{"Authorization", "hush, hush", "R"},
		{"Proxy-Authorization", "Basic aHVzaA==", "Basic R"},
		{"Cookie", "sid=hush; theme=hush", "sid=R; theme=R"},
		{"Cookie", "hush", "R"},
		{"Cookie", "empty=; ", "empty=; "},
		{"Set-Cookie", "sid=hush; Path=/; HttpOnly", "sid=R; Path=/; HttpOnly"},
		{"X-Api-Key", "hush", "R"},
		{"api_key", "hush", "R"},
		{"Apikey", "hush", "R"},
		{"_token", "hush", "R"},
		{"X-X-Api-Key", "hush", "R"},
		{"-api_key_", "hush", "R"},
		{"X--Custom", "hush", "R"},
		{"X.Dotted", "hush", "R"},
		{"X-Original-Url", "hush", "R"}, // although the table has it as a URL
		{"Sec-Websocket-Protocol", "base64url.bearer.authorization.k8s.io.hush, v4.channel.k8s.io", "base64url.bearer.authorization.k8s.io.R, v4.channel.k8s.io"},
		{"Sec-Websocket-Protocol", "graphql-transport-ws, access_token,hush", "graphql-transport-ws, access_token,R"},
		{"Sec-Websocket-Protocol", "hush.hush.hush.hush.hush.hush.hush.hush", "R"},
		{"Host", "u:hush@h:443", "R@h:443"},
		{"X-Custom", "hush", "R"},
		{"Location", "https://app.example/cb?code=hush&state=1#access_token=hush&x=2", "https://app.example/cb?code=R&state=1#access_token=R&x=2"},
		{"Referer", "http://user:hush@a/b", "http://R@a/b"},
		{"Referer", "/plain?page=2", "/plain?page=2"},
		{"Accept", "*/*", "*/*"},
	} {
		var got last
		r := New(&got, Options{Names: []string{"x-custom", "X.Dotted", "x-original-url"}})
		for _, side := range []string{"request", "answer"} {
			e := &recording.Exchange{HTTP: &recording.HTTP{}}
			fields := recording.Headers{{Name: c.header, Value: c.value}}
			if side == "request" {
				e.HTTP.Req.Headers = fields
			} else {
				e.HTTP.Res.Headers = fields
			}
			r.Write(e)
			if value := tokens.ReplaceAllString(fields[0].Value, "R"); value != c.want {
				t.Errorf("%s: %s: %s became %s, want %s", side, c.header, c.value, value, c.want)
			}
			if strings.Contains(got.json, "hush") {
				t.Errorf("%s of the %s reaches the sink: %s", c.header, side, got.json)
			}
		}
	}
}

// A tag with the value of a header is redacted like the header.
func TestTagsOfHeadersAreRedactedAsTheHeaders(t *testing.T) {
	for tag, header := range map[string]string{recording.TagPeer: "X-Forwarded-For", recording.TagReplay: contract.HeaderReplay} {
		for _, value := range []string{"run-1", "10.0.0.1", "xoxb-0123456789-0123456789-abcdefghijklmnop"} {
			e := &recording.Exchange{Tags: recording.Tags{{Name: tag, Value: value}}, HTTP: &recording.HTTP{Req: recording.HTTPRequest{Headers: recording.Headers{{Name: header, Value: value}}}}}
			New(recording.Discard{}, Options{}).Write(e)
			got, want := e.Tags.Get(tag), e.HTTP.Req.Headers.Get(header)
			if secret := strings.HasPrefix(value, "xoxb"); got != want || (got == value) == secret {
				t.Errorf("tag %s has %s, header %s has %s", tag, got, header, want)
			}
		}
	}
}

func TestSecretsInTheRequestTargetBecomeTokens(t *testing.T) {
	for target, want := range map[string]string{
		"/a?Token=hush&b=c":                "/a?Token=R&b=c",
		"/a?b=c&X-Amz-Signature=hush":      "/a?b=c&X-Amz-Signature=R",
		"http://u:hush@h/a?api_key=hush;x": "http://R@h/a?api_key=R",
		"/a?token":                         "/a?token",
		"/a?tokens=3&&=":                   "/a?tokens=3&&=",
		"/a@b?c":                           "/a@b?c",
		"/a;jsessionid=hush?b":             "/a;jsessionid=R?b",
		"*":                                "*",
		"/verify/hush":                     "/verify/R",
		"/verify/email/0A1b2C3d4E5f":       "/verify/email/R",
		"/verify/email/joe/0A1b2C3d4E5f/a": "/verify/email/joe/R/a",
		"/verify/token/hush":               "/verify/token/R",
		"/ｔｏｋｅｎ?ｔｏｋｅｎ=hush":                "/ｔｏｋｅｎ?ｔｏｋｅｎ=R",

		"/a?access%5ftoken=hush&b":         "/a?access%5ftoken=R&b",
		"/a?password[]=hush&user[id]=1":    "/a?password[]=R&user[id]=1",
		"/a?user[password]=hush":           "/a?user[password]=R",
		"/a?user%5Bpassword%5D=hush":       "/a?user%5Bpassword%5D=R",
		"/a?user.password=hush":            "/a?user.password=R",
		"/a?accessToken=hush":              "/a?accessToken=R",
		"/a?refreshtoken=hush":             "/a?refreshtoken=R",
		"/a?x-api-key=hush&location=here":  "/a?x-api-key=R&location=here",
		"http://u:hush@h/https://u:hush@x": "http://R@h/https://R@x",
		"/a?to=https://u:hush@x/&b":        "/a?to=https://R@x/&b",
		"//u:hush@h/a@b":                   "//R@h/a@b",
		"user:hush@h:443":                  "R@h:443",
		"/%zz=?%=1&[]=2&.=3":               "/%zz=?%=1&[]=2&.=3",
	} {
		var got last
		e := &recording.Exchange{Location: target, HTTP: &recording.HTTP{Req: recording.HTTPRequest{URI: target, URL: target}}}
		New(&got, Options{}).Write(e)
		if uri := tokens.ReplaceAllString(e.HTTP.Req.URI, "R"); uri != want {
			t.Errorf("%s became %s, want %s", target, uri, want)
		}
		if strings.Contains(got.json, "hush") {
			t.Errorf("%s reaches the sink: %s", target, got.json)
		}
	}
}

// The whole path of a host for webhooks is secret, except for its first segment.
func TestPathsOfWebhooksBecomeTokens(t *testing.T) {
	for host, want := range map[string]string{
		"hooks.slack.com":             "/services/R/R/R?x=1",
		"Hooks.Zapier.com:443":        "/services/R/R/R?x=1",
		"shop.webhook.office.com":     "/services/R/R/R?x=1",
		"webhooks":                    "/services/T1/B2/hush?x=1", // a service of the cluster's own
		"books.example":               "/services/T1/B2/hush?x=1",
		"shop.hooks-of-mine.internal": "/services/T1/B2/hush?x=1",
	} {
		e := &recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{Host: host, URI: "/services/T1/B2/hush?x=1", URL: "/services/T1/B2/hush"}}}
		New(recording.Discard{}, Options{}).Write(e)
		if got := tokens.ReplaceAllString(e.HTTP.Req.URI, "R"); got != want {
			t.Errorf("%s: %s, want %s", host, got, want)
		}
		if url, _, _ := strings.Cut(want, "?"); tokens.ReplaceAllString(e.HTTP.Req.URL, "R") != url {
			t.Errorf("%s: %s, want %s", host, e.HTTP.Req.URL, url)
		}
	}
}

// A key in the path of a known host also becomes a token. It follows the known segments.
func TestKeysInPathsOfKnownHostsBecomeTokens(t *testing.T) {
	for _, c := range []struct{ host, path, want string }{
		{"events.pagerduty.com", "/integration/hush/enqueue", "/integration/R/enqueue"},
		{"Events.PagerDuty.com.:443", "/Integration/hush/enqueue", "/Integration/R/enqueue"},
		{"logs-01.loggly.com", "/inputs/hush/tag/http/", "/inputs/R/tag/http/"},
		{"collectors.sumologic.com", "/receiver/v1/http/hush==", "/receiver/v1/http/R"},
		{"http-intake.logs.datadoghq.com", "/v1/input/hush", "/v1/input/R"},
		{"mainnet.infura.io", "/v3/%68ush", "/v3/R"},
		{"maker.ifttt.com", "/trigger/door/with/key/hush", "/trigger/door/with/key/R"},
		{"hc-ping.com", "/hush/fail", "/R/fail"},
		{"maker.ifttt.com", "/use", "/use"},
		{"maker.ifttt.com", "/with/key/", "/with/key/"},
		{"infura.io.example", "/v3/plain", "/v3/plain"},
		{"notinfura.io", "/v3/plain", "/v3/plain"},
		{"io", "/v3/plain", "/v3/plain"},
		{".io", "/v3/plain", "/v3/plain"},
	} {
		e := &recording.Exchange{Location: c.path, HTTP: &recording.HTTP{Req: recording.HTTPRequest{Host: c.host, URI: c.path + "?x=/v3/1", URL: c.path}}}
		New(recording.Discard{}, Options{}).Write(e)
		for _, got := range []string{e.HTTP.Req.URL, e.Location, strings.TrimSuffix(e.HTTP.Req.URI, "?x=/v3/1")} {
			if got = tokens.ReplaceAllString(got, "R"); got != c.want {
				t.Errorf("%s: %s, want %s", c.host, got, c.want)
			}
		}
	}
}

// A configured name applies to headers and parameters, but not to segments of a path.
func TestConfiguredNamesLeavePathsAlone(t *testing.T) {
	r := New(recording.Discard{}, Options{Names: []string{"user", "x-tenant"}})
	got := tokens.ReplaceAllString(r.text("/user/4711/tenant/a?user=4711&tenant=a&filter[user]=4711&username=joe", target), "R")
	if want := "/user/4711/tenant/a?user=R&tenant=R&filter[user]=R&username=joe"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTokensAreEqualWithinAProcessAndDifferBetween(t *testing.T) {
	a, b := New(recording.Discard{}, Options{}), New(recording.Discard{}, Options{})
	if a.tokens.Of("one") != a.tokens.Of("one") || a.tokens.Of("one") == a.tokens.Of("two") {
		t.Error("tokens don't follow the secrets")
	}
	if a.tokens.Of("one") == b.tokens.Of("one") {
		t.Error("tokens of two processes are equal: they could be guessed at")
	}
	if once := a.tokens.Of("one"); a.tokens.Of(once) != once {
		t.Error("a token is redacted again")
	}
}

// plainExchange returns an exchange without a secret.
func plainExchange() *recording.Exchange {
	return &recording.Exchange{
		MsgType: recording.MsgType, TS: time.Date(2026, 11, 22, 20, 15, 0, 123456789, time.UTC), L7Protocol: recording.HTTP1, Direction: recording.In,
		Command: "POST", Location: "/a", Status: "200",
		HTTP: &recording.HTTP{
			Req: recording.HTTPRequest{URL: "/a", URI: "/a?b=<c>&d", Version: "1.1", Method: "POST", Host: "h",
				Headers: recording.Headers{{Name: "Accept", Value: "*/*"}, {Name: "X-A", Value: "1"}, {Name: "Via", Value: ""}, {Name: "X-A", Value: "2"}}, Body: []byte("{}")},
			Res: recording.HTTPResponse{ContentType: "application/json", StatusCode: 200, StatusMessage: "200 OK"},
		},
	}
}

// Most exchanges hold no secrets, and cost no allocations.
func TestRedactAllocatesNothingWithoutSecrets(t *testing.T) {
	e := plainExchange()
	e.HTTP.Res.Headers = recording.Headers{{Name: "Content-Type", Value: "text/plain"}, {Name: "Location", Value: "/elsewhere"}}
	r := New(recording.Discard{}, Options{})
	if n := testing.AllocsPerRun(100, func() { r.Write(e) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkRedact(b *testing.B) {
	e := plainExchange()
	e.HTTP.Req.URI = "/cart/items?page=2&sort=price"
	e.HTTP.Req.Headers = recording.Headers{{Name: "Host", Value: "cart"}, {Name: "User-Agent", Value: "curl"}, {Name: "Accept", Value: "*/*"}, {Name: "Accept-Encoding", Value: "gzip"}, {Name: "Traceparent", Value: "00-a"},
		{Name: "X-Request-Id", Value: "1"}, {Name: "X-Forwarded-For", Value: "10.0.0.1"}, {Name: "X-Forwarded-Proto", Value: "https"}, {Name: "Content-Type", Value: "text/plain"}, {Name: "Content-Length", Value: "10"}}
	e.HTTP.Res.Headers = recording.Headers{{Name: "Date", Value: "now"}, {Name: "Server", Value: "envoy"}, {Name: "Content-Type", Value: "text/plain"}, {Name: "Content-Length", Value: "10"}, {Name: "Vary", Value: "Origin"}, {Name: "Cache-Control", Value: "none"}}
	r := New(recording.Discard{}, Options{})
	b.ReportAllocs()
	for b.Loop() {
		r.Write(e)
	}
}

func FuzzRedactLink(f *testing.F) {
	f.Add("https://u:p@h/a?token=x&y#z", "x")
	r := New(recording.Discard{}, Options{})
	f.Fuzz(func(t *testing.T, before, secret string) {
		if secret == "" || strings.ContainsAny(secret, "&;#=?") || strings.HasPrefix(secret, Prefix) || strings.HasPrefix(Prefix, secret) {
			return
		}
		got := r.text("/"+strings.ReplaceAll(before, "://", "")+"?password="+secret, target)
		if strings.Contains(got, "?password="+secret) || !strings.Contains(before, "=") && !strings.HasSuffix(got, "?password="+r.tokens.Of(secret)) {
			t.Errorf("the password remains in %q", got)
		}
		if r.text(got, target) != got {
			t.Errorf("%q is redacted again", got)
		}
	})
}

// The cache judges any name as the table does.
func FuzzVerdict(f *testing.F) {
	for _, name := range []string{"accessToken", "user[password]", "X-Api-Key", "%74oken", "x--x", "tokens", "S3KeyID", "key1", "ſecret", strings.Repeat("token", 20)} {
		f.Add(name)
	}
	r := New(recording.Discard{}, Options{})
	f.Fuzz(func(t *testing.T, name string) {
		if got, want := r.verdict(name), r.look(name); got != want {
			t.Errorf("%q: %v, want %v", name, got, want)
		}
		if r.verdict(name+"-token").of(inHeader) != whole && !strings.ContainsRune(name, '%') && !strings.HasSuffix(strings.ToLower(name), "next") && !r.excepts(name) {
			t.Errorf("%q-token isn't secret", name)
		}
	})
}

// excepts reports whether the name, followed by token, may be an exception.
func (d *dictionary) excepts(name string) bool {
	for _, row := range words {
		if row.form != plain {
			continue
		}
		for _, run := range strings.Fields(row.list) {
			if first, ok := strings.CutSuffix(run, "-token"); ok && strings.Contains(strings.ToLower(name), first) {
				return true
			}
		}
	}
	return false
}
