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

// Options say what a server shows.
type Options struct {
	// Items are what is shown, at least one. Their pages are numbered in this order, from 1.
	Items []Item
	// Version of Tapedeck, for the foot of the pages; "" if it isn't known.
	Version string
	// Log gets what goes wrong with single requests; nil: nobody does.
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
	failureTime = 3 * time.Second // for a browser to see why an item could not be read
)

// Serve reads the items, and serves them meanwhile and until ctx ends, which is no error. It
// fails at once if l does not listen on loopback. If an item can't be read, it fails too,
// once a browser has shown that or had the time to. It closes l and what the items opened.
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
		_ = server.Close() // what goes on is cut off
	}
	if built != nil {
		<-built
	}
	for _, it := range s.items {
		err = errors.Join(err, it.close())
	}
	return err
}

// build reads the items, one after the other: each uses all processors.
func (s *Server) build(ctx context.Context) error {
	for _, it := range s.items {
		if err := it.build(ctx); err != nil {
			return err
		}
	}
	return nil
}

// showFailure waits until a browser has got the page that says what failed.
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

// Listen listens on an address of loopback, as localhost:0. Any other is an error before anybody
// can connect.
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

// onLoopback refuses addresses that others reach.
func onLoopback(a net.Addr) error {
	if tcp, ok := a.(*net.TCPAddr); !ok || !tcp.IP.IsLoopback() {
		return fmt.Errorf("listen on %s: view listens only on loopback; want an address such as localhost:4170", a)
	}
	return nil
}
