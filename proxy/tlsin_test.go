package proxy

import (
	"bufio"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/logbuffer"
	"github.com/tapedeck/tapedeck/proxy/ca"
)

// pki is a CA and what it signed: a client's certificate, and the sidecar's for inbound TLS, which
// is also the application's for app.svc.
type pki struct {
	dir    string
	ca     *ca.Authority
	pool   *x509.CertPool
	app    *KeyFiles
	client tls.Certificate
}

func newPKI(t testing.TB) *pki {
	t.Helper()
	dir, pool := caDir(t)
	k := &pki{dir: dir, ca: authorityOf(t, dir), pool: pool}
	k.app = leafFiles(t, k.ca, "app.svc")
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"))
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "client"},
		NotBefore: pair.Leaf.NotBefore, NotAfter: pair.Leaf.NotAfter, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, pair.Leaf, pair.Leaf.PublicKey, pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	k.client = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: pair.PrivateKey}
	return k
}

// opensslServer runs `openssl s_server`, and returns its address, its input for commands and its
// output.
func opensslServer(t testing.TB, args ...string) (addr net.Addr, stdin io.Writer, said *logbuffer.Buffer) {
	t.Helper()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	cmd := exec.Command("openssl", append([]string{"s_server", "-accept", "127.0.0.1:0"}, args...)...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said = new(logbuffer.Buffer)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Process.Kill(); cmd.Wait() })
	eventually(t, "s_server listens", func() bool {
		_, at, _ := strings.Cut(said.String(), "ACCEPT ")
		at, _, whole := strings.Cut(at, "\n")
		if whole {
			addr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(at))
		}
		return whole
	})
	return addr, in, said
}

// inbound runs a sidecar that terminates TLS for a TLS application. declared says whether the
// configuration declares that the application speaks TLS.
func (k *pki) inbound(t testing.TB, app net.Addr, declared bool) *sidecar {
	return run(t, app, func(c *Config) { c.TLSIn, c.In[0].App.TLS = k.app, declared })
}

// get requests a page through the sidecar, with the client's certificate.
func (k *pki) get(s *sidecar, name string, version uint16) (body string, issuer *x509.Certificate, err error) {
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{
			RootCAs: k.pool, MaxVersion: version,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &k.client, nil },
		},
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", s.InAddr().String())
		},
	}
	resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Get("https://" + name + "/")
	if err != nil {
		return "", nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), resp.TLS.PeerCertificates[0], err
}

// outcomes returns the outcome of each connection's TLS, from the log.
func (s *sidecar) outcomes() (all []string) {
	for _, line := range strings.Split(s.logs.String(), "\n") {
		if _, rest, ok := strings.Cut(line, " tls="); ok && strings.Contains(line, "msg=connection") {
			what, _, _ := strings.Cut(rest, " ")
			all = append(all, what)
		}
	}
	return all
}

// An application gets the TLS that it demands from its clients, although the sidecar terminates
// TLS. If that is impossible, the sidecar passes TLS untouched.
func TestTLSInDoesNotBreakAnOpenSSLApplication(t *testing.T) {
	k := newPKI(t)
	two := leafFiles(t, k.ca, "two.svc")
	root := filepath.Join(k.dir, "tls.crt")
	base := []string{"-cert", k.app.Cert, "-key", k.app.Key, "-www", "-CAfile", root}
	byName := []string{"-servername", "two.svc", "-cert2", two.Cert, "-key2", two.Key}
	const own, shown, fails = "no client certificate available", "Issuer: CN=test CA", "-"
	for _, c := range []struct {
		name    string
		app     []string
		sni     string
		version uint16
		want    string // on the application's page
		outcome string
		log     string
	}{
		{"asks for nothing", nil, "app.svc", 0, own, "intercepted", ""},
		{"asks for nothing, TLS 1.2", []string{"-tls1_2"}, "app.svc", 0, own, "intercepted", ""},
		{"requests a certificate", []string{"-verify", "1"}, "app.svc", 0, shown, "client_cert", "asks for client certificates"},
		{"requests a certificate, TLS 1.2", []string{"-verify", "1"}, "app.svc", tls.VersionTLS12, shown, "client_cert", "asks for client certificates"},
		{"requires a certificate", []string{"-Verify", "1"}, "app.svc", 0, shown, "client_cert", "asks for client certificates"},
		{"requires a certificate, TLS 1.2", []string{"-Verify", "1", "-tls1_2"}, "app.svc", 0, shown, "client_cert", "asks for client certificates"},
		{"requires a certificate after HelloRetryRequest", []string{"-Verify", "1", "-groups", "P-521"}, "app.svc", 0, shown, "client_cert", "asks for client certificates"},
		{"knows the name, and no other", append([]string{"-servername_fatal"}, byName...), "app.svc", 0, fails, "upstream_tls", "handshake with the application failed"},
		{"has a certificate for the name", byName, "two.svc", 0, own, "other_name", "not valid for the name that a client asks for"},
		{"has the same certificate for the name", byName, "app.svc", 0, own, "intercepted", ""},
		{"speaks TLS 1.3 alone to a client up to 1.2", []string{"-tls1_3"}, "app.svc", tls.VersionTLS12, fails, "upstream_tls", "handshake with the application failed"},
	} {
		for _, declared := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, declared %v", c.name, declared), func(t *testing.T) {
				app, _, _ := opensslServer(t, append(c.app, base...)...)
				s := k.inbound(t, app, declared)
				const times = 3
				for range times {
					body, cert, err := k.get(s, c.sni, c.version)
					switch {
					case c.want == fails && err == nil:
						t.Errorf("the client gets what the application refuses: %s", body)
					case c.want == fails:
					case err != nil || !strings.Contains(body, c.want):
						t.Errorf("%v: %s", err, body)
					case cert.VerifyHostname(c.sni) != nil:
						t.Errorf("the client was shown a certificate for %v", cert.DNSNames)
					}
				}
				s.stop()
				if got, want := strings.Join(s.outcomes(), " "), strings.TrimSpace(strings.Repeat(c.outcome+" ", times)); got != want {
					t.Errorf("outcomes %s, want %s", got, want)
				}
				if n := strings.Count(s.logs.String(), c.log); c.log != "" && n != 1 {
					t.Errorf("the log says %d times %q", n, c.log)
				}
			})
		}
	}
}

// nginx decides by SNI what it demands. A name that demands a client certificate passes untouched,
// and the others are intercepted as before.
func TestTLSInDoesNotBreakNginx(t *testing.T) {
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Skip("nginx is not installed")
	}
	k := newPKI(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr()
	ln.Close()
	var servers strings.Builder
	for _, server := range []struct{ name, more string }{
		{"app.svc", ""},
		{"mtls.svc", "ssl_verify_client optional_no_ca;"},
		{"strict.svc", "ssl_verify_client on; ssl_client_certificate " + filepath.Join(k.dir, "tls.crt") + ";"},
		{"old.svc", "ssl_protocols TLSv1.2;"},
	} {
		files := k.app
		if server.name != "app.svc" {
			files = leafFiles(t, k.ca, server.name)
		}
		fmt.Fprintf(&servers, "server { listen %s ssl; server_name %s; ssl_certificate %s; ssl_certificate_key %s; %s\n"+
			"location / { return 200 \"$server_name $ssl_server_name $ssl_client_s_dn\"; } }\n", addr, server.name, files.Cert, files.Key, server.more)
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "nginx.conf")
	write(t, conf, fmt.Appendf(nil, `daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log; worker_processes 1;
events {}
http {
	access_log off; client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
	server { listen %[2]s ssl default_server; ssl_reject_handshake on; }
	%[3]s
}`, dir, addr, servers.String()))
	cmd := exec.Command("nginx", "-p", dir, "-c", conf, "-e", filepath.Join(dir, "error.log"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if text, _ := os.ReadFile(filepath.Join(dir, "error.log")); t.Failed() {
			t.Logf("%s", text)
		}
	})
	eventually(t, "nginx listens", func() bool {
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	for _, c := range []struct{ sni, want, outcome string }{
		{"app.svc", "app.svc app.svc ", "intercepted"},
		{"mtls.svc", "mtls.svc mtls.svc CN=client", "client_cert"},
		{"strict.svc", "strict.svc strict.svc CN=client", "client_cert"},
		{"old.svc", "old.svc old.svc ", "other_name"},
		{"unknown.svc", "", "upstream_tls"},
	} {
		t.Run(c.sni, func(t *testing.T) {
			s := k.inbound(t, addr, false)
			for range 2 {
				body, _, err := k.get(s, c.sni, 0)
				if body != c.want || (err == nil) != (c.want != "") {
					t.Errorf("%q, %v, want %q", body, err, c.want)
				}
			}
			s.stop()
			if got, want := strings.Join(s.outcomes(), " "), c.outcome+" "+c.outcome; got != want {
				t.Errorf("outcomes %s, want %s", got, want)
			}
		})
	}
}

// In TLS 1.2 a server may ask for a client certificate in the middle of a connection. That
// connection continues without one; later ones pass untouched.
func TestACertificateThatIsAskedForLate(t *testing.T) {
	k := newPKI(t)
	for name, c := range map[string]struct {
		start   func(app net.Addr) *sidecar
		connect func(s *sidecar, app net.Addr) net.Conn
		log     string
	}{
		"inbound": {
			func(app net.Addr) *sidecar { return k.inbound(t, app, true) },
			func(s *sidecar, _ net.Addr) net.Conn { return dial(t, s.InAddr()) },
			"the application asks for client certificates",
		},
		"outbound": {
			func(app net.Addr) *sidecar {
				return run(t, nil, func(c *Config) { c.TLSOut, c.CADir, c.UpstreamCA = true, k.dir, filepath.Join(k.dir, "tls.crt") })
			},
			func(s *sidecar, app net.Addr) net.Conn { return entries["CONNECT"](t, s, app.String()) },
			"an upstream asks for a client certificate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			app, stdin, said := opensslServer(t, "-cert", k.app.Cert, "-key", k.app.Key, "-tls1_2", "-state")
			s := c.start(app)
			visit := func(late bool) {
				conn := tls.Client(c.connect(s, app), &tls.Config{ServerName: "app.svc", RootCAs: k.pool})
				defer conn.Close()
				fmt.Fprintln(conn, "hello")
				if late {
					io.WriteString(stdin, "R\n") // renegotiate, and ask
					eventually(t, "the server has asked", func() bool { return strings.Count(said.String(), "write finished") == 2 })
				}
				io.WriteString(stdin, "answer\n")
				if line, err := bufio.NewReader(conn).ReadString('\n'); line != "answer\n" {
					t.Errorf("%q, %v", line, err)
				}
			}
			visit(true)
			eventually(t, "the first has ended", func() bool { return len(s.outcomes()) == 1 })
			visit(false)
			s.stop()
			if got := strings.Join(s.outcomes(), " "); got != "intercepted client_cert" {
				t.Errorf("outcomes %s", got)
			}
			if n := strings.Count(s.logs.String(), c.log); n != 1 {
				t.Errorf("the log says %d times %q", n, c.log)
			}
		})
	}
}

// An application without TLS gets none, although the sidecar tries TLS once. Its clients are
// served, however it reacts.
func TestTLSInFindsOutThatAnApplicationSpeaksNoTLS(t *testing.T) {
	k := newPKI(t)
	for name, c := range map[string]struct {
		serve func(net.Conn) error // the answer to a handshake, which is not TLS
		tries int                  // of TLS, for three connections
	}{
		"answers":  {func(c net.Conn) error { _, err := io.WriteString(c, "ERR what?\r\n"); return err }, 1},
		"hangs up": {func(c net.Conn) error { return net.ErrClosed }, 2},
	} {
		t.Run(name, func(t *testing.T) {
			var tries atomic.Int32
			app := serveTCP(t, func(conn *net.TCPConn) {
				r := bufio.NewReader(conn)
				for {
					first, err := r.Peek(1)
					switch {
					case err != nil:
						return
					case first[0] == 22:
						tries.Add(1)
						if c.serve(conn) != nil {
							return
						}
						io.Copy(io.Discard, r)
						return
					}
					line, err := r.ReadString('\n')
					if err != nil {
						return
					}
					io.WriteString(conn, "got "+line)
				}
			})
			s := k.inbound(t, app, false)
			for range 3 {
				conn := tls.Client(dial(t, s.InAddr()), &tls.Config{ServerName: "app.svc", RootCAs: k.pool})
				fmt.Fprintln(conn, "hello")
				if line, err := bufio.NewReader(conn).ReadString('\n'); line != "got hello\n" {
					t.Errorf("%q, %v", line, err)
				}
				conn.Close()
			}
			if n := int(tries.Load()); n != c.tries {
				t.Errorf("TLS was tried %d times, want %d", n, c.tries)
			}
			s.stop()
			if got := strings.Join(s.outcomes(), " "); got != "intercepted intercepted intercepted" {
				t.Errorf("outcomes %s", got)
			}
		})
	}
}
