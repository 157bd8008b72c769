package intercept

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
)

// Hello holds a client's first TLS message.
type Hello struct {
	// SNI is the name that the client asks for; "" if there is none.
	SNI string
	// ALPN lists the protocols that the client offers, in its order of preference.
	ALPN []string
	// MinVersion and MaxVersion are the lowest and the highest known version of TLS that the
	// client offers; 0 if it offers none.
	MinVersion, MaxVersion uint16

	info *tls.ClientHelloInfo
}

// Supports returns an error if a connection of this client can't be intercepted with a
// certificate.
func (h *Hello) Supports(c *tls.Certificate) error {
	switch {
	case h.MaxVersion < minVersion:
		return fmt.Errorf("the client offers TLS up to %s, but the sidecar speaks %s and later",
			tls.VersionName(h.MaxVersion), tls.VersionName(minVersion))
	case len(h.suites()) == 0:
		return errors.New("the client offers no cipher suite that the sidecar supports")
	case len(h.info.SupportedCurves) > 0 && !slices.ContainsFunc(groups[:], func(g tls.CurveID) bool { return slices.Contains(h.info.SupportedCurves, g) }):
		return errors.New("the client offers no key exchange group that the sidecar supports")
	}
	info := *h.info
	info.ServerName = "" // the client checks the name itself
	return info.SupportsCertificate(c)
}

// strict reports whether the client offers fewer versions than the sidecar would. That may be
// the reason why a handshake with a server fails.
func (h *Hello) strict() bool {
	return h.MinVersion > minVersion || h.MaxVersion < tls.VersionTLS13
}

// groups lists the groups for the key exchange that crypto/tls supports by default, including
// the post-quantum one.
var groups = [...]tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519MLKEM768}

// suites returns the cipher suites of the client that crypto/tls supports and that are secure.
// It never returns nil, because crypto/tls would then use its own list.
func (h *Hello) suites() []uint16 {
	common := []uint16{}
	for _, suite := range tls.CipherSuites() {
		if slices.Contains(h.info.CipherSuites, suite.ID) {
			common = append(common, suite.ID)
		}
	}
	return common
}

// policy returns the configuration for a server on the client's behalf: with the client's SNI,
// ALPN and versions, and with those of its cipher suites and groups that crypto/tls supports.
// The caller adds how to verify the server.
func (h *Hello) policy() *tls.Config {
	return &tls.Config{
		ServerName:       h.SNI,
		NextProtos:       h.ALPN,
		MinVersion:       max(h.MinVersion, minVersion),
		MaxVersion:       h.MaxVersion,
		CipherSuites:     h.suites(),
		CurvePreferences: h.info.SupportedCurves,
		// Some servers ask for a client certificate in the middle of a connection.
		Renegotiation: tls.RenegotiateFreelyAsClient,
		// The name that is verified may differ from the SNI, and there may be no SNI.
		InsecureSkipVerify: true,
	}
}

// permits returns an error if a server chose a cipher suite that the client does not offer.
// The check is needed because the cipher suites of TLS 1.3 can't be configured in crypto/tls.
func (h *Hello) permits(state tls.ConnectionState) error {
	if !slices.Contains(h.info.CipherSuites, state.CipherSuite) {
		return fmt.Errorf("the server chose %s, which the client does not offer", tls.CipherSuiteName(state.CipherSuite))
	}
	return nil
}

const (
	recordHeader    = 5
	recordHandshake = 22
	// maxHello bounds a ClientHello. crypto/tls accepts handshake messages of 64 KiB, and
	// their records have headers.
	maxHello = 72 << 10
)

// ErrNotTLS is the error for a connection that does not begin with a ClientHello.
var ErrNotTLS = errors.New("not TLS")

// LooksLikeTLS reports whether the bytes that were read so far may begin a TLS handshake record.
func LooksLikeTLS(p []byte) bool {
	want := [...]func(byte) bool{
		func(b byte) bool { return b == recordHandshake },
		func(b byte) bool { return b == 3 },
		func(b byte) bool { return b <= 4 },
		func(b byte) bool { return b <= 0x48 }, // a record is at most 2^14 + 2048 bytes
	}
	for i, b := range p[:min(len(p), len(want))] {
		if !want[i](b) {
			return false
		}
	}
	return len(p) > 0
}

// PeekHello reads a ClientHello and puts it back, so that the next read of c gets it again. If
// the client sent something else, PeekHello puts that back, too, and the error wraps ErrNotTLS.
// It waits for at most timeout.
func PeekHello(c *pump.Conn, timeout time.Duration) (*Hello, error) {
	_ = c.SetReadDeadline(time.Now().Add(timeout))
	defer c.Resume()
	for head := c.Head(); len(head) < recordHeader; {
		if len(head) > 0 && !LooksLikeTLS(head) {
			return nil, ErrNotTLS
		}
		var err error
		if head, err = c.Fill(maxHello); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotTLS, err)
		}
	}
	if !LooksLikeTLS(c.Head()) {
		return nil, ErrNotTLS
	}
	return parseHello(&replay{conn: c})
}

var errSeen = errors.New("seen")

// parseHello lets crypto/tls parse the message, and stops it before it answers.
func parseHello(r net.Conn) (*Hello, error) {
	var hello *Hello
	err := tls.Server(r, &tls.Config{
		GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
			hello = &Hello{SNI: info.ServerName, ALPN: info.SupportedProtos, info: info}
			for _, v := range info.SupportedVersions {
				if v < tls.VersionTLS10 || v > tls.VersionTLS13 {
					continue // GREASE, SSL 3
				}
				if hello.MinVersion == 0 || v < hello.MinVersion {
					hello.MinVersion = v
				}
				hello.MaxVersion = max(hello.MaxVersion, v)
			}
			return nil, errSeen
		},
	}).Handshake()
	if hello == nil {
		return nil, fmt.Errorf("%w: %w", ErrNotTLS, err)
	}
	return hello, nil
}

// replay reads from a connection without consuming the bytes, and discards writes.
type replay struct {
	net.Conn // nil: nothing else is called
	conn     *pump.Conn
	at       int
}

func (r *replay) Read(p []byte) (int, error) {
	if r.at == len(r.conn.Head()) {
		if _, err := r.conn.Fill(maxHello); err != nil {
			return 0, err
		}
	}
	n := copy(p, r.conn.Head()[r.at:])
	r.at += n
	return n, nil
}

func (r *replay) Write(p []byte) (int, error)      { return len(p), nil }
func (r *replay) Close() error                     { return nil }
func (r *replay) SetDeadline(time.Time) error      { return nil }
func (r *replay) SetReadDeadline(time.Time) error  { return nil }
func (r *replay) SetWriteDeadline(time.Time) error { return nil }
