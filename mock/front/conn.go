package front

import (
	"context"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/tapedeck/tapedeck/proxy/pump"
)

// Via says how a client got here, in the words of the recording's tag `via`.
type Via string

// The ways.
const (
	Direct  Via = "tcp"     // it was told that the responder is the server
	Mapped  Via = "map"     // through the port of a Map
	Connect Via = "connect" // through a tunnel that HTTP opened
	SOCKS4  Via = "socks4"
	SOCKS5  Via = "socks5"
)

// Origin is whom a connection is to, and how it came.
type Origin struct {
	Via Via
	// Host and Port are what the client asked for, before it said anything inside
	// of the connection. A direct connection has none.
	Host string
	Port int
	// TLS: it was spoken, and has ended here. SNI and ALPN are what the client asked
	// for and what was agreed.
	TLS       bool
	SNI, ALPN string
	// Client is the address of the client, ID the number of its connection, from 1.
	Client netip.AddrPort
	ID     uint64
	// Accepted is when the connection was accepted.
	Accepted time.Time
}

// Address is the host and the port that the client asked for, "" if it asked for none.
func (o *Origin) Address() string {
	if o.Host == "" {
		return ""
	}
	return net.JoinHostPort(o.Host, strconv.Itoa(o.Port))
}

// Conn is a client's connection, in the clear.
type Conn struct {
	*pump.Conn
	Origin
	front    *Front
	accepted *pump.Conn // which Conn is, or is TLS within
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

// within returns the same connection, whose bytes come from inner now.
func (c *Conn) within(inner *pump.Conn) *Conn {
	return &Conn{Conn: inner, Origin: c.Origin, front: c.front, accepted: c.accepted}
}

type connKey struct{}

// ConnOf returns the connection on which a request came, nil if it came on none of a
// Front's.
func ConnOf(ctx context.Context) *Conn {
	c, _ := ctx.Value(connKey{}).(*Conn)
	return c
}

func withConn(ctx context.Context, c *Conn) context.Context {
	return context.WithValue(ctx, connKey{}, c)
}
