package traffic

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
)

// An application that uses TLS, on loopback behind the reverse half, can be reached by clients
// with and without TLS.
func TestTLSApplication(t *testing.T) {
	curl := program(t, "curl", "curl")
	a := newAuthority(t)
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto, " ", r.TLS != nil)
	}))
	app.TLS = a.server("h2", "http/1.1")
	app.EnableHTTP2 = true
	app.StartTLS()
	defer app.Close()
	tlsIn := a.terminating()
	for _, c := range []struct {
		name, scheme, args string
		env                []string
		prints             string
		untouched          bool
		// Fields of the record; without a version, it only counts bytes.
		version, protocol, alpn string
	}{
		{name: "HTTP/1.1 without TLS", scheme: "http", args: "--http1.1", prints: "HTTP/1.1 true", version: "1.1", protocol: "http"},
		{name: "HTTP/2 without TLS", scheme: "http", args: "--http2-prior-knowledge", prints: "HTTP/2.0 true", version: "2.0", protocol: "http"},
		{name: "TLS that ends in the sidecar, HTTP/1.1", scheme: "https", args: "--http1.1", env: tlsIn, prints: "HTTP/1.1 true", version: "1.1", protocol: "https", alpn: "http/1.1"},
		{name: "TLS that ends in the sidecar, HTTP/2", scheme: "https", args: "--http2", env: tlsIn, prints: "HTTP/2.0 true", version: "2.0", protocol: "https", alpn: "h2"},
		{name: "TLS that passes", scheme: "https", args: "--http2", prints: "HTTP/2.0 true", untouched: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := start(t, app.Listener.Addr().String(), append(c.env, contract.EnvReverseProxyHost+"=https://127.0.0.1")...)
			s.understood = !c.untouched
			args := strings.Fields("-sS -m 20 --cacert " + a.file + " --connect-to ::" + s.reverse() + " " + c.args)
			out, err := exec.CommandContext(t.Context(), curl, append(args, c.scheme+"://"+serverName+"/", "--noproxy", "*")...).CombinedOutput()
			if string(out) != c.prints || err != nil {
				t.Errorf("%q, %v, want %q", out, err, c.prints)
			}
			recorded := s.stop()
			if len(recorded) != 1 {
				t.Fatalf("%d exchanges are recorded", len(recorded))
			}
			e := recorded[0]
			switch {
			case c.version == "":
				if e.TCP == nil || len(e.TCP.Messages) > 0 || e.TCP.ServerBytes != int64(s.app.conns[0].server.Len()) || e.Tech != "TLS" {
					t.Errorf("%s %s: %+v", e.L7Protocol, e.Tech, e.TCP)
				}
			case e.Direction != recording.In || e.HTTP == nil || e.HTTP.Req.Version != c.version || e.L7Protocol != c.protocol || e.IsTLS != (c.scheme == "https") ||
				e.ALPN != c.alpn || e.Status != "200" || string(e.HTTP.Res.Body) != c.prints:
				t.Errorf("%s %s HTTP/%s, TLS %v, ALPN %q, status %s: %q", e.Direction, e.L7Protocol, e.HTTP.Req.Version, e.IsTLS, e.ALPN, e.Status, e.HTTP.Res.Body)
			}
		})
	}
}

// An application that is not on loopback has to prove its identity.
func TestTLSApplicationOutsideLoopback(t *testing.T) {
	a := newAuthority(t)
	app := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	app.TLS = a.server() // its certificate is not for this address
	app.StartTLS()
	defer app.Close()
	at := newTee(t, net.JoinHostPort(outside, "0"), app.Listener.Addr().String())
	s := start(t, "", contract.EnvUpstreamCA+"="+a.file, contract.EnvReverseProxyHost+"=https://"+outside,
		contract.EnvReverseProxyPort+"="+strconv.Itoa(at.Addr().(*net.TCPAddr).Port))
	s.understood = true
	resp, err := http.Get("http://" + s.reverse())
	if err == nil {
		resp.Body.Close()
		t.Errorf("answered with %s", resp.Status)
	}
	if recorded := s.stop(); len(recorded) > 0 {
		t.Errorf("%d exchanges are recorded", len(recorded))
	}
	if log := s.log.String(); !strings.Contains(log, "TLS to the application: ") || !strings.Contains(log, "certificate") {
		t.Error("the log does not say why")
	}
}
