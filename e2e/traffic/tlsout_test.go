package traffic

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/recording"
)

// secured is a server that reports how it was called, and by whom.
func secured(t *testing.T, config *tls.Config) (address string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Proto)
		if chain := r.TLS.PeerCertificates; len(chain) > 0 {
			fmt.Fprint(w, " by ", chain[0].Subject.CommonName)
		}
	}))
	server.TLS = config
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// curl uses TLS through the sidecar, which intercepts it if it may.
func TestTLSOut(t *testing.T) {
	program(t, "curl", "curl")
	a := newAuthority(t)
	asking := a.server("h2", "http/1.1")
	asking.ClientAuth, asking.ClientCAs = tls.RequireAndVerifyClientCert, pool(t, a.file)
	cert, key := a.client()
	const ours, theirs = "--cacert BUNDLE", "--cacert ROOT"
	for _, c := range []struct {
		name   string
		server *tls.Config
		env    []string // in addition to the CA
		curl   string
		prints string // "": it fails
		said   string // part of the log
		again  string // what a second curl prints; "": there is none
		// Fields of the last record; without a version, it only counts bytes.
		version, alpn string
		nothing       bool // nothing is recorded
	}{
		{name: "HTTP/2", curl: "--http2 " + ours, prints: "HTTP/2.0", version: "2.0", alpn: "h2"},
		{name: "HTTP/1.1", curl: "--http1.1 " + ours, prints: "HTTP/1.1", version: "1.1", alpn: "http/1.1"},
		{name: "no ALPN", curl: "--no-alpn " + ours, prints: "HTTP/1.1", version: "1.1"},
		{name: "TLS 1.2", curl: "--tls-max 1.2 " + ours, prints: "HTTP/2.0", version: "2.0", alpn: "h2"},
		{name: "a server that the system's roots know", env: []string{contract.EnvUpstreamCA + "=", "SSL_CERT_FILE=" + a.file},
			curl: ours, prints: "HTTP/2.0", version: "2.0", alpn: "h2"},
		{name: "a server that no root knows", env: []string{contract.EnvUpstreamCA + "="},
			curl: ours, nothing: true, said: "can't verify an upstream's certificate: the client gets a TLS alert"},
		{name: "a client that doesn't know our CA", curl: "--http2 " + theirs, again: "HTTP/2.0", said: "SSL_CERT_FILE=BUNDLE"},
		{name: "a server that asks for the client's certificate, which we have", server: asking,
			env:  []string{contract.EnvTLSMutualPublicKey + "=" + cert, contract.EnvTLSMutualPrivateKey + "=" + key},
			curl: ours, prints: "HTTP/2.0 by the client", version: "2.0", alpn: "h2"},
		{name: "a server that asks for the client's certificate, which the client has", server: asking,
			curl: "--http2 --cert " + cert + " --key " + key + " " + theirs, prints: "HTTP/2.0 by the client", said: "tls-mutual-secret"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.server == nil {
				c.server = a.server("h2", "http/1.1")
			}
			server := secured(t, c.server)
			s := start(t, "", append(a.intercepting(), c.env...)...)
			s.understood = true
			files := strings.NewReplacer("BUNDLE", s.bundle(), "ROOT", a.file)
			args := files.Replace("-sS -m 20 -x http://" + outTee + " --connect-to ::" + s.to(server) + " " + c.curl)
			ask := func(want string) {
				t.Helper()
				out, err := exec.CommandContext(t.Context(), "curl", append(strings.Fields(args), "https://"+serverName+"/")...).CombinedOutput()
				if failed := err != nil; failed != (want == "") || !failed && string(out) != want {
					t.Errorf("%q, %v, want %q", out, err, want)
				}
			}
			ask(c.prints)
			if c.said != "" {
				eventually(t, "the log says what is the matter", func() bool { return strings.Contains(s.log.String(), files.Replace(c.said)) })
			}
			if c.again != "" {
				ask(c.again)
			}
			var last *recording.Exchange
			for _, e := range s.stop() {
				if e.Command != http.MethodConnect {
					last = e
				}
			}
			switch {
			case c.nothing:
				if last != nil {
					t.Errorf("recorded: %+v", last)
				}
			case c.version != "":
				if last == nil || last.HTTP == nil || last.HTTP.Req.Version != c.version || last.ALPN != c.alpn || !last.IsTLS || last.L7Protocol != "https" ||
					last.HTTP.Req.Host != serverName || string(last.HTTP.Res.Body) != c.prints {
					t.Errorf("recorded: %+v", last)
				}
			default:
				if last == nil || last.TCP == nil || len(last.TCP.Messages) > 0 || !last.IsTLS {
					t.Errorf("recorded: %+v", last)
				}
			}
		})
	}
}

// An intercepted client gets a certificate for the name that it asked for. Its key is cheap to
// make, and its validity is short.
func TestLeaf(t *testing.T) {
	a := newAuthority(t)
	server := secured(t, a.server("h2"))
	s := start(t, "", a.intercepting()...)
	s.understood = true
	client := &http.Transport{
		Proxy:             http.ProxyURL(&url.URL{Scheme: "http", Host: outTee}),
		TLSClientConfig:   &tls.Config{ServerName: serverName, RootCAs: pool(t, s.bundle())},
		DisableKeepAlives: true,
	}
	target := s.to(server)
	for range 5 {
		resp, err := (&http.Client{Transport: client, Timeout: 20 * time.Second}).Get("https://" + target)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		leaf := resp.TLS.PeerCertificates[0]
		if leaf.PublicKeyAlgorithm != x509.ECDSA || leaf.VerifyHostname(serverName) != nil || time.Until(leaf.NotAfter) > ca.LeafValidity {
			t.Errorf("a %v key for %v until %v", leaf.PublicKeyAlgorithm, leaf.DNSNames, leaf.NotAfter)
		}
	}
	if minted := s.metric("tapedeck_tls_leaves_minted_total"); minted != 1 {
		t.Errorf("%v certificates were made", minted)
	}
	s.stop()
}
