package front

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
	"golang.org/x/net/http2"

	"github.com/tapedeck/tapedeck/proxy/plainhttp"
)

// serveHTTP answers requests, and opens tunnels and upgrades.
func (f *Front) serveHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodConnect && r.ProtoMajor == 1:
		f.connect(w, r)
	case r.ProtoMajor == 1 && httpguts.HeaderValuesContainsToken(r.Header["Upgrade"], "h2c") &&
		httpguts.HeaderValuesContainsToken(r.Header["Connection"], "HTTP2-Settings"):
		f.upgrade(w, r)
	default:
		f.cfg.HTTP.ServeHTTP(w, r)
	}
}

// take takes over the connection from net/http's server.
func take(w http.ResponseWriter) (*Conn, error) {
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	c := nc.(*Conn)
	c.Resume()
	rest, _ := rw.Reader.Peek(rw.Reader.Buffered())
	c.Unread(rest)
	return c, nil
}

// connect opens a CONNECT tunnel that ends here.
func (f *Front) connect(w http.ResponseWriter, r *http.Request) {
	to, err := plainhttp.ParseConnect(r.RequestURI)
	if err != nil {
		w.Header().Set("Connection", "close")
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	outer := ConnOf(r.Context())
	c, err := take(w)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	inner := c.within(c.Conn)
	inner.Via, inner.Host, inner.Port = Connect, to.Host, to.Port
	inner.TLS, inner.SNI, inner.ALPN = false, "", "" // so far they describe the connection to the proxy
	if !f.admitted(inner) {
		_ = plainhttp.Refuse(c.Conn, http.StatusBadGateway, errors.New("the connection is refused"))
		_ = c.Close()
		return
	}
	if plainhttp.Established(c.Conn) != nil {
		_ = c.Close()
		return
	}
	depth := 1
	if outer.Via == Connect { // a tunnel within a tunnel
		depth = maxDepth
	}
	f.look(r.Context(), inner, Any, depth)
}

// maxUpgradeBody bounds the body of a request that upgrades to HTTP/2. The body is read before
// the upgrade.
const maxUpgradeBody = 1 << 20

// upgrade upgrades a connection from HTTP/1 to HTTP/2 (RFC 7540 section 3.2). net/http
// handles HTTP/2 with prior knowledge.
func (f *Front) upgrade(w http.ResponseWriter, r *http.Request) {
	settings, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(r.Header.Get("Http2-Settings"), "="))
	if err != nil || len(r.Header["Http2-Settings"]) != 1 {
		http.Error(w, "HTTP2-Settings must be one value in base64url", http.StatusBadRequest)
		return
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxUpgradeBody+1))
	if err != nil {
		return
	}
	if len(body) > maxUpgradeBody { // serve it over HTTP/1: a server may ignore the offer
		r.Body = io.NopCloser(io.MultiReader(bytes.NewReader(body), r.Body))
		f.cfg.HTTP.ServeHTTP(w, r)
		return
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	c, err := take(w)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if _, err := io.WriteString(c.Conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"); err != nil {
		_ = c.Close()
		return
	}
	r.Header.Del("Http2-Settings")
	r.Header.Del("Upgrade")
	r.Header.Del("Connection")
	new(http2.Server).ServeConn(c, &http2.ServeConnOpts{
		Context:        withConn(r.Context(), c),
		Handler:        f.cfg.HTTP,
		UpgradeRequest: r,
		Settings:       settings,
	})
	_ = c.Close()
}
