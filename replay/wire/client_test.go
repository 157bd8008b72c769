package wire

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// client returns a client for a server, with options set by o.
func client(t testing.TB, target string, o ...func(*Options)) *Client {
	t.Helper()
	u, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	options := Options{Target: u}
	for _, set := range o {
		set(&options)
	}
	c, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// request is a recorded request.
func request(version, method, target, body string, fields ...string) *recording.Exchange {
	req := recording.HTTPRequest{Version: version, Method: method, URI: target, Host: "recorded.example", Body: []byte(body)}
	req.URL, _, _ = strings.Cut(target, "?")
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ": ")
		req.Headers = append(req.Headers, recording.Header{Name: name, Value: value})
	}
	return &recording.Exchange{L7Protocol: recording.HTTP1, Direction: recording.In, HTTP: &recording.HTTP{Req: req}}
}

// send sends an exchange.
func send(t testing.TB, c *Client, e *recording.Exchange, into *Result) error {
	t.Helper()
	b, err := Append(nil, e)
	if err != nil {
		t.Fatal(err)
	}
	err = c.Send(t.Context(), b, into)
	clear(b) // it belongs to the caller again
	return err
}

// told answers with the request as the server received it.
func told(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	w.Header().Set("X-Run", r.Header.Get(contract.HeaderReplay))
	w.Header().Set("Trailer", "X-After")
	fmt.Fprintf(w, "%s %s %s host=%s body=%q trailer=%q cookie=%q", r.Proto, r.Method, r.RequestURI, r.Host, body, r.Trailer.Get("X-Sum"), r.Header["X-Two"])
	w.Header().Set("X-After", "1")
}

func TestEveryVersionOfHTTPReachesARealServer(t *testing.T) {
	plain := httptest.NewUnstartedServer(http.HandlerFunc(told))
	plain.Config.Protocols = new(http.Protocols)
	plain.Config.Protocols.SetHTTP1(true)
	plain.Config.Protocols.SetUnencryptedHTTP2(true)
	plain.Start()
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(told))
	secure.EnableHTTP2 = true
	secure.StartTLS()
	defer secure.Close()
	old := httptest.NewTLSServer(http.HandlerFunc(told))
	defer old.Close()
	roots := x509.NewCertPool()
	roots.AddCert(secure.Certificate())
	h2c := strings.Replace(plain.URL, "http:", "h2c:", 1)
	for _, test := range []struct {
		name, target, version string
		want                  string
	}{
		{"HTTP/1.0", plain.URL, "1.0", "HTTP/1.0"},
		{"HTTP/1.1", plain.URL, "1.1", "HTTP/1.1"},
		{"HTTP/2 without TLS", plain.URL, "2.0", "HTTP/2.0"},
		{"HTTP/1.1 recorded, sent as h2c", h2c, "1.1", "HTTP/2.0"},
		{"HTTP/1.1 with TLS", secure.URL, "1.1", "HTTP/1.1"},
		{"HTTP/2 with TLS", secure.URL, "2.0", "HTTP/2.0"},
		{"HTTP/2 recorded, the target has HTTP/1.1 only", old.URL, "2.0", "HTTP/1.1"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := client(t, test.target, func(o *Options) {
				o.TLS, o.Run = &tls.Config{RootCAs: roots}, "run-1"
			})
			var r Result
			for range 3 {
				e := request(test.version, "POST", "/a//b?c=%20d", "hello", "X-Two: 1", "X-Two: 2", "Content-Length: 99")
				if err := send(t, c, e, &r); err != nil {
					t.Fatal(err)
				}
				got := string(r.Live.HTTP.Res.Body)
				want := test.want + ` POST /a//b?c=%20d host=recorded.example body="hello" trailer="" cookie=["1" "2"]`
				if got != want {
					t.Errorf("the server got\n%s\nwant\n%s", got, want)
				}
				res := r.Live.HTTP.Res
				if res.StatusCode != 200 || res.StatusMessage != "200 OK" || res.Headers.Get("X-Run") != "run-1" {
					t.Errorf("got the answer %+v", res)
				}
				if after := res.Headers.Get("X-After"); after != "1" && test.version != "1.0" {
					t.Errorf("got the trailer %q", after)
				}
				if r.BytesOut != 5 || r.BytesIn != int64(len(want)) || r.Fail != "" {
					t.Errorf("out %d, in %d, failure %q", r.BytesOut, r.BytesIn, r.Fail)
				}
			}
		})
	}
}
