package framework

import (
	"net/textproto"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// CanonicalName returns a header's name as net/http writes it. The most common names of
// meshes and applications need no allocation, in this spelling or in lower case.
func CanonicalName(name string) string {
	upper := true
	for i := 0; i < len(name); i++ {
		c := name[i]
		if upper && 'a' <= c && c <= 'z' || !upper && 'A' <= c && c <= 'Z' {
			if known, ok := common[name]; ok {
				return known
			}
			return textproto.CanonicalMIMEHeaderKey(name)
		}
		upper = c == '-'
	}
	return name
}

// common maps names in lower case, as HTTP/2 and Envoy send them, to canonical ones.
var common = func() map[string]string {
	m := make(map[string]string)
	for name := range strings.FieldsSeq(`
		Accept Accept-Charset Accept-Encoding Accept-Language Accept-Ranges
		Access-Control-Allow-Credentials Access-Control-Allow-Headers Access-Control-Allow-Methods
		Access-Control-Allow-Origin Access-Control-Expose-Headers Access-Control-Max-Age
		Access-Control-Request-Headers Access-Control-Request-Method
		Age Allow Authorization B3 Baggage Cache-Control Connection Content-Disposition Content-Encoding
		Content-Language Content-Length Content-Location Content-Range Content-Security-Policy Content-Type
		Cookie Date Etag Expect Expires Forwarded Grpc-Accept-Encoding Grpc-Encoding Grpc-Message Grpc-Status
		Grpc-Status-Details-Bin Grpc-Timeout Host If-Match If-Modified-Since If-None-Match
		If-Range If-Unmodified-Since Keep-Alive Last-Modified Link Location Max-Forwards Origin Pragma
		Proxy-Authenticate Proxy-Authorization Range Referer Referrer-Policy Retry-After
		Sec-Fetch-Dest Sec-Fetch-Mode Sec-Fetch-Site Sec-Websocket-Accept Sec-Websocket-Extensions
		Sec-Websocket-Key Sec-Websocket-Protocol Sec-Websocket-Version Server Server-Timing Set-Cookie
		Strict-Transport-Security Tapedeck-Replay Te Traceparent Tracestate Trailer Transfer-Encoding Upgrade
		Upgrade-Insecure-Requests User-Agent Vary Via Www-Authenticate
		X-Amzn-Trace-Id X-Api-Key X-B3-Flags X-B3-Parentspanid X-B3-Sampled X-B3-Spanid X-B3-Traceid
		X-Cloud-Trace-Context X-Content-Type-Options X-Correlation-Id X-Datadog-Parent-Id
		X-Datadog-Trace-Id X-Envoy-Attempt-Count X-Envoy-Decorator-Operation X-Envoy-Expected-Rq-Timeout-Ms
		X-Envoy-External-Address X-Envoy-Internal X-Envoy-Original-Path X-Envoy-Peer-Metadata
		X-Envoy-Peer-Metadata-Id X-Envoy-Upstream-Service-Time X-Forwarded-Client-Cert
		X-Forwarded-For X-Forwarded-Host X-Forwarded-Port X-Forwarded-Proto X-Frame-Options
		X-Ot-Span-Context X-Powered-By X-Ratelimit-Limit X-Ratelimit-Remaining X-Ratelimit-Reset
		X-Real-Ip X-Request-Id X-Requested-With X-Xss-Protection`) {
		m[strings.ToLower(name)] = name
	}
	return m
}()

// HasToken reports whether the comma-separated list has the token, in any case.
func HasToken(list, token string) bool {
	for list != "" {
		var t string
		t, list, _ = strings.Cut(list, ",")
		if strings.EqualFold(strings.Trim(t, " \t"), token) {
			return true
		}
	}
	return false
}

// AnyHasToken reports whether any line of the header has the token.
func AnyHasToken(h recording.Headers, name, token string) bool {
	for i := range h {
		if h[i].Name == name && HasToken(h[i].Value, token) {
			return true
		}
	}
	return false
}
