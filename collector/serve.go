package collector

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/net/netutil"

	"github.com/tapedeck/tapedeck/proxy/address"
)

// Limits of connections. An idle connection takes about 20 KiB. An HTTP/2 stream whose upload waits
// for its turn takes up to streamBuffer. All streams of a connection fit into its window, so that a
// waiting stream doesn't block the others.
const (
	maxWriters   = 2048
	maxReaders   = 64
	maxAdmins    = 32
	maxHead      = 32 << 10
	streams      = 8
	streamBuffer = 64 << 10
)

// Ports are the collector's listeners. Serve closes them.
type Ports struct {
	// Write accepts segments.
	Write net.Listener
	// TLS is the configuration of the write port; nil means plain HTTP.
	TLS *tls.Config
	// Read serves stored objects; nil disables it. It must be on loopback.
	Read net.Listener
	// Admin serves /healthz and /metrics.
	Admin net.Listener
	// Metrics is what /metrics serves.
	Metrics http.Handler
}

// Serve serves until ctx ends or a port fails, and then finishes the uploads that are in progress,
// within Options.Drain. It returns nil if ctx ended and all uploads were finished. It can
// be called once.
func (c *Collector) Serve(ctx context.Context, p Ports) error {
	if p.Read != nil && !isLoopback(p.Read.Addr()) {
		return errors.Join(fmt.Errorf("the read port listens on %s, which is not loopback: anybody who reaches it could read everything; want an address such as 127.0.0.1:4311", p.Read.Addr()), p.Close())
	}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	write := c.server(c, maxHead)
	write.Protocols, write.TLSConfig = &protocols, p.TLS
	write.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: streams, MaxReceiveBufferPerStream: streamBuffer, MaxReceiveBufferPerConnection: streams * streamBuffer,
		SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second, WriteByteTimeout: answerWithin,
	}
	read := c.server(c.Reader(), maxHead)
	admin := c.server(c.admin(p), maxHead/2)
	admin.ReadTimeout, admin.WriteTimeout = 10*time.Second, 30*time.Second

	// The first server that ends stops all others.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	var failed error
	var wg sync.WaitGroup
	serve := func(srv *http.Server, l net.Listener, max int) {
		if l == nil {
			return
		}
		limited := netutil.LimitListener(l, max)
		wg.Go(func() {
			var err error
			if srv.TLSConfig != nil {
				err = srv.ServeTLS(limited, "", "")
			} else {
				err = srv.Serve(limited)
			}
			if !errors.Is(err, http.ErrServerClosed) {
				mu.Lock()
				failed = errors.Join(failed, fmt.Errorf("serve %s: %w", l.Addr(), err))
				mu.Unlock()
				cancel()
			}
		})
	}
	serve(write, p.Write, maxWriters)
	serve(read, p.Read, maxReaders)
	serve(admin, p.Admin, maxAdmins)
	wg.Go(func() { c.describePlace(ctx) })
	wg.Go(func() { c.retain(ctx) })
	<-ctx.Done()

	c.draining.Store(true)
	ending, stop := context.WithTimeout(context.WithoutCancel(ctx), c.o.Drain)
	defer stop()
	err := write.Shutdown(ending)
	if err != nil {
		err = fmt.Errorf("uploads were still running after %s; their sidecars send them again", c.o.Drain)
	}
	_, _, _ = write.Close(), read.Close(), admin.Close()
	wg.Wait()
	return errors.Join(failed, err)
}

// server returns a server with limits for idle and slow clients.
func (c *Collector) server(h http.Handler, head int) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 90 * time.Second, MaxHeaderBytes: head,
		ErrorLog: slog.NewLogLogger(c.o.Log.Handler(), slog.LevelDebug),
	}
}

// admin serves the admin port.
func (c *Collector) admin(p Ports) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if c.draining.Load() {
			http.Error(w, "draining", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	if p.Metrics != nil {
		mux.Handle("GET /metrics", p.Metrics)
	}
	if p.Admin != nil && isLoopback(p.Admin.Addr()) {
		return address.OnLoopback(mux)
	}
	return mux
}

// Close closes the listeners that are set.
func (p *Ports) Close() (err error) {
	for _, l := range []net.Listener{p.Write, p.Read, p.Admin} {
		if l != nil {
			err = errors.Join(err, l.Close())
		}
	}
	return err
}

func isLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}
