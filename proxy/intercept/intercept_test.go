package intercept

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// authority makes a CA and the pool that trusts it.
func authority(t testing.TB, name string) (*ca.Authority, *x509.CertPool) {
	t.Helper()
	cert, key, err := ca.Generate(name, time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	a, err := ca.New(pair)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(a.Certificate())
	return a, pool
}

// upstream is a TLS server that answers every line with its ALPN and the line.
type upstream struct {
	addr string
	ca   *x509.CertPool
}

func (u *upstream) roots() *x509.CertPool { return u.ca }

func startUpstream(t *testing.T, edit func(*tls.Config)) *upstream {
	t.Helper()
	ca, pool := authority(t, "the internet")
	leaf, err := ca.Leaf("example.test")
	if err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: []string{"h2", "http/1.1"}}
	if edit != nil {
		edit(cfg)
	}
	ln, err := tls.Listen("tcp", "127.0.0.1:0", cfg)
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				lines := bufio.NewScanner(c)
				for lines.Scan() {
					fmt.Fprintf(c, "%s:%s\n", c.(*tls.Conn).ConnectionState().NegotiatedProtocol, lines.Text())
				}
			})
		}
	})
	t.Cleanup(func() { ln.Close(); conns.Wait() })
	return &upstream{addr: ln.Addr().String(), ca: pool}
}

// through connects a TLS client to up through i, and returns the client's answer and the
// interceptor's result.
func through(t *testing.T, i *Interceptor, up *upstream, client *tls.Config) (answer string, err error, r Result) {
	t.Helper()
	r = serve(t, i, up, func(addr string) {
		var c *tls.Conn
		if c, err = tls.Dial("tcp", addr, client); err == nil {
			fmt.Fprintln(c, "hello")
			answer, err = bufio.NewReader(c).ReadString('\n')
			c.Close()
		}
	})
	return answer, err, r
}

// serve connects client to up through i.
func serve(t *testing.T, i *Interceptor, up *upstream, client func(addr string)) Result {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dial := func(context.Context) (*pump.Conn, error) {
		c, err := net.Dial("tcp", up.addr)
		return pump.NewConn(c, nil), err
	}
	done := make(chan Result, 1)
	go func() {
		in, err := ln.Accept()
		if err != nil {
			t.Error(err)
		}
		out, err := dial(t.Context())
		if err != nil {
			t.Error(err)
		}
		r := i.Do(t.Context(), pump.NewConn(in, nil), out, "127.0.0.1", 443, dial)
		if r.Client != nil {
			p := pump.Pump{Pool: &pool, Meter: &pump.Meter{}}
			start := time.Now()
			_ = p.Run(r.Client, r.Server)
			if r.Outcome == Intercepted {
				i.Ended(r.Endpoint, p.Meter.Bytes(0), time.Since(start))
			}
		}
		done <- r
	}()
	client(ln.Addr().String())
	return <-done
}

var pool tap.Pool

func TestOutbound(t *testing.T) {
	ca, ours := authority(t, "ours")
	for _, c := range []struct {
		name   string
		server func(*tls.Config)
		client *tls.Config
		answer string // what the client gets
		err    string // part of what the client sees instead
		want   Outcome
	}{
		{"h2 where both can", nil, &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, "h2:hello\n", "", Intercepted},
		{"only what upstream chose", func(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }, &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, "http/1.1:hello\n", "", Intercepted},
		{"no ALPN offered", nil, &tls.Config{}, ":hello\n", "", Intercepted},
		{"a protocol nobody here knows", func(c *tls.Config) { c.NextProtos = []string{"postgresql"} }, &tls.Config{NextProtos: []string{"postgresql"}}, "postgresql:hello\n", "", Intercepted},
		{"TLS 1.2", nil, &tls.Config{MaxVersion: tls.VersionTLS12}, ":hello\n", "", Intercepted},
		{"an upstream with another name", nil, &tls.Config{ServerName: "other.test"}, "", "tls: bad certificate", Unverified},
	} {
		t.Run(c.name, func(t *testing.T) {
			up := startUpstream(t, c.server)
			i := New(Config{Authority: ca, Roots: up.roots})
			if c.client.ServerName == "" {
				c.client.ServerName = "example.test"
			}
			c.client.RootCAs = ours
			answer, err, r := through(t, i, up, c.client)
			if r.Outcome != c.want {
				t.Errorf("outcome %s (%v), want %s", r.Outcome, r.Err, c.want)
			}
			if answer != c.answer {
				t.Errorf("answer %q, want %q (%v)", answer, c.answer, err)
			}
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("the client saw %v, want %q", err, c.err)
			}
		})
	}
}

func TestAnUnknownIssuerIsAnAlert(t *testing.T) {
	ca, ours := authority(t, "ours")
	up := startUpstream(t, nil)
	i := New(Config{Authority: ca, Roots: x509.NewCertPool})
	_, err, r := through(t, i, up, &tls.Config{ServerName: "example.test", RootCAs: ours})
	if err == nil || !strings.Contains(err.Error(), "unknown certificate authority") {
		t.Errorf("the client saw %v, want the alert unknown_ca", err)
	}
	if !r.First || !strings.Contains(r.Err.Error(), "verify example.test: ") {
		t.Errorf("first %v, %s", r.First, r.Err)
	}
}

// A client that does not trust the CA fails once. From then on it is bypassed.
func TestADistrustingClientIsLetThrough(t *testing.T) {
	ca, _ := authority(t, "ours")
	up := startUpstream(t, nil)
	i := New(Config{Authority: ca, Roots: up.roots})
	client := &tls.Config{ServerName: "example.test", RootCAs: up.ca}
	if _, err, r := through(t, i, up, client); r.Outcome != Refused || !r.First || err == nil {
		t.Fatalf("first connection: %s, first %v, client saw %v", r.Outcome, r.First, err)
	}
	answer, err, r := through(t, i, up, client)
	if r.Outcome != PassedDistrust || answer != ":hello\n" {
		t.Errorf("second connection: %s, %q, %v", r.Outcome, answer, err)
	}
}

// A client that does not accept the certificate is recognized, however it shows that: the first time
// if there is no doubt, and the second time if there is.
func TestAClientThatRefusesTheCertificateIsRecognised(t *testing.T) {
	name := &tls.Config{ServerName: "example.test"}
	hangUp := func(c net.Conn) {
		c.Write(clientHello(name))
		c.Read(make([]byte, 1)) // of the certificate
	}
	alert := func(code byte) func(net.Conn) {
		return func(c net.Conn) {
			c.Write(clientHello(&tls.Config{ServerName: "example.test", MaxVersion: tls.VersionTLS12}))
			c.Read(make([]byte, 1))
			c.Write([]byte{21, 3, 3, 0, 2, 2, code})
			io.Copy(io.Discard, c)
		}
	}
	const never = 4
	for _, c := range []struct {
		name    string
		client  func(net.Conn)
		trusted bool // another client has accepted the certificate
		after   int  // connections
	}{
		{"unknown_ca", alert(48), false, 1},
		{"handshake_failure", alert(40), false, 2},
		{"decrypt_error", alert(51), false, 2},
		{"internal_error", alert(80), false, 2},
		{"an alert that nobody knows", alert(121), false, 2},
		{"handshake_failure, while others trust it", alert(40), true, 2},
		{"a hang-up", hangUp, false, 2},
		{"a hang-up, while others trust it", hangUp, true, never},
	} {
		t.Run(c.name, func(t *testing.T) {
			ca, ours := authority(t, "ours")
			up := startUpstream(t, nil)
			i := New(Config{Authority: ca, Roots: up.roots})
			if c.trusted {
				through(t, i, up, &tls.Config{ServerName: "example.test", RootCAs: ours})
			}
			for n := range min(c.after, never-1) {
				r := serve(t, i, up, func(addr string) {
					conn, err := net.Dial("tcp", addr)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close()
					c.client(conn)
				})
				if r.Outcome != Refused || r.First != (n+1 == c.after) {
					t.Errorf("connection %d: %s, first %v, %v", n+1, r.Outcome, r.First, r.Err)
				}
			}
			_, _, r := through(t, i, up, &tls.Config{ServerName: "example.test", RootCAs: ours})
			if passed := r.Outcome == PassedDistrust; passed != (c.after != never) {
				t.Errorf("the next connection: %s", r.Outcome)
			}
		})
	}
}

// A client that can only use RSA never gets a certificate from the sidecar, and others are served
// as before.
func TestAClientThatCannotUseTheCertificateIsLetThrough(t *testing.T) {
	ca, ours := authority(t, "ours")
	cert, root := rsaCertificate(t, "example.test")
	up := startUpstream(t, func(c *tls.Config) { c.Certificates = append(c.Certificates, cert) })
	i := New(Config{Authority: ca, Roots: up.roots})
	for _, c := range []struct {
		client *tls.Config
		want   Outcome
		first  bool
	}{
		{rsaOnly(root), PassedClientTLS, true},
		{rsaOnly(root), PassedClientTLS, false},
		{&tls.Config{ServerName: "example.test", RootCAs: ours}, Intercepted, false},
	} {
		answer, err, r := through(t, i, up, c.client)
		if r.Outcome != c.want || r.First != c.first || answer != ":hello\n" {
			t.Errorf("%s, first %v, %q, %v; want %s", r.Outcome, r.First, answer, err, c.want)
		}
	}
}

func rsaOnly(root *x509.CertPool) *tls.Config {
	return &tls.Config{
		ServerName: "example.test", RootCAs: root,
		MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256},
	}
}

// rsaCertificate makes a certificate that is its own root.
func rsaCertificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	root, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(root)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// Some pinning clients look at the certificate after the handshake and hang up.
func TestAPinningClientIsLetThrough(t *testing.T) {
	ca, ours := authority(t, "ours")
	up := startUpstream(t, nil)
	i := New(Config{Authority: ca, Roots: up.roots})
	for range maxFailures {
		i.Ended("example.test:443", 0, time.Millisecond)
	}
	_, _, r := through(t, i, up, &tls.Config{ServerName: "example.test", RootCAs: ours})
	if r.Outcome != PassedDistrust {
		t.Errorf("outcome %s", r.Outcome)
	}
}

func TestAnIdleHangUpIsNoDistrustOnceAClientWasHappy(t *testing.T) {
	i := New(Config{})
	i.Ended("example.test:443", 10, time.Millisecond)
	for range maxFailures + 1 {
		if i.Ended("example.test:443", 0, time.Millisecond) != "" {
			t.Fatal("let through")
		}
	}
}

// A client under load opens several connections at the same time, and closes those that it doesn't
// need. A client that pins certificates closes all of them.
func TestHangUpsBesideAnOpenConnectionAreNoDistrust(t *testing.T) {
	i := New(Config{})
	const endpoint = "example.test:443"
	for range maxFailures + 2 {
		i.bypass.opened(endpoint)
	}
	for range maxFailures + 1 {
		if i.Ended(endpoint, 0, time.Millisecond) != "" {
			t.Fatal("let through while a connection is open")
		}
	}
	if i.Ended(endpoint, 0, time.Millisecond) != "" {
		t.Error("let through for one that hung up alone")
	}
	i.bypass.opened(endpoint)
	if i.Ended(endpoint, 0, time.Millisecond) != Refused {
		t.Error("not let through, although all have hung up")
	}
}

// An upstream that is restarted during a handshake costs one recording. One that always fails is
// bypassed. The same holds for an upstream that sends an alert.
func TestAnUpstreamThatBreaksOffIsTriedAgain(t *testing.T) {
	ca, ours := authority(t, "ours")
	for name, c := range map[string]struct {
		broken  []bool // handshakes that upstream breaks off, in turn; those of the client itself included
		want    []Outcome
		noticed int // the connection that gives the occasion to say so
	}{
		"once":           {[]bool{true, true, false}, []Outcome{PassedUpstreamTLS, Intercepted}, -1},
		"now and then":   {[]bool{true, true, false, true, true, false}, []Outcome{PassedUpstreamTLS, Intercepted, PassedUpstreamTLS, Intercepted}, -1},
		"time and again": {[]bool{true, true, true, true, true}, []Outcome{PassedUpstreamTLS, PassedUpstreamTLS, PassedUpstreamTLS}, 1},
	} {
		for how, fail := range map[string]func(net.Conn) error{
			"without a word": net.Conn.Close,
			"with an alert":  func(net.Conn) error { return errors.New("which crypto/tls makes internal_error of") },
		} {
			t.Run(name+" "+how, func(t *testing.T) {
				var tried atomic.Int32
				up := startUpstream(t, func(cfg *tls.Config) {
					cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
						if c.broken[tried.Add(1)-1] {
							return nil, fail(hello.Conn)
						}
						return nil, nil
					}
				})
				i := New(Config{Authority: ca, Roots: up.roots})
				for n, want := range c.want {
					_, _, r := through(t, i, up, &tls.Config{ServerName: "example.test", RootCAs: ours})
					if r.Outcome != want || r.First != (n == c.noticed) {
						t.Errorf("connection %d: %s, first %v; want %s", n, r.Outcome, r.First, want)
					}
				}
				if n := int(tried.Load()); n != len(c.broken) {
					t.Errorf("%d handshakes with upstream, want %d", n, len(c.broken))
				}
			})
		}
	}
}

// The client may hold a certificate that only it can use.
func TestAnUpstreamThatAsksForACertificateIsLetThrough(t *testing.T) {
	ca, _ := authority(t, "ours")
	up := startUpstream(t, func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert })
	i := New(Config{Authority: ca, Roots: up.roots})
	answer, err, r := through(t, i, up, &tls.Config{ServerName: "example.test", RootCAs: up.ca})
	if r.Outcome != PassedClientCert || !r.First || answer != ":hello\n" {
		t.Errorf("%s, first %v, %q, %v", r.Outcome, r.First, answer, err)
	}
}

// A client certificate that comes late is used even for a host that was bypassed because it was
// missing.
func TestAClientCertificateMayComeLate(t *testing.T) {
	ca, ours := authority(t, "ours")
	clients, _ := authority(t, "clients")
	up := startUpstream(t, func(c *tls.Config) { c.ClientAuth = tls.RequestClientCert })
	var cert *tls.Certificate
	i := New(Config{Authority: ca, Roots: up.roots, Certificate: func() (*tls.Certificate, error) {
		if cert == nil {
			return nil, fs.ErrNotExist
		}
		return cert, nil
	}})
	if answer, err, r := through(t, i, up, &tls.Config{ServerName: "example.test", RootCAs: up.ca}); r.Outcome != PassedClientCert || answer != ":hello\n" {
		t.Errorf("without it: %s, %q, %v", r.Outcome, answer, err)
	}
	var err error
	if cert, err = clients.Leaf("client"); err != nil {
		t.Fatal(err)
	}
	if answer, err, r := through(t, i, up, &tls.Config{ServerName: "example.test", RootCAs: ours}); r.Outcome != Intercepted || answer != ":hello\n" {
		t.Errorf("with it: %s, %q, %v", r.Outcome, answer, err)
	}
}

func TestAGivenClientCertificateIsShown(t *testing.T) {
	ca, ours := authority(t, "ours")
	mutual, mutualPool := authority(t, "clients")
	cert, err := mutual.Leaf("client")
	if err != nil {
		t.Fatal(err)
	}
	var seen string
	up := startUpstream(t, func(c *tls.Config) {
		c.ClientAuth = tls.RequireAnyClientCert
		c.VerifyConnection = func(s tls.ConnectionState) error {
			seen = s.PeerCertificates[0].Subject.CommonName
			return nil
		}
		c.ClientCAs = mutualPool
	})
	i := New(Config{Authority: ca, Roots: up.roots, Certificate: func() (*tls.Certificate, error) { return cert, nil }})
	answer, err, r := through(t, i, up, &tls.Config{ServerName: "example.test", RootCAs: ours})
	if r.Outcome != Intercepted || answer != ":hello\n" || seen != "client" {
		t.Errorf("%s, %q, upstream saw %q, %v", r.Outcome, answer, seen, err)
	}
}

// still is a connection on which nothing more comes.
type still struct{ net.Conn }

func (still) Read([]byte) (int, error)        { return 0, io.EOF }
func (still) SetReadDeadline(time.Time) error { return nil }

// clientHello returns the first bytes that crypto/tls sends.
func clientHello(cfg *tls.Config) []byte {
	var w wire
	_ = tls.Client(&w, cfg).Handshake()
	return w.Bytes()
}

type wire struct {
	net.Conn
	bytes.Buffer
}

func (w *wire) Read([]byte) (int, error)    { return 0, io.EOF }
func (w *wire) Write(p []byte) (int, error) { return w.Buffer.Write(p) }
func (w *wire) Close() error                { return nil }

func TestPeekHello(t *testing.T) {
	sent := clientHello(&tls.Config{ServerName: "example.test", NextProtos: []string{"h2", "x"}, MinVersion: tls.VersionTLS12})
	c := pump.NewConn(still{}, sent)
	h, err := PeekHello(c, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if h.SNI != "example.test" || strings.Join(h.ALPN, " ") != "h2 x" || h.MinVersion != tls.VersionTLS12 || h.MaxVersion != tls.VersionTLS13 {
		t.Errorf("%+v", h)
	}
	if !bytes.Equal(c.Head(), sent) {
		t.Error("the message was not put back")
	}
	checkPolicy(t, h)

	// The message may come in many records, and may be long because of a session ticket.
	var split []byte
	for _, b := range sent[recordHeader:] {
		split = append(split, recordHandshake, 3, 1, 0, 1, b)
	}
	long := clientHello(&tls.Config{ServerName: "example.test", NextProtos: slices.Repeat([]string{strings.Repeat("x", 250)}, 250)})
	for name, sent := range map[string][]byte{"split": split, "long": long} {
		if h, err := PeekHello(pump.NewConn(still{}, sent), time.Minute); err != nil || h.SNI != "example.test" {
			t.Errorf("%s: %+v, %v", name, h, err)
		}
	}
	for _, other := range []string{"GET / HTTP/1.1\r\n", "\x16", "\x16\x03\x01\x00\x05hello", "\x16\x09\x00\x00\x00", ""} {
		c := pump.NewConn(still{}, []byte(other))
		if _, err := PeekHello(c, time.Minute); !errors.Is(err, ErrNotTLS) {
			t.Errorf("%q: %v", other, err)
		}
		if string(c.Head()) != other {
			t.Errorf("%q became %q", other, c.Head())
		}
	}
}

// checkPolicy checks that a server is offered nothing that the client does not offer, and nothing
// insecure.
func checkPolicy(t *testing.T, h *Hello) {
	p := h.policy()
	if p.MinVersion < minVersion || p.MinVersion < h.MinVersion || p.MaxVersion != h.MaxVersion || p.ServerName != h.SNI {
		t.Errorf("%+v from %+v", p, h)
	}
	for _, suite := range p.CipherSuites {
		if !slices.Contains(h.info.CipherSuites, suite) {
			t.Errorf("%s is not in %x", tls.CipherSuiteName(suite), h.info.CipherSuites)
		}
	}
	if p.CipherSuites == nil || h.MaxVersion < minVersion && h.Supports(&tls.Certificate{}) == nil {
		t.Errorf("%+v from %+v", p, h)
	}
}

func FuzzPeekHello(f *testing.F) {
	f.Add(clientHello(&tls.Config{ServerName: "example.test", NextProtos: []string{"h2"}}))
	f.Add(clientHello(&tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12}))
	f.Add([]byte("\x16\x03\x01\x00\x05hello"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c := pump.NewConn(still{}, bytes.Clone(in))
		h, err := PeekHello(c, time.Minute)
		if err == nil {
			checkPolicy(t, h)
		}
		if err != nil && !errors.Is(err, ErrNotTLS) {
			t.Errorf("error %v", err)
		}
		if !bytes.Equal(c.Head(), in) {
			t.Error("what was read was not put back")
		}
	})
}
