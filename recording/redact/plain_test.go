package redact

import (
	"encoding/json"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// TestPlainNamesStay has headers, and parameters of a target, that sound like secrets but are not.
func TestPlainNamesStay(t *testing.T) {
	for _, field := range strings.Split(strings.TrimSpace(`
Accept: text/html, application/json;q=0.9, */*;q=0.8
Accept-Encoding: gzip, deflate
Access-Control-Allow-Credentials: true
Access-Control-Allow-Headers: Authorization, X-Api-Key, X-Csrf-Token
Access-Control-Expose-Headers: X-Auth-Token
Access-Control-Request-Headers: authorization
Vary: Authorization, Cookie
Cache-Control: private, max-age=3600
Clear-Site-Data: "cookies", "storage"
Content-Disposition: attachment; filename="secret-plans.pdf"
Content-Security-Policy: default-src 'self'; report-uri /csp?v=1
Content-Type: multipart/form-data; boundary=----WebKitFormBoundary7MA4
Date: Sun, 22 Nov 2026 20:15:00 GMT
Etag: W/"5b1c0a6e-9d7e"
From: joe@example.com
Grpc-Status: 16
Grpc-Status-Details-Bin: CAUSBWhlbGxv
Host: secret:443
Idempotency-Key: 5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10
If-None-Match: "abc"
Keep-Alive: timeout=5, max=100
Link: <https://api.example/items?page=2&page_token=abc>; rel="next"
Location: /login?next=%2Fitems%3Fpage%3D2
Location: https://h/password/reset
Public-Key-Pins: pin-sha256="x"; max-age=1
Referer: https://app.example/users/joe@example.com?page=2
Sec-Fetch-Site: same-origin
Sec-Websocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=
Sec-Websocket-Key: dGhlIHNhbXBsZSBub25jZQ==
Sec-Websocket-Protocol: graphql-ws, v4.channel.k8s.io
Server-Timing: db;dur=53, app;dur=47.2
Strict-Transport-Security: max-age=31536000; includeSubDomains
Surrogate-Key: item-1 item-2
Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01
Www-Authenticate: Bearer authorization_uri="https://login.example/authorize"
Www-Authenticate: Bearer realm="shop", error="invalid_token"
User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0 Safari/537.36
Via: 1.1 varnish
X-Amz-Algorithm: AWS4-HMAC-SHA256
X-Author: Jane
X-Authority: north
X-Cache-Key: item-1
X-Envoy-Upstream-Service-Time: 12
X-Forwarded-Client-Cert: By=spiffe://cluster.local/ns/shop/sa/cart;Hash=0a1b2c3d;Subject="";URI=spiffe://cluster.local/ns/shop/sa/frontend
X-Forwarded-For: 10.0.0.1, 10.0.0.2
X-Ratelimit-Remaining-Tokens: 149984
X-Request-Id: 5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10
X-Token-Type: bearer
X-Token-Expires-In: 3600
X-Password-Policy: strong
X-Secret-Name: shop/db
X-Signature-Version: 2
X-Error-Code: 17
target: /
target: *
target: /items?page=2&sort=price&order=asc
target: /items?page_token=abc&pageToken=abc&nextToken=abc&next_token=abc&fooNextToken=abc&continuationToken=abc
target: /items?keyword=mug&keys=a&monkey=1&turkey=2&hotkey=3
target: /items?sort_key=price&sortKey=price&primary_key=1&public_key=x
target: /items?max_tokens=100&tokens=3&tokenize=true&tokenizer=x
target: /items?author=joe&authority=x&authored=1
target: /items?country_code=de&zipcode=1&error_code=2&language-code=de
target: /items?state=1&scope=a&response_type=code&grant_type=password&token_type=bearer&code_challenge_method=S256
target: /items?design=x&signal=1&passenger=2&compass=3&bypass=4&pinned=5&opinion=6
target: /items?session_type=x&password_hint=x
target: /items?to=https%3A%2F%2Fshop.example%2Fa%3Fb%3Dc&q=100%25
target: /items?q=joe@example.com
target: /.well-known/webfinger?resource=acct:joe@example.com
target: /a?subject_token_type=urn:ietf:params:oauth:token-type:access_token&grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer
target: /a?mail=mailto:joe@example.com&at=12:30&q=author:joe
target: /hooks/deploy-frontend/build
target: /services/Tickets/Billing/list
target: token:8080
target: https://token:8443/a
target: /v1/users/joe@example.com/items
target: /oauth/token
target: /oauth/token/
target: /oauth/token/introspect
target: /password/reset
target: /v1/auth/token/lookup-self
target: /api/tokens/17
target: /api/keys/17
target: /secrets/db
target: /webhooks/stripe
target: /sessions/17/notes/2f1c9a7e-aaaa-bbbb-cccc-0123456789ab
target: /invitations/pending
target: /reset/defaults
target: /join/us
target: /a?show_sign=1&design=x&account_sid=1
X-Design: x
X-Resign: x
X-Inside: x
target: /hooks/catch
target: /bot/1
target: /users/reset-password
target: /verify/email
target: /verify/email/pending
target: /v1/users/17/confirm/phone
target: /invite/members
target: /session/user/profile
target: /items?map_pin=1234
target: http://shop.example:8080/a?b=c
target: /items?p=2
target: /items?p=shoes&q=red
target: /items?user=joe&p=12
target: /items?u=joe&page=1200&sp=blue
target: /items?appid=730&app_id=a1b2c3d4e5f6a7b8&appId=com.example.shop
target: https://status.pagerduty.com/incidents/a1b2c3d4e5f6
target: https://shop.example/integration/a/enqueue
target: https://notinfura.io/v3/projects
target: https://infura.io.example/v3/projects
target: /v3/projects
target: /inputs/1
target: shop.example:443
`), "\n") {
		name, value, _ := strings.Cut(field, ": ")
		e := &recording.Exchange{HTTP: &recording.HTTP{}}
		got := &e.HTTP.Req.URI
		if name == "target" {
			*got = value
		} else {
			e.HTTP.Req.Headers = recording.Headers{{Name: name, Value: value}}
			got = &e.HTTP.Req.Headers[0].Value
		}
		New(recording.Discard{}, Options{}).Write(e)
		if *got != value {
			t.Errorf("%s: %s became %s", name, value, *got)
		}
	}
}

// corpus has traffic that other tools recorded, if it exists.
const corpus = "../../../shared/corpus/traffic"

// TestTrafficKeepsPlainNames redacts traffic in the formats of other tools. Only names of
// secrets are redacted there.
func TestTrafficKeepsPlainNames(t *testing.T) {
	headers, targets := fieldsIn(t, "testdata/traffic")
	redacted := redactedNames(headers, targets)
	if got, want := slices.Sorted(maps.Keys(redacted)), strings.Fields("?api_key ?session authorization cookie set-cookie x-goog-api-key"); !slices.Equal(got, want) {
		t.Errorf("%v are redacted, want %v", got, want)
	}
	if len(headers) != 22 || len(targets) != 6 {
		t.Errorf("read %d header fields and %d targets, want 22 and 6", len(headers), len(targets))
	}
}

func TestCorpusKeepsPlainNames(t *testing.T) {
	if _, err := os.Stat(corpus); err != nil {
		t.Skipf("no corpus of traffic: %v", err)
	}
	secret := strings.Fields("authorization cookie set-cookie x-goog-api-key ?api_key ?session ?session_id")
	headers, targets := fieldsIn(t, corpus)
	redacted := redactedNames(headers, targets)
	t.Logf("of %d header fields and %d targets, redacted: %v", len(headers), len(targets), redacted)
	for name, times := range redacted {
		if !slices.Contains(secret, name) {
			t.Errorf("%s is redacted %d times, but is not a secret", name, times)
		}
	}
	if len(headers) < 1000 || len(targets) < 200 || redacted["authorization"] == 0 {
		t.Error("the corpus wasn't read")
	}
}

// redactedNames counts the names whose values are redacted. A parameter has ? before its name. A target
// that is redacted elsewhere counts as a whole.
func redactedNames(headers recording.Headers, targets []string) map[string]int {
	r := New(recording.Discard{}, Options{})
	redacted := map[string]int{}
	for _, h := range headers {
		e := &recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{Headers: recording.Headers{h}}}}
		r.Write(e)
		if e.HTTP.Req.Headers[0].Value != h.Value {
			redacted[strings.ToLower(h.Name)]++
		}
	}
	for _, target := range targets {
		got := r.text(target, authority)
		for _, m := range parameterOfToken.FindAllStringSubmatch(got, -1) {
			redacted["?"+m[1]]++
		}
		if got != target && !parameterOfToken.MatchString(got) {
			redacted[got]++
		}
	}
	return redacted
}

var parameterOfToken = regexp.MustCompile(`([^?&;=]+)=REDACTED`)

var inner = regexp.MustCompile(`(?m)^json: (\{.*\})$`)

// fieldsIn collects headers and targets from the files of a folder: RRPairs, HARs and other JSON.
func fieldsIn(t *testing.T, dir string) (headers recording.Headers, targets []string) {
	t.Helper()
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for name, member := range v {
				switch m := member.(type) {
				case map[string]any:
					if name == "headers" {
						for h, values := range m {
							if list, ok := values.([]any); ok {
								for _, value := range list {
									if s, ok := value.(string); ok {
										headers = append(headers, recording.Header{Name: h, Value: s})
									}
								}
							} else if s, ok := values.(string); ok {
								headers = append(headers, recording.Header{Name: h, Value: s})
							}
						}
					}
				case []any:
					if name == "headers" || name == "queryString" || name == "cookies" {
						for _, entry := range m {
							f, _ := entry.(map[string]any)
							n, _ := f["name"].(string)
							value, _ := f["value"].(string)
							if n != "" && name == "headers" && n[0] != ':' {
								headers = append(headers, recording.Header{Name: n, Value: value})
							}
						}
					}
				case string:
					if name == "uri" || name == "url" || name == "urlPattern" {
						if u, err := url.Parse(m); err == nil && u.Path != "" {
							targets = append(targets, m)
						}
					}
				}
				walk(member)
			}
		case []any:
			for _, member := range v {
				walk(member)
			}
		}
	}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if m := inner.FindSubmatch(text); m != nil {
			text = m[1]
		}
		var v any
		if json.Unmarshal([]byte(strings.TrimPrefix(string(text), "\ufeff")), &v) == nil { // some are broken on purpose
			walk(v)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return headers, targets
}
