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

// Hello is what a client said in its first TLS message.
type Hello struct {
	// SNI is the name that the client asks for, "" if it named none.
	SNI string
	// ALPN is the client's offer, in its order of preference.
	ALPN []string
	// MinVersion and MaxVersion are the lowest and the highest version of TLS that
	// it offers; 0 if it offers none that is known.
	MinVersion, MaxVersion uint16

	info *tls.ClientHelloInfo
}

// Supports returns why a connection of this client can't be taken apart with a
// certificate, nil if it can.
func (h *Hello) Supports(c *tls.Certificate) error {
	switch {
	case h.MaxVersion < minVersion:
		return fmt.Errorf("the client offers TLS up to %s, and the sidecar speaks %s and later",
			tls.VersionName(h.MaxVersion), tls.VersionName(minVersion))
	case len(h.suites()) == 0:
		return errors.New("the client offers no cipher suite that the sidecar speaks")
	case len(h.info.SupportedCurves) > 0 && !slices.ContainsFunc(groups[:], func(g tls.CurveID) bool { return slices.Contains(h.info.SupportedCurves, g) }):
		return errors.New("the client offers no group for the key exchange that the sidecar speaks")
	}
	info := *h.info
	info.ServerName = "" // whether the name is good is the client's to judge
	return info.SupportsCertificate(c)
}

// strict reports whether the client offers fewer versions than the sidecar would,
// which may be why a server does not come to terms with it.
func (h *Hello) strict() bool {
	return h.MinVersion > minVersion || h.MaxVersion < tls.VersionTLS13
}

// groups are those for the key exchange that crypto/tls speaks by itself, with
// or without a post-quantum partner.
var groups = [...]tls.CurveID{tls.X25519, tls.CurveP256, tls.CurveP384, tls.CurveP521, tls.X25519MLKEM768}

// suites returns which of the cipher suites that the client offers are known
// here and good. It is never nil, which crypto/tls would take for its own choice.
func (h *Hello) suites() []uint16 {
	common := []uint16{}
	for _, suite := range tls.CipherSuites() {
		if slices.Contains(h.info.CipherSuites, suite.ID) {
			common = append(common, suite.ID)
		}
	}
	return common
}

// policy returns how to speak TLS to a server on the client's behalf: with its
// SNI, its ALPN, its versions, and of its cipher suites and groups those that are
// known here and good. The caller adds how the server is verified.
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
		// The name that is verified may differ from the SNI, which may be none.
		InsecureSkipVerify: true,
	}
}

// permits returns why what was agreed with a server is nothing that the client
// offered, nil if it is: crypto/tls can't be told which cipher suites of TLS 1.3
// to offer.
func (h *Hello) permits(state tls.ConnectionState) error {
	if !slices.Contains(h.info.CipherSuites, state.CipherSuite) {
		return fmt.Errorf("the server chose %s, which the client does not offer", tls.CipherSuiteName(state.CipherSuite))
	}
	return nil
}

const (
	recordHeader    = 5
	recordHandshake = 22
	// maxHello bounds a ClientHello; crypto/tls accepts handshake messages of
	// 64 KiB, in records of their own.
	maxHello = 72 << 10
)

// ErrNotTLS says that a connection does not begin with a ClientHello.
var ErrNotTLS = errors.New("not TLS")

// LooksLikeTLS reports whether bytes that were read so far may be the beginning
// of a TLS handshake record.
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

// PeekHello reads a ClientHello and puts it back, so that whoever reads c next
// gets it again. Whatever the client sent instead is put back too, and the error
// wraps ErrNotTLS. It waits no longer than timeout.
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

// parseHello lets crypto/tls read the message, and stops it before it answers.
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

// replay reads from a connection without using up what it reads, and writes
// nowhere.
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
