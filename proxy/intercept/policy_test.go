package intercept

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

// overheard records the offers that an upstream gets.
type overheard struct {
	mu    sync.Mutex
	hello *tls.ClientHelloInfo
}

func (o *overheard) listen(cfg *tls.Config) {
	cfg.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		o.mu.Lock()
		defer o.mu.Unlock()
		o.hello = hello
		return nil, nil
	}
}

func (o *overheard) offer() *tls.ClientHelloInfo {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.hello
}

// The lowest version of the upstream handshake is TLS 1.2 or the client's lowest version,
// whichever is higher. If that doesn't work, the client and its upstream negotiate without the
// sidecar.
func TestTheFloorOfTheUpstreamHandshake(t *testing.T) {
	ca, ours := authority(t, "ours")
	const v10, v11, v12, v13 = tls.VersionTLS10, tls.VersionTLS11, tls.VersionTLS12, tls.VersionTLS13
	for _, c := range []struct {
		name                 string
		clientMin, clientMax uint16
		serverMin, serverMax uint16
		want                 Outcome
		version              uint16 // between the client and whoever answers it; 0: none
		offered              []uint16
	}{
		{"both offer all", v10, v13, v10, v13, Intercepted, v13, []uint16{v13, v12}},
		{"a client from 1.0 on, an upstream up to 1.2", v10, v13, v10, v12, Intercepted, v13, []uint16{v13, v12}},
		{"a client up to 1.2", v10, v12, v10, v13, Intercepted, v12, []uint16{v12}},
		{"a client of 1.3 alone", v13, v13, v10, v13, Intercepted, v13, []uint16{v13}},
		{"a client of 1.3 alone, an upstream up to 1.2", v13, v13, v10, v12, PassedUpstreamTLS, 0, []uint16{v13}},
		{"a client from 1.0 on, an upstream up to 1.1", v10, v13, v10, v11, PassedUpstreamTLS, v11, []uint16{v13, v12, v11, v10}},
		{"a client of 1.0 alone", v10, v10, v10, v13, PassedClientTLS, v10, []uint16{v10}},
		{"a client up to 1.1, an upstream from 1.2 on", v10, v11, v12, v13, PassedClientTLS, 0, []uint16{v11, v10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			heard := &overheard{}
			up := startUpstream(t, func(cfg *tls.Config) {
				cfg.MinVersion, cfg.MaxVersion = c.serverMin, c.serverMax
				heard.listen(cfg)
			})
			i := New(Config{Authority: ca, Roots: up.roots})
			roots := ours
			if c.want != Intercepted {
				roots = up.ca
			}
			var version uint16
			_, err, r := through(t, i, up, &tls.Config{
				ServerName: "example.test", RootCAs: roots, MinVersion: c.clientMin, MaxVersion: c.clientMax,
				VerifyConnection: func(s tls.ConnectionState) error { version = s.Version; return nil },
			})
			if r.Outcome != c.want || version != c.version || (err == nil) != (c.version != 0) {
				t.Errorf("%s with %s (%v, %v), want %s with %s", r.Outcome, tls.VersionName(version), r.Err, err, c.want, tls.VersionName(c.version))
			}
			if got := heard.offer().SupportedVersions; !slices.Equal(got, c.offered) {
				t.Errorf("upstream was offered %x, want %x", got, c.offered)
			}
		})
	}
}

// Only a client that is too old, or offers nothing that the sidecar supports, is bypassed. Others
// are intercepted as before.
func TestAClientThatCannotBeAnsweredIsLetThrough(t *testing.T) {
	ca, ours := authority(t, "ours")
	up := startUpstream(t, func(cfg *tls.Config) { cfg.MinVersion = tls.VersionTLS10 })
	i := New(Config{Authority: ca, Roots: up.roots})
	hello := clientHello(&tls.Config{ServerName: "example.test", MinVersion: tls.VersionTLS13, CurvePreferences: []tls.CurveID{tls.CurveP256}})
	replaced := func(old, new string) []byte {
		if bytes.Count(hello, []byte(old)) != 1 {
			t.Fatalf("%x is not in the message once", old)
		}
		return bytes.Replace(hello, []byte(old), []byte(new), 1)
	}
	for name, sent := range map[string][]byte{
		"TLS 1.1":                clientHello(&tls.Config{ServerName: "example.test", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}),
		"versions of the future": replaced("\x00\x2b\x00\x03\x02\x03\x04", "\x00\x2b\x00\x03\x02\x03\x05"),
		"GREASE for a version":   replaced("\x00\x2b\x00\x03\x02\x03\x04", "\x00\x2b\x00\x03\x02\x7a\x7a"),
		"a group nobody knows":   replaced("\x00\x0a\x00\x04\x00\x02\x00\x17", "\x00\x0a\x00\x04\x00\x02\x01\x00"), // ffdhe2048
	} {
		t.Run(name, func(t *testing.T) {
			for range maxFailures + 1 {
				r := serve(t, i, up, func(addr string) {
					c, err := net.Dial("tcp", addr)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					c.Write(sent)
					c.(*net.TCPConn).CloseWrite()
					io.Copy(io.Discard, c)
				})
				if r.Outcome != PassedClientTLS {
					t.Errorf("%s: %v", r.Outcome, r.Err)
				}
			}
		})
	}
	if answer, err, r := through(t, i, up, &tls.Config{ServerName: "example.test", RootCAs: ours}); r.Outcome != Intercepted {
		t.Errorf("another client: %s, %q, %v", r.Outcome, answer, err)
	}
}

// A client that insists on something that its upstream does not support doesn't keep the sidecar
// from intercepting others.
func TestAStrictClientDoesNotSpeakForOthers(t *testing.T) {
	ca, ours := authority(t, "ours")
	up := startUpstream(t, func(cfg *tls.Config) { cfg.MaxVersion = tls.VersionTLS12 })
	i := New(Config{Authority: ca, Roots: up.roots})
	for n := range maxFailures + 1 {
		_, err, r := through(t, i, up, &tls.Config{ServerName: "example.test", RootCAs: up.ca, MinVersion: tls.VersionTLS13})
		if r.Outcome != PassedUpstreamTLS || err == nil || r.First != (n == 0) {
			t.Errorf("%s, first %v, the client saw %v", r.Outcome, r.First, err)
		}
	}
	if answer, err, r := through(t, i, up, &tls.Config{ServerName: "example.test", RootCAs: ours}); r.Outcome != Intercepted {
		t.Errorf("another client: %s, %q, %v", r.Outcome, answer, err)
	}
}

// Upstream is offered no cipher suite and no group that the client does not offer.
func TestCipherSuitesAndGroupsAreTheClients(t *testing.T) {
	ca, ours := authority(t, "ours")
	heard := &overheard{}
	up := startUpstream(t, heard.listen)
	i := New(Config{Authority: ca, Roots: up.roots})
	const suite = tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384
	answer, err, r := through(t, i, up, &tls.Config{
		ServerName: "example.test", RootCAs: ours, MaxVersion: tls.VersionTLS12,
		CipherSuites: []uint16{suite, tls.TLS_RSA_WITH_AES_128_CBC_SHA}, CurvePreferences: []tls.CurveID{tls.CurveP384, tls.CurveP256},
	})
	if r.Outcome != Intercepted || answer != ":hello\n" {
		t.Fatalf("%s, %q, %v, %v", r.Outcome, answer, err, r.Err)
	}
	offer := heard.offer()
	if !slices.Equal(offer.CipherSuites, []uint16{suite}) {
		t.Errorf("cipher suites %x", offer.CipherSuites)
	}
	if slices.Sort(offer.SupportedCurves); !slices.Equal(offer.SupportedCurves, []tls.CurveID{tls.CurveP256, tls.CurveP384}) {
		t.Errorf("groups %v", offer.SupportedCurves)
	}
}

// crypto/tls offers all cipher suites of TLS 1.3; OpenSSL's client need not. If a server chooses a
// suite that the client does not offer, it is left to the client, which gets a suite that it
// wants.
func TestACipherSuiteThatTheClientDoesNotOffer(t *testing.T) {
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not installed")
	}
	ca, _ := authority(t, "ours")
	up := startUpstream(t, nil) // prefers others
	for suite, want := range map[string]Outcome{
		"TLS_AES_256_GCM_SHA384": PassedUpstreamTLS,
		"TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256": Intercepted,
		"TLS_AES_128_CCM_SHA256": PassedClientTLS,
	} {
		t.Run(suite, func(t *testing.T) {
			i := New(Config{Authority: ca, Roots: up.roots})
			var out []byte
			r := serve(t, i, up, func(addr string) {
				cmd := exec.CommandContext(t.Context(), "openssl", "s_client", "-connect", addr, "-servername", "example.test", "-tls1_3", "-ciphersuites", suite)
				cmd.Stdin = strings.NewReader("hello\n")
				out, _ = cmd.CombinedOutput()
			})
			if r.Outcome != want {
				t.Errorf("%s (%v), want %s", r.Outcome, r.Err, want)
			}
			if want == PassedUpstreamTLS && !strings.Contains(string(out), "Cipher is "+suite) {
				t.Errorf("the client got %s", out)
			}
		})
	}
}
