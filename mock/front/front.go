package front

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/proxy/pump"
)

const (
	// firstByteTime is how long a client may be silent after it has connected. Some clients connect
	// long before they send anything.
	firstByteTime = 5 * time.Minute
	// handshakeTime bounds a SOCKS or TLS handshake, from its first byte.
	handshakeTime = 10 * time.Second
	// patience is how long to wait for the client's first bytes if the server may speak first.
	patience = 300 * time.Millisecond
	// maxDepth bounds tunnels within tunnels.
	maxDepth = 4
	// maxHead bounds the head of a request. maxFirst is how many of a connection's first bytes are
	// inspected.
	maxHead  = 1 << 20
	maxFirst = 4 << 10
)

// Expectation says which protocol a connection is likely to use.
type Expectation struct {
	// Speaks is its protocol, if that is certain.
	Speaks Protocol
	// ServerFirst reports whether the server may speak first.
	ServerFirst bool
	// ALPN lists the protocols to offer within TLS, best first. If nil: h2 and http/1.1.
	ALPN []string
}

// Config says how a Front listens and who handles connections. HTTP and Stream must be set.
type Config struct {
	// Listen are the addresses of the main port, which serves all clients; see ParseListen.
	Listen []string
	// Maps are further ports.
	Maps []Map
	// Authority issues the certificates for TLS.
	Authority *ca.Authority
	// HTTP answers requests. ConnOf returns the connection of a request.
	HTTP http.Handler
	// Stream serves a connection that is not HTTP, and closes it. ctx ends with Serve.
	Stream func(ctx context.Context, c *Conn)
	// Expect returns the likely protocol. If nil, nothing is known.
	Expect func(Origin) Expectation
	// Admit returns an error to refuse a connection to a host. In a tunnel it is called before the
	// client learns that the tunnel is open; on a mapped port, before the client's first bytes are
	// read. If nil, all connections are admitted.
	Admit func(Origin) error
	// Distrusted is called when a TLS handshake with a client fails; may be nil.
	Distrusted func(name string, err error)
	// Log receives the error log of net/http.
	Log *slog.Logger
}

// Front accepts connections. Listen creates it, Serve runs it.
type Front struct {
	cfg    Config
	port   []net.Listener
	maps   [][]net.Listener // for each of Config.Maps
	server *http.Server
	ready  handoff  // connections for server
	ticket [32]byte // key of session tickets, so that clients can resume TLS

	ids    atomic.Uint64
	mu     sync.Mutex
	open   map[*pump.Conn]struct{} // accepted connections
	empty  chan struct{}           // closed when open is empty; nil unless drained waits
	closed bool
	served sync.WaitGroup
}

// Listen starts listening on all ports. The caller must call Serve or Close.
func Listen(ctx context.Context, cfg Config) (*Front, error) {
	f := &Front{cfg: cfg, open: map[*pump.Conn]struct{}{}, ready: newHandoff()}
	_, _ = rand.Read(f.ticket[:]) // never fails
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true) // the server never sees TLS: it ends before
	f.server = &http.Server{
		Handler:        http.HandlerFunc(f.serveHTTP),
		Protocols:      protocols,
		MaxHeaderBytes: maxHead, // no timeouts: each would cost a timer per request, and clients are the user's own
		// net/http would answer `OPTIONS *` with 200, whatever was recorded.
		DisableGeneralOptionsHandler: true,
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return withConn(ctx, c.(*Conn))
		},
		ErrorLog: slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug),
	}
	for _, address := range cfg.Listen {
		ls, err := listen(ctx, address)
		if err != nil {
			f.Close()
			return nil, err
		}
		f.port = append(f.port, ls...)
	}
	for _, m := range cfg.Maps {
		ls, err := listen(ctx, m.Listen)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("map to %s: %w", m.Host, err)
		}
		f.maps = append(f.maps, ls)
	}
	return f, nil
}

// listen listens on an address. For localhost it listens on both loopback addresses, or on
// the one that exists.
func listen(ctx context.Context, address string) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("listen on %q: %w", address, err)
	}
	hosts := []string{host}
	if host == loopback {
		hosts = []string{"127.0.0.1", "::1"}
	}
	var got []net.Listener
	var errs []error
	for _, host := range hosts {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, port))
		switch {
		case err == nil:
			got = append(got, l)
			_, port, _ = net.SplitHostPort(l.Addr().String())
		case len(hosts) > 1 && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)):
		default:
			errs = append(errs, err)
		}
	}
	if len(got) == 0 || len(errs) > 0 {
		for _, l := range got {
			_ = l.Close()
		}
		return nil, errors.Join(append(errs, fmt.Errorf("listen on %s", address))...)
	}
	return got, nil
}

// Addr returns the first address of the main port, or nil if there is none.
func (f *Front) Addr() *net.TCPAddr { return firstAddr(f.port) }

// MapAddr returns the address of Config.Maps[i].
func (f *Front) MapAddr(i int) *net.TCPAddr { return firstAddr(f.maps[i]) }

func firstAddr(ls []net.Listener) *net.TCPAddr {
	if len(ls) == 0 {
		return nil
	}
	return ls[0].Addr().(*net.TCPAddr)
}

// Serve serves until ctx ends. Then it closes idle HTTP connections and gives requests and
// conversations under way the time grace to finish. After that it resets open connections.
func (f *Front) Serve(ctx context.Context, grace time.Duration) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var accepting sync.WaitGroup
	start := func(ls []net.Listener, o Origin, speaks Protocol) {
		for _, l := range ls {
			accepting.Go(func() { f.accept(work, l, o, speaks) })
		}
	}
	start(f.port, Origin{Via: Direct}, Any)
	for i, m := range f.cfg.Maps {
		start(f.maps[i], Origin{Via: Mapped, Host: m.Host, Port: m.Port}, m.Speaks)
	}
	f.served.Go(func() { _ = f.server.Serve(f.ready) }) // ends with Shutdown
	<-ctx.Done()
	f.closeListeners()
	accepting.Wait()
	end, stop := context.WithTimeout(work, grace)
	defer stop()
	if grace > 0 {
		_ = f.server.Shutdown(end) // fails if some are still open
		f.drained(end)
	}
	cancel()
	_ = f.server.Close()
	f.abortAll()
	f.served.Wait()
}

// Close closes a Front that is not served.
func (f *Front) Close() {
	f.closeListeners()
	_ = f.server.Close()
}

func (f *Front) closeListeners() {
	for _, ls := range append(f.maps, f.port) {
		for _, l := range ls {
			_ = l.Close()
		}
	}
}

func (f *Front) accept(ctx context.Context, l net.Listener, o Origin, speaks Protocol) {
	for wait := time.Duration(0); ; {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // temporary, such as too many open files
			wait = min(max(2*wait, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(wait):
			case <-ctx.Done():
			}
			continue
		}
		wait = 0
		o := o
		o.ID, o.Accepted = f.ids.Add(1), time.Now()
		if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
			o.Client = netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), a.AddrPort().Port())
		}
		c := &Conn{Conn: pump.NewConn(nc, nil), Origin: o, front: f}
		c.accepted = c.Conn
		if !f.add(c.Conn) {
			c.Abort()
			continue
		}
		f.served.Go(func() { f.begin(ctx, c, speaks) })
	}
}

// add keeps track of an accepted connection until it is closed. It returns false if the Front is
// closed.
func (f *Front) add(c *pump.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return false
	}
	f.open[c] = struct{}{}
	return true
}

func (f *Front) drop(c *pump.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.open, c)
	if len(f.open) == 0 && f.empty != nil {
		close(f.empty)
		f.empty = nil
	}
}

// drained waits until no connection is open, or until ctx ends.
func (f *Front) drained(ctx context.Context) {
	empty := make(chan struct{})
	f.mu.Lock()
	if len(f.open) == 0 {
		close(empty)
	} else {
		f.empty = empty
	}
	f.mu.Unlock()
	select {
	case <-empty:
	case <-ctx.Done():
	}
}

func (f *Front) abortAll() {
	f.mu.Lock()
	f.closed = true
	open := f.open
	f.open = nil
	f.mu.Unlock()
	for c := range open {
		c.Abort()
	}
}

// handoff is the listener that passes connections that use HTTP to net/http's server.
type handoff struct {
	conns chan net.Conn
	done  chan struct{}
	once  *sync.Once
}

func newHandoff() handoff {
	return handoff{make(chan net.Conn), make(chan struct{}), new(sync.Once)}
}

// give passes c to the server. It returns false if the server accepts no more connections.
func (h handoff) give(c net.Conn) bool {
	select {
	case h.conns <- c:
		return true
	case <-h.done:
		return false
	}
}

func (h handoff) Accept() (net.Conn, error) {
	select {
	case c := <-h.conns:
		return c, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

func (h handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

func (h handoff) Addr() net.Addr { return &net.TCPAddr{} }
