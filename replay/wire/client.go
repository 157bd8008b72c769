package wire

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/net/http2"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/recording"
)

// Options say where requests are sent, and how.
type Options struct {
	// Target has the scheme, host and port of the target. Path, query and user must be empty.
	// The scheme is one of
	//
	//   - http: a request that was recorded as HTTP/1 is sent as HTTP/1. A request that was recorded
	//     as HTTP/2 is sent as HTTP/2 without TLS (h2c, by prior knowledge), or as HTTP/1.1 once
	//     the target has answered in HTTP/1. gRPC is always sent as HTTP/2.
	//   - https: requests are sent with TLS. ALPN offers the recorded version, and HTTP/1.1 as
	//     an alternative to HTTP/2 except for gRPC.
	//   - h2c: all requests except WebSocket are sent as HTTP/2 without TLS.
	//   - grpc, grpcs: like h2c, but grpcs uses TLS.
	Target *url.URL
	// RewriteHost sends the target's host and port as Host and :authority, instead of the recorded
	// host.
	RewriteHost bool
	// TLS has the roots, the server name and the client's certificate; nil means the default
	// configuration. Without a ServerName, the target's host is used. NextProtos is ignored.
	TLS *tls.Config
	// Timeout ends a request if no byte is sent or received for this long. Recorded pauses within an
	// answer or a conversation are added. The default is 30 seconds.
	Timeout time.Duration
	// MaxTime is how much longer than in the recording a request may take. The default is 5 minutes.
	MaxTime time.Duration
	// MaxBody bounds the bytes of an answer's body, or of a conversation's messages, that are
	// kept. The rest is read, counted and discarded. The default is 16 MiB.
	MaxBody int64
	// MaxConns bounds the HTTP/1 connections, including idle ones. Send waits for a free one. The
	// default is 10,000.
	MaxConns int
	// Run is the ID of the replay. Each request sends it in the header contract.HeaderReplay. If
	// empty, requests don't have the header.
	Run string
	// Pace is the speed of the client's messages in conversations: 1 as recorded, 2 twice as
	// fast, 0 without pauses.
	Pace float64
	// Dial, if set, opens connections instead of a net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

var schemes = []string{"http", "https", "h2c", "grpc", "grpcs"}

// Defaults of Options.
const (
	DefaultTimeout  = 30 * time.Second
	DefaultMaxTime  = 5 * time.Minute
	DefaultMaxBody  = 16 << 20
	DefaultMaxConns = 10_000
)

// Client sends requests to one target. It is safe for concurrent use.
type Client struct {
	o        Options
	address  string // host:port to connect to
	host     string // value of Host
	secure   bool
	http2    bool        // always send HTTP/2, whatever was recorded
	http1    atomic.Bool // the target speaks only HTTP/1
	tls1     *tls.Config
	tls2     *tls.Config
	tls2or1  *tls.Config
	run      []string // values of contract.HeaderReplay
	runField []byte   // the header line for run
	pool     pool
	h2       *http2.Transport
	streams  connSet // connections of h2
	blank    *http.Request
}

// New returns a client. It connects when the first request is sent.
func New(o Options) (*Client, error) {
	t := o.Target
	switch {
	case t == nil:
		return nil, fmt.Errorf("no target given; want a URL such as http://localhost:8080")
	case !slices.Contains(schemes, t.Scheme):
		return nil, fmt.Errorf("target %s: unknown scheme %q; want one of %v", t.Redacted(), t.Scheme, schemes)
	case t.Hostname() == "":
		return nil, fmt.Errorf("target %s: no host given; want a URL such as http://localhost:8080", t.Redacted())
	case t.Path != "" && t.Path != "/" || t.RawQuery != "" || t.Fragment != "" || t.User != nil || t.Opaque != "":
		return nil, fmt.Errorf("target %s: want a scheme, a host and a port only; the rest comes from the recording", t.Redacted())
	case o.Run != "" && !contract.IsReplayID(o.Run):
		return nil, fmt.Errorf("ID of the run %q: want a DNS label of at most %d characters", o.Run, contract.MaxReplayID)
	case o.Pace < 0 || o.Pace != o.Pace:
		return nil, fmt.Errorf("pace %v: want 0 or more", o.Pace)
	case o.Timeout < 0 || o.MaxTime < 0 || o.MaxBody < 0 || o.MaxConns < 0:
		return nil, fmt.Errorf("timeout %v, longest time %v, body limit %d, connections %d: want 0 or more", o.Timeout, o.MaxTime, o.MaxBody, o.MaxConns)
	}
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	o.MaxTime = cmp.Or(o.MaxTime, DefaultMaxTime)
	o.MaxBody = cmp.Or(o.MaxBody, DefaultMaxBody)
	o.MaxConns = cmp.Or(o.MaxConns, DefaultMaxConns)
	c := &Client{o: o, host: t.Host, secure: t.Scheme == "https" || t.Scheme == "grpcs", http2: t.Scheme != "http" && t.Scheme != "https"}
	port := t.Port()
	if port == "" {
		port = "80"
		if c.secure {
			port = "443"
		}
	}
	c.address = net.JoinHostPort(t.Hostname(), port)
	if o.Dial == nil {
		c.o.Dial = new(net.Dialer).DialContext
	}
	if o.Run != "" {
		c.run = []string{o.Run}
		c.runField = []byte(contract.HeaderReplay + ": " + o.Run + "\r\n")
	}
	config := new(tls.Config)
	if o.TLS != nil {
		config = o.TLS.Clone()
	}
	config.ServerName = cmp.Or(config.ServerName, t.Hostname())
	for _, of := range []struct {
		config **tls.Config
		alpn   []string
	}{{&c.tls1, []string{"http/1.1"}}, {&c.tls2, []string{"h2"}}, {&c.tls2or1, []string{"h2", "http/1.1"}}} {
		*of.config = config.Clone()
		(*of.config).NextProtos = of.alpn
	}
	c.pool.max = o.MaxConns
	if !c.secure {
		c.streams.known = make(chan struct{})
	}
	c.h2, c.blank = c.transport(), &http.Request{Proto: "HTTP/2.0", ProtoMajor: 2}
	return c, nil
}

// Close closes all connections. No Send may be in progress.
func (c *Client) Close() {
	c.pool.close()
	c.h2.CloseIdleConnections()
	c.streams.close()
}

// Send sends a request that [Append] encoded, and waits for the end of its answer. It returns nil
// if the answer is complete, whatever its status. Otherwise it returns an *Error, and into has the
// part that arrived. Nothing refers to encoded when Send returns. Only one Send at a time may use a
// Result, and the next Send overwrites it.
func (c *Client) Send(ctx context.Context, encoded []byte, into *Result) error {
	into.reset()
	f := &into.form
	err := f.decode(encoded)
	if err == nil {
		into.asked(f)
		into.Live.IsTLS, into.Live.L7Protocol = c.secure, recording.HTTP1
		if c.secure {
			into.Live.L7Protocol = recording.HTTPS
		}
		err = c.send(ctx, f, into)
	}
	*f = form{} // it refers to the caller's memory
	return into.finish(ctx, err)
}

func (c *Client) send(ctx context.Context, f *form, into *Result) error {
	switch {
	case f.kind == call:
		return c.call(ctx, f, into)
	case f.kind == socket:
		return c.socket(ctx, f, into)
	case f.version == version2 || c.http2:
		return c.stream(ctx, f, into)
	}
	return c.exchange(ctx, f, into)
}

// end returns the deadline of a request that begins now.
func (c *Client) end(f *form) time.Time {
	took := f.took
	if p := c.o.Pace; p > 0 && p < 1 {
		took = time.Duration(float64(took) / p)
	}
	return time.Now().Add(c.o.MaxTime + took)
}

// tooLong returns the failure of a request that has passed its deadline.
func (c *Client) tooLong() error {
	return fail(TooLong, "the answer had not ended %v after the time that the recorded one took", c.o.MaxTime)
}

// dial connects to the target, with TLS if config is not nil.
func (c *Client) dial(ctx context.Context, config *tls.Config) (net.Conn, error) {
	within, cancel := context.WithTimeout(ctx, c.o.Timeout)
	defer cancel()
	dialed, err := c.o.Dial(within, "tcp", c.address)
	if err != nil {
		return nil, dialing(ctx, err)
	}
	conn := pump.NewConn(dialed, nil) // on Linux, its system calls cost less than those of a net.TCPConn
	if config == nil {
		return conn, nil
	}
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(within); err != nil {
		_ = conn.Close()
		return nil, handshaking(ctx, err)
	}
	return secure, nil
}
