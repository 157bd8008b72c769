package decode

import (
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/recording"
)

// TestDetection maps the first bytes of a client to the protocol that they are taken for. "" means
// that more bytes are needed.
func TestDetection(t *testing.T) {
	for _, c := range []struct{ name, first, want string }{
		{"nothing yet", "", ""},
		{"a method", "GE", ""},
		{"a line without an end", "GET /a HTTP/1.1", ""},
		{"a request line", "GET /a HTTP/1.1\r\n", "http1"},
		{"a method of one's own", "PURGE /a HTTP/1.0\n", "http1"},
		{"a request line of HTTP/0.9", "GET /a?access_token=secret\r\n", "http1"},
		{"the same with a URL", "GET http://a/?access_token=secret\r\n", "http1"},
		{"empty lines first", "\r\n\r\nGET * HTTP/1.1\r\n", "http1"},
		{"a CONNECT", "CONNECT a:443 HTTP/1.1\r\n", "http1"},
		{"a long path", "GET /" + strings.Repeat("a", 9000), "http1"},
		{"a path with a NUL", "GET /a\x00 HTTP/1.1\r\n", "opaque"},
		{"a long path, ended", "GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\n", "http1"},
		{"a long path with a NUL at the end", "GET /" + strings.Repeat("a", 9000) + "\x00", "http1"},
		{"a long word", strings.Repeat("A", 40), "opaque"},
		{"half a preface", "PRI * HTTP/2.0\r\n", ""},
		{"a preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"},
		{"a ClientHello", "\x16\x03\x01\x02\x00\x01", "tls"},
		{"half a ClientHello", "\x16\x03\x01", ""},
		{"an alert of TLS", "\x15\x03\x01\x00\x02\x02", "opaque"},
		{"SMTP", "EHLO shop\r\n", "opaque"},
		{"Redis", "*1\r\n$4\r\nPING\r\n", "opaque"},
		{"Redis, inline", "GET key\r\n", "opaque"},
		{"memcached", "get key\r\n", "opaque"},
		{"SSH", "SSH-2.0-OpenSSH_9.2\r\n", "opaque"},
		{"RTSP", "OPTIONS * RTSP/1.0\r\n", "opaque"},
		{"Postgres", "\x00\x00\x00\x08\x04\xd2\x16\x2f", "opaque"},
		{"MySQL, that has heard its server", "\x20\x00\x00\x01\x85\xa6", "opaque"},
		{"MongoDB", "\x3f\x00\x00\x00\x01\x00\x00\x00", "opaque"},
		{"AMQP", "AMQP\x00\x00\x09\x01", "opaque"},
		{"Kafka", "\x00\x00\x00\x23\x00\x12\x00\x03", "opaque"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFlow(New(Config{}, recording.Discard{}), &tap.Flow{})
			got := ""
			if p := f.detect([]byte(c.first)); p != nil {
				got = p.Name
			}
			if got != c.want {
				t.Errorf("%q is taken for %q, want %q", c.first[:min(len(c.first), 20)], got, c.want)
			}
		})
	}
}
