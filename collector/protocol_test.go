package collector_test

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
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/recording/store"
)

func TestEveryProtocol(t *testing.T) {
	pool, certFile, keyFile := certificate(t)
	tlsPort := func(o *collector.Options, p *collector.Ports) {
		var err error
		if p.TLS, err = collector.Certificate(certFile, keyFile, o.Log); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		protocols func(*http.Protocols)
		change    []func(*collector.Options, *collector.Ports)
		want      string
	}{
		"HTTP/1.1":          {func(p *http.Protocols) { p.SetHTTP1(true) }, nil, "HTTP/1.1"},
		"h2 in clear":       {func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }, nil, "HTTP/2.0"},
		"HTTP/1.1 with TLS": {func(p *http.Protocols) { p.SetHTTP1(true) }, []func(*collector.Options, *collector.Ports){tlsPort}, "HTTP/1.1"},
		"h2 with TLS":       {func(p *http.Protocols) { p.SetHTTP2(true) }, []func(*collector.Options, *collector.Ports){tlsPort}, "HTTP/2.0"},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, c.change...)
			var protocols http.Protocols
			c.protocols(&protocols)
			transport := &http.Transport{Protocols: &protocols, TLSClientConfig: &tls.Config{RootCAs: pool}}
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			u := segment(t, lines(exchange(1, body(3<<20)), counters()))
			for _, want := range []int{http.StatusCreated, http.StatusOK} {
				resp, err := client.Do(u.request(t.Context(), r.write))
				if err != nil {
					t.Fatal(err)
				}
				resp.Body.Close()
				if resp.StatusCode != want || resp.Proto != c.want {
					t.Errorf("%s %s, want %s %d", resp.Proto, resp.Status, c.want, want)
				}
			}
			u.token = contract.CollectorToken(key, "c1", "bank")
			if a, err := r.try(u, client); err != nil || a.code != contract.RefusedNamespace {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

// certificate makes one of 127.0.0.1, in files.
func certificate(t *testing.T) (pool *x509.CertPool, certFile, keyFile string) {
	t.Helper()
	cert, private, err := ca.Generate("test", time.Now().Add(-time.Hour), 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(cert, private)
	if err != nil {
		t.Fatal(err)
	}
	authority, err := ca.New(pair)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := authority.Leaf("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writeCertificate(t, certFile, keyFile, leaf)
	pool = x509.NewCertPool()
	pool.AddCert(authority.Certificate())
	return pool, certFile, keyFile
}

func writeCertificate(t *testing.T, certFile, keyFile string, c *tls.Certificate) {
	t.Helper()
	private, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	var chain []byte
	for _, one := range c.Certificate {
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: one})...)
	}
	for name, text := range map[string][]byte{certFile: chain, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// A client that expects 100-continue doesn't send a body that the collector would refuse.
func TestARefusedBodyIsNotAskedFor(t *testing.T) {
	r := start(t)
	u := segment(t, exchange(1))
	u.token = contract.CollectorToken(key, "c1", "bank")
	conn := dial(t, r.write)
	req := u.request(t.Context(), r.write)
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: %d\r\n", req.URL.Path, len(u.body))
	_ = req.Header.Write(conn)
	fmt.Fprint(conn, "\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || !resp.Close {
		t.Errorf("got %s, and the connection is to be closed: %t", resp.Status, resp.Close)
	}
}

// A connection is used again after a refusal only if nothing of the body is left on it.
func TestAfterARefusal(t *testing.T) {
	r := start(t)
	wrong, good := segment(t, exchange(1, body(2<<20))), segment(t, exchange(1))
	wrong.token = contract.CollectorToken(key, "c1", "bank")
	for range 50 {
		if a := r.send(t, wrong); a.code != contract.RefusedNamespace {
			t.Errorf("%+v", a)
		}
		if a := r.send(t, good); a.code != "" {
			t.Errorf("%+v", a)
		}
	}
}

func TestABodyThatEndsEarly(t *testing.T) {
	r := start(t)
	u := segment(t, lines(exchange(1), counters()))
	conn := dial(t, r.write)
	req := u.request(t.Context(), r.write)
	fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", req.URL.Path, len(u.body))
	_ = req.Header.Write(conn)
	fmt.Fprint(conn, "\r\n")
	_, _ = conn.Write(u.body[:len(u.body)-1])
	_ = conn.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(conn), req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusBadRequest || !strings.Contains(string(text), contract.RefusedIncomplete) {
		t.Errorf("got %s %s", resp.Status, text)
	}
	if keys := r.keys(t); len(keys) != 0 {
		t.Errorf("stored: %q", keys)
	}
}

func dial(t *testing.T, url string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// pipes is a listener of connections in memory, which work with the fake clock of a test.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	select {
	case <-p.done:
	default:
		close(p.done)
	}
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p *pipes) dial() net.Conn {
	client, server := net.Pipe()
	p.conns <- server
	return client
}

// A slow upload is refused as slow, and makes room for others.
func TestASlowBodyIsRefused(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	u := segment(t, lines(exchange(1), counters()))
	synctest.Test(t, func(t *testing.T) {
		c, err := collector.New(collector.Options{Store: store.Dir(dir), TempDir: temp, TempBytes: int64(2 * len(u.body)), Keys: func() [][]byte { return [][]byte{key} }})
		if err != nil {
			t.Fatal(err)
		}
		l := &pipes{make(chan net.Conn), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Serve(ctx, collector.Ports{Write: l}) }()
		send := func() (net.Conn, *http.Request) {
			conn := l.dial()
			req := u.request(ctx, "http://x")
			fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n", req.URL.Path, len(u.body))
			_ = req.Header.Write(conn)
			fmt.Fprint(conn, "\r\n")
			return conn, req
		}
		answer := func(conn net.Conn, req *http.Request, want int, code string) {
			t.Helper()
			resp, err := http.ReadResponse(bufio.NewReader(conn), req)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if resp.StatusCode != want || !strings.Contains(string(text), code) {
				t.Errorf("got %s %s, want %d", resp.Status, text, want)
			}
			if code == contract.RefusedBusy && resp.Header.Get("Retry-After") == "" {
				t.Error("busy, and no word of when to come again")
			}
			conn.Close()
		}
		began := time.Now()
		slow, slowReq := send()
		_, _ = slow.Write(u.body[:10])
		synctest.Wait()
		// The namespace has no room for another upload.
		busy, busyReq := send()
		answer(busy, busyReq, http.StatusServiceUnavailable, contract.RefusedBusy)
		if took := time.Since(began); took != collector.DefaultWait {
			t.Errorf("the other one waited for %s", took)
		}
		answer(slow, slowReq, http.StatusBadRequest, "bytes a second")
		if took := time.Since(began); took < 10*time.Second || took > 11*time.Second {
			t.Errorf("the slow one was refused after %s", took)
		}
		good, goodReq := send()
		_, _ = good.Write(u.body)
		answer(good, goodReq, http.StatusCreated, "")
		// A head that never ends.
		idle := l.dial()
		fmt.Fprint(idle, "PUT / HTTP/1.1\r\n")
		if _, err := io.ReadAll(idle); err != nil {
			t.Error(err)
		}
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
