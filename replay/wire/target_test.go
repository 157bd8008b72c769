package wire

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/recording"
)

func TestNothingButTheTargetIsConnectedTo(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "http://elsewhere.example/")
		w.Header().Set("Alt-Svc", `h2="elsewhere.example:443"`)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	defer s.Close()
	for _, name := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"} {
		t.Setenv(name, "http://proxy.example:3128")
	}
	c := client(t, s.URL, func(o *Options) {
		o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			if address != s.Listener.Addr().String() {
				t.Errorf("a connection to %s", address)
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		}
	})
	for _, version := range []string{"1.0", "1.1", "2.0"} {
		for _, e := range []*recording.Exchange{
			request(version, "GET", "http://recorded.example:81/a", "", "Host: recorded.example:81"),
			request(version, "GET", "//recorded.example/a", "", "Host: recorded.example"),
		} {
			e.NetworkAddress = "recorded.example:80"
			var r Result
			if err := send(t, c, e, &r); err != nil || r.Live.HTTP.Res.StatusCode != 307 {
				t.Errorf("%s %s: status %d, %v", version, e.HTTP.Req.URI, r.Live.HTTP.Res.StatusCode, err)
			}
		}
	}
}

func TestTargets(t *testing.T) {
	for _, test := range []struct{ target, err string }{
		{"http://localhost:8080", ""},
		{"http://localhost:8080/", ""},
		{"grpcs://[::1]", ""},
		{"localhost:8080", `target localhost:8080: unknown scheme "localhost"; want one of [http https h2c grpc grpcs]`},
		{"ftp://a", `target ftp://a: unknown scheme "ftp"; want one of [http https h2c grpc grpcs]`},
		{"http://:80", "target http://:80: no host given; want a URL such as http://localhost:8080"},
		{"http://a/b", "target http://a/b: want a scheme, a host and a port only; the rest comes from the recording"},
		{"http://me:secret@a", "target http://me:xxxxx@a: want a scheme, a host and a port only; the rest comes from the recording"},
	} {
		u, err := url.Parse(test.target)
		if err != nil {
			t.Fatal(err)
		}
		c, err := New(Options{Target: u})
		if err == nil {
			c.Close()
		}
		if got := fmt.Sprint(err); got != test.err && !(err == nil && test.err == "") {
			t.Errorf("%s: got %s, want %s", test.target, got, test.err)
		}
	}
	u := &url.URL{Scheme: "http", Host: "a"}
	for _, o := range []Options{{}, {Target: u, Run: "A b"}, {Target: u, Pace: -1}, {Target: u, Timeout: -1}, {Target: u, MaxBody: -1}, {Target: u, MaxConns: -1}} {
		if _, err := New(o); err == nil {
			t.Errorf("%+v is accepted", o)
		}
	}
}

func TestTLSUsesTheNameTheRootsAndTheCertificateThatAreGiven(t *testing.T) {
	issuer := httptest.NewTLSServer(nil)
	defer issuer.Close()
	certificate := issuer.TLS.Certificates[0]
	roots := x509.NewCertPool()
	roots.AddCert(issuer.Certificate())
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %d", r.Proto, r.TLS.ServerName, len(r.TLS.PeerCertificates))
	}))
	s.EnableHTTP2 = true
	s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, Certificates: []tls.Certificate{certificate}}
	s.StartTLS()
	defer s.Close()
	c := client(t, s.URL, func(o *Options) {
		o.TLS = &tls.Config{RootCAs: roots, ServerName: "example.com", Certificates: []tls.Certificate{certificate}, NextProtos: []string{"own"}}
	})
	for version, want := range map[string]string{"1.1": "HTTP/1.1 example.com 1", "2.0": "HTTP/2.0 example.com 1"} {
		var r Result
		if err := send(t, c, request(version, "GET", "/", ""), &r); err != nil {
			t.Fatal(err)
		}
		if got := string(r.Live.HTTP.Res.Body); got != want || !r.Live.IsTLS || r.Live.L7Protocol != recording.HTTPS {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestTheHostIsTheRecordedOneUnlessItIsRewritten(t *testing.T) {
	for _, version := range []string{"1.1", "2.0"} {
		for _, rewrites := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				c, stop := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) }, func(o *Options) { o.RewriteHost = rewrites })
				defer stop()
				want := "recorded.example"
				if rewrites {
					want = "target.example"
				}
				var r Result
				if err := send(t, c, request(version, "GET", "/", "", "Host: recorded.example"), &r); err != nil {
					t.Fatal(err)
				}
				if got := string(r.Live.HTTP.Res.Body); got != want || r.Live.HTTP.Req.Host != "recorded.example" {
					t.Errorf("HTTP/%s: the server got the host %s, want %s; the result has %s", version, got, want, r.Live.HTTP.Req.Host)
				}
			})
		}
	}
}

func TestTrailersOverHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := serve(t, told)
		defer stop()
		e := request("2.0", "POST", "/", "hello", "Cookie: a=1", "Cookie: b=2", "X-Sum: abc")
		e.Tags.Set(recording.TagRequestTrailers, "X-Sum")
		var r Result
		if err := send(t, c, e, &r); err != nil {
			t.Fatal(err)
		}
		if got := string(r.Live.HTTP.Res.Body); !strings.Contains(got, `body="hello" trailer="abc"`) {
			t.Errorf("the server got %s", got)
		}
	})
}

// events is a server whose answer never ends.
func events(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	for i := range 1 << 20 {
		if _, err := fmt.Fprintf(w, "data: %d\n\n", i%10); err != nil {
			return
		}
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-time.After(time.Minute):
		case <-r.Context().Done():
			return
		}
	}
}

func TestAStreamOfEventsEndsWhereTheRecordedClientLeft(t *testing.T) {
	for _, recorded := range []struct {
		version string
		tags    recording.Tags
		lacks   string // the live answer
	}{
		{"1.1", recording.Tags{{Name: recording.TagIncomplete, Value: recording.CutOff}}, recording.CutOff},
		{"1.1", nil, recording.CutOff}, // whose end was that of the connection
		{"2.0", recording.Tags{{Name: recording.TagIncomplete, Value: recording.Reset}, {Name: recording.TagReset, Value: "client: CANCEL"}}, recording.Reset},
	} {
		version := recorded.version
		synctest.Test(t, func(t *testing.T) {
			c, stop := serve(t, events)
			defer stop()
			e := request(version, "GET", "/events", "")
			e.HTTP.Res = recording.HTTPResponse{StatusCode: 200, Headers: recording.Headers{{Name: "Content-Type", Value: "text/event-stream"}}, Body: []byte("data: 0\n\ndata: 1\n\ndata: 2\n\n")}
			e.Duration = 125_000
			e.Tags = append(recording.Tags{{Name: recording.TagRequestEnd, Value: "1"}, {Name: recording.TagResponseStart, Value: "2"},
				{Name: recording.TagPace, Value: "9:60000000,18:120000000"}}, recorded.tags...)
			var r Result
			if err := send(t, c, e, &r); err != nil {
				t.Fatal(err)
			}
			if got := string(r.Live.HTTP.Res.Body); got != string(e.HTTP.Res.Body) || r.Done.Sub(r.Sent) != 2*time.Minute || r.Live.Incomplete() != recorded.lacks {
				t.Errorf("HTTP/%s: after %v got %q, incomplete %q", version, r.Done.Sub(r.Sent), got, r.Live.Incomplete())
			}
			if got := r.Live.Tags.Get(recording.TagPace); got != "9:60000000,18:120000000" {
				t.Errorf("HTTP/%s: the pace is %s", version, got)
			}
		})
	}
}
