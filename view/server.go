package view

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Options configure a server.
type Options struct {
	// Items are the items to show, at least one. Their pages are numbered in this order, from 1.
	Items []Item
	// Version is that of Tapedeck, for the footer of the pages; "" if it is unknown.
	Version string
	// Log gets the errors of single requests; with nil they are discarded.
	Log *slog.Logger
}

// Server serves the pages. It is an [http.Handler], and safe for concurrent use.
type Server struct {
	version string
	log     *slog.Logger
	items   []*item
	pages   pages
	handler http.Handler
}

// New returns a server of these items. Nothing is read until [Server.Serve] is called.
func New(o Options) (*Server, error) {
	if len(o.Items) == 0 {
		return nil, errors.New("nothing to show: give a recording, a report or a receipt")
	}
	s := &Server{version: o.Version, log: cmp.Or(o.Log, slog.New(slog.DiscardHandler))}
	for i, one := range o.Items {
		it, err := newItem(i+1, one)
		if err != nil {
			return nil, fmt.Errorf("item %d, %s: %w", i+1, one.Name, err)
		}
		s.items = append(s.items, it)
	}
	var err error
	if s.pages, err = parsePages(); err != nil {
		return nil, err
	}
	s.handler = s.guard(s.mux())
	return s, nil
}

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// Bounds of the HTTP server.
const (
	headerTime  = 5 * time.Second
	readTime    = 10 * time.Second
	writeTime   = 2 * time.Minute // an exchange may come from a slow bucket
	idleTime    = time.Minute
	maxHeader   = 64 << 10
	drainTime   = 500 * time.Millisecond
	failureTime = 3 * time.Second // for a browser to show why an item could not be read
)

// Serve reads the items, and serves their pages until ctx ends, which is not an error. If l does
// not listen on loopback, it fails at once. If an item can't be read, it fails after a browser has
// shown the error, or after 3 seconds. It closes l and all indexes.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if err := onLoopback(l.Addr()); err != nil {
		return errors.Join(err, l.Close())
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server := &http.Server{
		Handler: s, ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), MaxHeaderBytes: maxHeader,
		ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		DisableGeneralOptionsHandler: true, BaseContext: func(net.Listener) context.Context { return ctx },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	built := make(chan error, 1)
	go func() { built <- s.build(ctx) }()

	var err error
	for waiting := true; waiting; {
		select {
		case <-ctx.Done():
			waiting = false
		case err = <-served:
			waiting = false
		case failed := <-built:
			built = nil
			if failed != nil && ctx.Err() == nil {
				s.showFailure(ctx)
				err, waiting = failed, false
			}
		}
	}
	cancel()
	drained, stop := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer stop()
	if server.Shutdown(drained) != nil {
		_ = server.Close() // cuts off the remaining requests
	}
	if built != nil {
		<-built
	}
	for _, it := range s.items {
		err = errors.Join(err, it.close())
	}
	return err
}

// build reads the items one after the other, because each uses all processors.
func (s *Server) build(ctx context.Context) error {
	for _, it := range s.items {
		if err := it.build(ctx); err != nil {
			return err
		}
	}
	return nil
}

// showFailure waits until a browser has loaded the page with the failure, or failureTime is over.
func (s *Server) showFailure(ctx context.Context) {
	timer := time.NewTimer(failureTime)
	defer timer.Stop()
	for _, it := range s.items {
		if it.failure() == nil {
			continue
		}
		select {
		case <-it.shown:
		case <-timer.C:
		case <-ctx.Done():
		}
		return
	}
}

// Listen listens on an address of loopback, such as localhost:0. It returns an error for any other
// address, and does not listen on it.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	a, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return nil, err
	}
	if err := onLoopback(a); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", a.String())
	if err != nil {
		return nil, fmt.Errorf("%w: another program may use the port; port 0 takes a free one", err)
	}
	return l, nil
}

// onLoopback returns an error for addresses that others can reach.
func onLoopback(a net.Addr) error {
	if tcp, ok := a.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return fmt.Errorf("listen on %s: view listens only on loopback; want an address such as localhost:4170", a)
	}
	return nil
}
