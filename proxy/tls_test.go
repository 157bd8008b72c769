package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

// caDir makes a CA in a directory like a mounted Secret, and returns the pool that trusts it.
func caDir(t testing.TB) (dir string, pool *x509.CertPool) {
	t.Helper()
	dir = t.TempDir()
	cert, key, err := ca.Generate("test CA", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "tls.crt"), cert)
	write(t, filepath.Join(dir, "tls.key"), key)
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	return dir, pool
}

// authorityOf loads the CA of caDir.
func authorityOf(t testing.TB, dir string) *ca.Authority {
	t.Helper()
	a, err := ca.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func write(t testing.TB, name string, content []byte) {
	t.Helper()
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

// secure starts an HTTPS server, changed by edits, and returns it with the file of its root.
func secure(t testing.TB, h http.HandlerFunc, edits ...func(*httptest.Server)) (srv *httptest.Server, root string) {
	t.Helper()
	srv = httptest.NewUnstartedServer(h)
	srv.EnableHTTP2, srv.TLS = true, &tls.Config{}
	for _, edit := range edits {
		edit(srv)
	}
	srv.StartTLS()
	t.Cleanup(srv.Close)
	root = filepath.Join(t.TempDir(), "root.pem")
	write(t, root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	return srv, root
}

// tlsOut runs a sidecar that intercepts and trusts root.
func tlsOut(t testing.TB, root string) (*sidecar, *x509.CertPool) {
	t.Helper()
	dir, pool := caDir(t)
	return run(t, nil, func(c *Config) {
		c.TLSOut, c.CADir, c.UpstreamCA = true, dir, root
		c.Reverse = false
	}), pool
}

func TestInterceptedHTTPS(t *testing.T) {
	for name, proxy := range map[string]string{"CONNECT": "http", "SOCKS5": "socks5"} {
		for _, h2 := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s h2=%v", name, h2), func(t *testing.T) {
				srv, root := secure(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Proto, " ", r.Host) })
				s, pool := tlsOut(t, root)
				c, tr := s.client(t, proxy+"://"+s.OutAddr().String())
				tr.TLSClientConfig = &tls.Config{RootCAs: pool, ServerName: "example.com"}
				tr.ForceAttemptHTTP2 = h2
				resp, err := c.Get(srv.URL)
				if err != nil {
					t.Fatal(err)
				}
				proto, alpn := "HTTP/1.1", ""
				if h2 {
					proto, alpn = "HTTP/2.0", "h2"
				}
				if got, want := readAll(t, resp.Body), proto+" "+srv.Listener.Addr().String(); got != want {
					t.Errorf("%q, want %q", got, want)
				}
				resp.Body.Close()
				if issuer := resp.TLS.PeerCertificates[0].Issuer.CommonName; issuer != "test CA" {
					t.Errorf("the client was shown a certificate of %q", issuer)
				}
				tr.CloseIdleConnections()
				s.stop()
				flow := s.tape.find(tap.Out)[0]
				if f := flow.flow; !f.TLS || f.Opaque || f.SNI != "example.com" || f.ALPN != alpn {
					t.Errorf("the flow says %+v", f)
				}
				want := "GET / HTTP/1.1\r\n"
				if h2 {
					want = "PRI * HTTP/2.0\r\n"
				}
				if got := flow.side[tap.FromClient].String(); !strings.HasPrefix(got, want) {
					t.Errorf("the tap got %.40q", got)
				}
			})
		}
	}
}

// OpenSSL's client connects through CONNECT, with the trust files that the sidecar wrote.
func TestOpenSSL(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	srv, root := secure(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello from ", r.Proto) })
	s, _ := tlsOut(t, root)
	cmd := exec.CommandContext(t.Context(), "openssl", "s_client", "-proxy", s.OutAddr().String(), "-connect", srv.Listener.Addr().String(),
		"-servername", "example.com", "-verify_return_error", "-verify_hostname", "example.com", "-CAfile", filepath.Join(s.cfg.TrustDir, "tls.crt"), "-quiet")
	cmd.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
	out, err := cmd.CombinedOutput()
	if !strings.Contains(string(out), "hello from HTTP/1.0") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestATrustingCurlNeedsTheBundleAlone(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	srv, root := secure(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	s, _ := tlsOut(t, root)
	cmd := exec.CommandContext(t.Context(), "curl", "-sS", "-m", "20", "--noproxy", "", "-x", s.out(), srv.URL)
	cmd.Env = append(os.Environ(), "CURL_CA_BUNDLE="+filepath.Join(s.cfg.TrustDir, "ca-bundle.crt"))
	if out, err := cmd.CombinedOutput(); string(out) != "hello" {
		t.Errorf("%v: %s", err, out)
	}
}

// A client that does not trust the CA fails once. From then on it is bypassed, and the log says
// which variable to set.
func TestADistrustfulClient(t *testing.T) {
	srv, root := secure(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	s, _ := tlsOut(t, root)
	pool := x509.NewCertPool()
	pool.AddCert(srv.Certificate())
	c, tr := s.client(t, s.out())
	tr.TLSClientConfig = &tls.Config{RootCAs: pool, ServerName: "example.com"}
	if _, err := c.Get(srv.URL); err == nil {
		t.Fatal("the first connection is intercepted, and should fail")
	}
	eventually(t, "the log names the variables", func() bool {
		return strings.Contains(s.logs.String(), "SSL_CERT_FILE="+filepath.Join(s.cfg.TrustDir, "ca-bundle.crt"))
	})
	resp, err := c.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, resp.Body); got != "hello" {
		t.Errorf("%q", got)
	}
	resp.Body.Close()
	tr.CloseIdleConnections()
	s.stop()
	if f := s.tape.find(tap.Out)[0].flow; !f.Opaque || !f.TLS {
		t.Errorf("the flow says %+v", f)
	}
}

// OpenSSL, and programs that use it, refuse a certificate with an alert in plaintext, even where
// TLS 1.3 is already encrypted.
func TestADistrustfulCurl(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("curl is not installed")
	}
	srv, root := secure(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	for _, version := range []string{"--tls-max 1.2", "--tlsv1.3"} {
		t.Run(version, func(t *testing.T) {
			s, _ := tlsOut(t, root)
			args := append(strings.Fields(version), "-s", "-m", "20", "--noproxy", "", "--cacert", root, "-x", s.out(), srv.URL)
			if out, err := exec.CommandContext(t.Context(), "curl", args...).CombinedOutput(); err == nil {
				t.Fatalf("the first connection is intercepted, and should fail: %q", out)
			}
			eventually(t, "the log names the variable", func() bool { return strings.Contains(s.logs.String(), "CURL_CA_BUNDLE=") })
			if out, err := exec.CommandContext(t.Context(), "curl", args...).CombinedOutput(); string(out) != "hello" || err != nil {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

func TestAnUnverifiedUpstream(t *testing.T) {
	srv, _ := secure(t, func(w http.ResponseWriter, r *http.Request) {})
	s, pool := tlsOut(t, "")
	c, tr := s.client(t, s.out())
	tr.TLSClientConfig = &tls.Config{RootCAs: pool, ServerName: "example.com"}
	_, err := c.Get(srv.URL)
	if err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
		t.Errorf("the client saw %v, want a TLS alert", err)
	}
	eventually(t, "the log says which host and why", func() bool {
		l := s.logs.String()
		return strings.Contains(l, "host=example.com") && strings.Contains(l, "unknown authority") && strings.Contains(l, "TAPEDECK_UPSTREAM_CA")
	})
}

// Without a CA, TLS passes untouched, and a warning says so once.
func TestWithoutACA(t *testing.T) {
	srv, _ := secure(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	s := run(t, nil, func(c *Config) { c.TLSOut, c.CADir = true, t.TempDir() })
	c, tr := s.client(t, s.out())
	tr.TLSClientConfig = srv.Client().Transport.(*http.Transport).TLSClientConfig
	resp, err := c.Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if n := strings.Count(s.logs.String(), "there is no CA"); n != 1 {
		t.Errorf("%d warnings", n)
	}
	if _, err := os.Stat(filepath.Join(s.cfg.TrustDir, "ca-bundle.crt")); err != nil {
		t.Error(err)
	}
}

// The sidecar starts although a file from a Secret is missing. The log names the variable of the
// file.
func TestMissingFilesAreNoReasonNotToStart(t *testing.T) {
	dir, _ := caDir(t)
	nowhere := &KeyFiles{"nowhere.crt", "nowhere.key"}
	for variable, edit := range map[string]func(*Config){
		"TLS_IN_PUBLIC_KEY":     func(c *Config) { c.TLSIn = nowhere },
		"TLS_MUTUAL_PUBLIC_KEY": func(c *Config) { c.Mutual, c.TLSOut, c.CADir = nowhere, true, dir },
		"TAPEDECK_UPSTREAM_CA":  func(c *Config) { c.UpstreamCA = "nowhere.pem" },
		"HTTPS_PROXY":           func(c *Config) { c.Proxies.HTTPS = "gopher://corp" },
	} {
		t.Run(variable, func(t *testing.T) {
			s := run(t, serveTCP(t, echo), edit)
			c := dial(t, s.InAddr())
			io.WriteString(c, "hello")
			c.CloseWrite()
			if got := readAll(t, c); got != "hello" {
				t.Errorf("%q", got)
			}
			if n := strings.Count(s.logs.String(), "level=WARN"); n != 1 || !strings.Contains(s.logs.String(), "variable="+variable) {
				t.Errorf("%d warnings: %s", n, s.logs)
			}
		})
	}
}

// Roots that come late are used as soon as they are there.
func TestFurtherRootsMayComeLate(t *testing.T) {
	srv, root := secure(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello") })
	late := filepath.Join(t.TempDir(), "ca.crt")
	dir, pool := caDir(t)
	s := run(t, nil, func(c *Config) {
		c.TLSOut, c.CADir, c.UpstreamCA, c.rootsRecheck = true, dir, late, time.Millisecond
	})
	get := func() error {
		c, tr := s.client(t, s.out())
		tr.TLSClientConfig = &tls.Config{RootCAs: pool, ServerName: "example.com"}
		resp, err := c.Get(srv.URL)
		if err == nil {
			resp.Body.Close()
		}
		return err
	}
	if err := get(); err == nil {
		t.Error("an unknown root is trusted")
	}
	if err := os.Rename(root, late); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the root is trusted", func() bool { return get() == nil })
	added := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}))
	eventually(t, "the application's bundle has it", func() bool {
		bundle, err := os.ReadFile(filepath.Join(s.cfg.TrustDir, "ca-bundle.crt"))
		return err == nil && strings.Contains(string(bundle), added)
	})
}

// An intercepting proxy passes on anything that is not TLS, whichever side speaks first.
func TestInterceptionLeavesTheRestAlone(t *testing.T) {
	app := serveTCP(t, func(c *net.TCPConn) {
		io.WriteString(c, "220 ready\r\n")
		echo(c)
	})
	quiet := serveTCP(t, echo)
	s, _ := tlsOut(t, "")
	c := entries["CONNECT"](t, s, app.String())
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "220 ready\r\n" {
		t.Errorf("%q, %v", line, err)
	}
	for _, first := range []string{"PRI * HTTP/2.0\r\n\r\n", "\x00\x00\x00\x08\x04\xd2\x16\x2f", "\x16\x03\x01\x00\x05hello"} {
		c := entries["SOCKS5"](t, s, quiet.String())
		io.WriteString(c, first)
		c.CloseWrite()
		if got := readAll(t, c); got != first {
			t.Errorf("%q became %q", first, got)
		}
	}
}

func TestTLSIn(t *testing.T) {
	dir, pool := caDir(t)
	files := leafFiles(t, authorityOf(t, dir), "app.svc")
	plain := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "plain ", r.Proto) }))
	defer plain.Close()
	secured, root := secure(t, func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "TLS ", r.Proto) })
	pool.AddCert(secured.Certificate())
	for _, c := range []struct {
		name  string
		files *KeyFiles
		app   net.Addr
		tls   bool
		url   string
		want  string
	}{
		{"to plaintext", files, plain.Listener.Addr(), false, "https://app.svc", "plain HTTP/1.1"},
		{"to TLS, with its ALPN", files, secured.Listener.Addr(), true, "https://app.svc", "TLS HTTP/2.0"},
		{"plaintext passes", files, plain.Listener.Addr(), false, "http://app.svc", "plain HTTP/1.1"},
		{"plaintext to TLS", files, secured.Listener.Addr(), true, "http://app.svc", "TLS HTTP/1.1"},
		{"no certificate yet, TLS to TLS passes", &KeyFiles{"nowhere", "nowhere"}, secured.Listener.Addr(), true, "https://example.com", "TLS HTTP/2.0"},
		{"no certificate yet, plaintext passes", &KeyFiles{"nowhere", "nowhere"}, plain.Listener.Addr(), false, "http://app.svc", "plain HTTP/1.1"},
		{"not terminated, plaintext to TLS", nil, secured.Listener.Addr(), true, "http://app.svc", "TLS HTTP/1.1"},
		{"not terminated, TLS to TLS passes", nil, secured.Listener.Addr(), true, "https://example.com", "TLS HTTP/2.0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := run(t, c.app, func(cfg *Config) {
				cfg.TLSIn, cfg.In[0].App.TLS, cfg.UpstreamCA = c.files, c.tls, root
			})
			tr := &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true, DisableKeepAlives: true,
				DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "tcp", s.InAddr().String())
				},
			}
			defer tr.CloseIdleConnections()
			resp, err := (&http.Client{Transport: tr}).Get(c.url)
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, resp.Body); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			resp.Body.Close()
		})
	}
}

// An application that speaks first does so inside TLS that the sidecar terminates, and to a client
// without TLS as well. If the client has to speak, too, as in HTTP/2, it may be late.
func TestTLSInOfAServerThatSpeaksFirst(t *testing.T) {
	dir, pool := caDir(t)
	files := leafFiles(t, authorityOf(t, dir), "app.svc")
	secured := func(c net.Conn) net.Conn { return tls.Client(c, &tls.Config{RootCAs: pool, ServerName: "app.svc"}) }
	plain := func(c net.Conn) net.Conn { return c }
	for _, c := range []struct {
		name   string
		greets string
		client func(net.Conn) net.Conn
		late   time.Duration
	}{
		{"a greeting, TLS", "220 ready\r\n", secured, 0},
		{"a greeting, no TLS", "220 ready\r\n", plain, 0},
		{"SETTINGS, late TLS", "\x00\x00\x06\x04\x00\x00\x00\x00\x00\x00\x05\x00\x00\x40\x00", secured, patience + patience/2},
	} {
		t.Run(c.name, func(t *testing.T) {
			greeted := make(chan struct{})
			greet := sync.OnceFunc(func() { close(greeted) })
			app := serveTCP(t, func(conn *net.TCPConn) {
				io.WriteString(conn, c.greets)
				greet()
				echo(conn)
			})
			s := run(t, app, func(cfg *Config) { cfg.TLSIn = files })
			raw := dial(t, s.InAddr())
			<-greeted
			time.Sleep(c.late) // the case itself
			conn := c.client(raw)
			got := make([]byte, len(c.greets))
			if _, err := io.ReadFull(conn, got); string(got) != c.greets || err != nil {
				t.Fatalf("%q, %v, want %q", got, err, c.greets)
			}
			io.WriteString(conn, "hello")
			if _, err := io.ReadFull(conn, got[:5]); string(got[:5]) != "hello" || err != nil {
				t.Errorf("%q, %v", got[:5], err)
			}
		})
	}
}

func leafFiles(t testing.TB, a *ca.Authority, name string) *KeyFiles {
	t.Helper()
	leaf, err := a.Leaf(name)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	k := &KeyFiles{filepath.Join(t.TempDir(), "crt"), filepath.Join(t.TempDir(), "key")}
	var chain []byte
	for _, der := range leaf.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	write(t, k.Cert, chain)
	write(t, k.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}))
	return k
}

// The sidecar uses a corporate proxy as its upstream: everything goes through it.
func TestChaining(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "hello ", r.URL) }))
	defer srv.Close()
	corporate := run(t, nil, nil)
	for name, c := range map[string]struct {
		edit   func(*Config)
		client string
	}{
		"absolute-form to an HTTP proxy": {func(c *Config) { c.Proxies.HTTP = corporate.out() }, "http"},
		"absolute-form to a SOCKS proxy": {func(c *Config) { c.Proxies.All = "socks5://" + corporate.OutAddr().String() }, "http"},
		"SOCKS to an HTTP proxy":         {func(c *Config) { c.Proxies.All = corporate.out() }, "socks5"},
		"SOCKS to a SOCKS proxy":         {func(c *Config) { c.Proxies.All = "socks5://" + corporate.OutAddr().String() }, "socks5"},
	} {
		t.Run(name, func(t *testing.T) {
			before, _ := corporate.conns.sums(tap.Out)
			s := run(t, nil, c.edit)
			// Connections to loopback never use a proxy, so the name must not be a loopback name.
			client, tr := s.client(t, c.client+"://"+s.OutAddr().String())
			resp, err := client.Get("http://" + outsideLoopback(t, srv.Listener.Addr()) + "/x")
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, resp.Body); got != "hello /x" {
				t.Errorf("%q", got)
			}
			resp.Body.Close()
			tr.CloseIdleConnections()
			if after, _ := corporate.conns.sums(tap.Out); after.accepted != before.accepted+1 {
				t.Errorf("%d connections went through the proxy", after.accepted-before.accepted)
			}
		})
	}
}

// outsideLoopback returns a name that resolves to an address, and that proxy rules don't take for
// loopback.
func outsideLoopback(t testing.TB, a net.Addr) string {
	t.Helper()
	return fmt.Sprintf("0.0.0.0:%d", a.(*net.TCPAddr).Port)
}
