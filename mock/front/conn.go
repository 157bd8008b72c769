package front

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
)

// Via is the way in which a client connected, as in the recording's tag `via`.
type Via string

// Ways to connect.
const (
	Direct  Via = "tcp"     // the client was configured with the Front's address as the server's
	Mapped  Via = "map"     // through the port of a Map
	Connect Via = "connect" // through a tunnel that CONNECT opened
	SOCKS4  Via = "socks4"
	SOCKS5  Via = "socks5"
)

// Origin says which server a connection is for, and how it arrived.
type Origin struct {
	Via Via
	// Host and Port are the server that the client asked for before it sent anything inside
	// the connection. A direct connection has none.
	Host string
	Port int
	// TLS reports whether the connection used TLS, which ends here. SNI is the server name that the
	// client asked for, and ALPN is the negotiated protocol.
	TLS       bool
	SNI, ALPN string
	// Client is the address of the client. ID is the number of its connection, from 1.
	Client netip.AddrPort
	ID     uint64
	// Accepted is when the connection was accepted.
	Accepted time.Time
}

// Address returns the host and port that the client asked for, or "" if it asked for none.
func (o *Origin) Address() string {
	if o.Host == "" {
		return ""
	}
	return net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
}

// Conn is a client's connection, with TLS removed.
type Conn struct {
	*pump.Conn
	Origin
	front    *Front
	accepted *pump.Conn // the connection as it was accepted
}

// Close closes the connection.
func (c *Conn) Close() error {
	c.front.drop(c.accepted)
	return c.Conn.Close()
}

// Abort closes the connection with a reset.
func (c *Conn) Abort() {
	c.front.drop(c.accepted)
	c.Conn.Abort()
}

// within returns the same connection with inner as the source of its bytes.
func (c *Conn) within(inner *pump.Conn) *Conn {
	return &Conn{Conn: inner, Origin: c.Origin, front: c.front, accepted: c.accepted}
}

type connKey struct{}

// ConnOf returns the connection that a request arrived on, or nil if no Front accepted it.
func ConnOf(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}

func withConn(ctx context.Context, c *Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}
