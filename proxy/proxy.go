// Package proxy is the network part of the sidecar: a reverse proxy for the application's
// inbound connections, a forward proxy for its outbound ones, and a tap on both.
//
//	client ─▶ Envoy ─▶ :4143 reverse ─▶ app
//	client ─▶ Envoy ─▶ :4144 reverse ─▶ app, another port of it
//	app ─▶ :4140 forward (HTTP, CONNECT, SOCKS) ─▶ dependency
//	app ─▶ 127.0.1.x, where a hosts file leads it ─▶ dependency
//	             │ tap ─▶ readers
//	:4100 /healthz /metrics /connections /status
//
// It forwards first. Bytes pass unchanged and never wait for a reader of the tap. Only
// requests in absolute-form are parsed before they are forwarded, because they name their
// destination, and intercepted TLS. The proxy listens on loopback, never connects to its
// own ports, and drains when its context ends. Readers never get the traffic of cloud
// metadata servers.
//
// Package sidecar connects it to the environment, the decoders and the recording. The
// package imports contract, its subpackages except decode, the Prometheus client, x/sys/unix
// and the standard library. It logs to the logger that it is given, and never exits.
package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/proxy/intercept"
	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/proxy/trust"
	"github.com/tapedeck/tapedeck/proxy/upstream"
)

// Proxy is a listening proxy. [Listen] makes it, and [Proxy.Serve] runs it.
type Proxy struct {
	cfg   Config
	log   *slog.Logger
	tap   *tap.Tap
	conns *registry
	loops *pump.Loops
	dial  *upstream.Dialer
	ca    *ca.Authority // nil: outbound TLS passes untouched
	watch *caWatch      // nil: outbound TLS is not intercepted
	// caError says why ca is nil.
	caError error
	// trustError says why the trust files could not be written; nil: they were.
	trustError atomic.Pointer[string]
	roots      atomic.Pointer[trust.Roots]
	// rootless says that the configured roots could not be read.
	rootless bool

	upstream intercept.Config       // for TLS with upstreams and intercepted clients
	out      *intercept.Interceptor // nil: outbound TLS passes untouched
	metrics  *prometheus.Registry
	draining atomic.Bool
	started  time.Time
	notes    notebook
	private  atomic.Int64    // connections that are never recorded
	held     [2]atomic.Int64 // by direction: times that accepting stopped for lack of memory
	starved  [2]atomic.Int64 // by direction: times that accepting stopped for lack of file descriptors

	files fileLimit

	reverse                []*reverse
	forward, admin, scrape []net.Listener
	hosts                  *hosts
	gate                   *gate
}

// Listen binds the ports and writes the trust files and the hosts file. Connections wait
// until Serve. open makes the tap's readers; nil: the tap keeps no traffic. The proxy
// registers its metrics with metrics, which may be nil.
func Listen(ctx context.Context, cfg Config, log *slog.Logger, open tap.OpenFunc, metrics *prometheus.Registry) (*Proxy, error) {
	if metrics == nil {
		metrics = prometheus.NewRegistry()
	}
	cfg.Proxies.Only = cfg.Proxies.Only || cfg.UpstreamReady != ""
	cfg.lull = cmp.Or(cfg.lull, cfg.Drain/lullPart)
	p := &Proxy{cfg: cfg, log: log, conns: newRegistry(), metrics: metrics, started: time.Now(), files: newFileLimit(descriptorLimit())}
	p.prepareTLS()
	if err := p.bind(ctx); err != nil {
		closeAll(p.listeners())
		return nil, err
	}
	p.hosts = newHosts(ctx, p)
	p.files.listeners = len(p.hosts.ports)
	p.gate = newGate(cfg.UpstreamReady, p)
	var unusable []upstream.Unusable
	without := "connections don't use it"
	if cfg.Proxies.Only {
		without = "connections that would go through it fail"
	}
	p.dial, unusable = upstream.New(cfg.Proxies, ports(p.listeners())...)
	for _, u := range unusable {
		log.Warn("this proxy can't be used: "+without, "variable", u.Variable, LogError, u.Err)
	}
	p.dial.Roots = p.Roots
	p.dial.AddName(cfg.Pod)
	p.dial.Unbound = func(addr netip.Addr, err error) {
		log.Warn("can't bind the source address that Envoy uses: inbound connections come from loopback, which the application may trust",
			"address", addr.String(), LogError, err)
	}
	p.dial.Buffers = p.socketBuffer
	p.dial.Descriptors = p.files.last()
	p.dial.Captured = p.hosts.has
	p.tap = tap.New(tap.Config{Limit: cfg.TapMemory, Buffers: cfg.Memory.Buffers, Shed: cfg.Memory.shed(), Open: open, Paused: cfg.Paused, Panicked: func(f *tap.Flow, v any, stack []byte) {
		log.Error("a decoder crashed: the connection continues unrecorded", LogID, f.ID, LogTarget, hostPort(f.Host, f.Port), "panic", fmt.Sprint(v), "stack", string(stack))
	}})
	metrics.MustRegister(&collector{p: p})
	return p, nil
}

func (p *Proxy) bind(ctx context.Context) error {
	type binding struct {
		on   bool
		env  string
		port int
		all  bool
		to   *[]net.Listener
	}
	var bindings []binding
	for i, r := range p.reverse {
		bindings = append(bindings, binding{true, inPortVariable(i), r.Port, p.cfg.InAll, &r.listeners})
	}
	for _, b := range append(bindings, []binding{
		{p.cfg.Forward, contract.EnvProxyOutPort, p.cfg.OutPort, false, &p.forward},
		{true, "admin port", p.cfg.AdminPort, false, &p.admin},
		{p.cfg.PrometheusPort != 0, contract.EnvPrometheusPort, p.cfg.PrometheusPort, true, &p.scrape},
	}...) {
		if !b.on {
			continue
		}
		ls, err := listen(ctx, b.port, b.all)
		if err != nil {
			return fmt.Errorf("%s: %w", b.env, err)
		}
		*b.to = ls
	}
	return nil
}

func (p *Proxy) listeners() (all []net.Listener) {
	return slices.Concat(p.inListeners(), p.forward, p.admin, p.scrape)
}

// inListeners returns the reverse proxy's listeners.
func (p *Proxy) inListeners() (all []net.Listener) {
	for _, r := range p.reverse {
		all = append(all, r.listeners...)
	}
	return all
}

func ports(ls []net.Listener) (ports []int) {
	for _, l := range ls {
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// InAddr, OutAddr and AdminAddr return the addresses on which the reverse proxy, the forward
// proxy and the admin server listen on the first loopback; nil if they don't listen.
func (p *Proxy) InAddr() net.Addr    { return firstAddr(p.inListeners()) }
func (p *Proxy) OutAddr() net.Addr   { return firstAddr(p.forward) }
func (p *Proxy) AdminAddr() net.Addr { return firstAddr(p.admin) }

// InAddrs returns, for each of Config.In, the address on which it listens on the first loopback.
func (p *Proxy) InAddrs() (all []net.Addr) {
	for _, r := range p.reverse {
		all = append(all, firstAddr(r.listeners))
	}
	return all
}

func firstAddr(ls []net.Listener) net.Addr {
	if len(ls) == 0 {
		return nil
	}
	return ls[0].Addr()
}

// Tap returns the tap's counters.
func (p *Proxy) Tap() tap.Stats { return p.tap.Stats() }

// Serve serves until ctx ends. Then it drains, within Config.Drain: it accepts connections as
// long as the application may still receive and make calls, and outbound ones as long as an
// inbound one may need them. Open connections finish, and the tap gives its readers the
// remaining traffic.
func (p *Proxy) Serve(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var err error
	if p.loops, err = pump.NewLoops(p.tap.Pool(), runtime.GOMAXPROCS(0)); err != nil {
		closeAll(p.listeners())
		p.hosts.close()
		return fmt.Errorf("start the event loops: %w", err)
	}
	var running sync.WaitGroup
	start := func(ls []net.Listener, dir tap.Direction, serve serveFunc) {
		for _, l := range ls {
			running.Go(func() {
				size := 0
				accept(l, func() { p.await(work, l, dir); size = p.fit(l, size) }, func(c net.Conn) {
					k := &conn{direction: dir, started: time.Now(), from: addrPort(c.RemoteAddr()), client: pump.NewConn(c, nil)}
					if !p.conns.add(k) {
						k.client.Abort()
						return
					}
					running.Add(1)
					go p.serveConn(work, k, serve, running.Done)
				})
			})
		}
	}
	for _, r := range p.reverse {
		start(r.listeners, tap.In, r.serve)
	}
	start(p.forward, tap.Out, p.serveOut)
	startHost := func(port *hostsPort) { start([]net.Listener{port.listener}, tap.Out, p.hosts.serve(port)) }
	captured := 0
	p.hosts.each(func(port *hostsPort, _ string, listening bool) {
		if listening {
			startHost(port)
			captured++
		}
	})
	running.Go(func() { p.hosts.retry(ctx, startHost) })
	var servers sync.WaitGroup
	admin, scrape := p.adminServer(), p.scrapeServer()
	for srv, ls := range map[*http.Server][]net.Listener{admin: p.admin, scrape: p.scrape} {
		for _, l := range ls {
			servers.Go(func() { _ = srv.Serve(newRoomListener(l, adminConnections, adminGrace)) }) // ends with Close
		}
	}
	running.Go(func() { p.gate.run(work) })
	running.Go(func() { p.watchOutbound(ctx) })
	if p.watch != nil {
		running.Go(func() { p.watch.run(ctx) })
	}
	if p.rootless {
		running.Go(func() { p.awaitRoots(ctx) })
	}
	in, app := fmt.Sprint(p.InAddr()), ""
	for i, r := range p.reverse {
		if i > 0 {
			in, app = in+" "+fmt.Sprint(firstAddr(r.listeners)), app+" "
		}
		app += hostPort(r.App.Host, r.App.Port)
	}
	p.log.Info("serving", "in", in, "out", fmt.Sprint(p.OutAddr()), "admin", fmt.Sprint(p.AdminAddr()),
		"app", app, "tls_out", p.out != nil, "tls_in", p.cfg.Reverse && p.cfg.TLSIn != nil, "hosts", captured)

	<-ctx.Done()
	p.draining.Store(true)
	p.drain()
	cancel()
	running.Wait()
	p.loops.Close()
	flush, stop := context.WithTimeout(context.Background(), flushTime)
	defer stop()
	err = p.tap.Shutdown(flush)
	if err != nil {
		p.log.Warn("the readers did not finish in time", "dropped_bytes", p.tap.Stats().Dropped[tap.ReasonShutdown].Bytes)
	}
	_ = admin.Close()
	_ = scrape.Close()
	servers.Wait()
	p.log.Info("stopped")
	return nil
}

// serveFunc serves a connection until only bytes remain to be moved between its two ends.
// Then it returns true.
type serveFunc func(context.Context, *conn) (move bool, err error)

// serveConn runs one connection, and calls ended when it is over.
func (p *Proxy) serveConn(ctx context.Context, k *conn, serve serveFunc, ended func()) {
	finish := func(err error) {
		var crash *pump.Panic
		if errors.As(err, &crash) {
			k.abort()
			p.log.Error("a connection crashed and is reset: the others continue", LogID, k.id, "panic", fmt.Sprint(crash.Value), "stack", string(crash.Stack))
		}
		k.hangUp()
		p.conns.end(k, err).log(p.log)
		ended()
	}
	var move bool
	err := pump.Guard(func() (err error) {
		move, err = serve(ctx, k)
		return err
	})
	if !move {
		finish(err)
		return
	}
	m := p.pump(k)
	m.Start(k.client, k.server, func(err error) {
		m.Stream.Close(time.Now())
		finish(err)
	})
}

// open begins the tap flow of a connection; nil: the connection is not recorded.
func (p *Proxy) open(k *conn) *tap.Stream {
	if k.isPrivate() {
		p.private.Add(1)
		return nil
	}
	return p.tap.Open(p.conns.flow(k))
}

// pump returns the pump that moves bytes between the connection's two ends.
func (p *Proxy) pump(k *conn) *pump.Pump {
	stream := p.open(k)
	k.idleBy(func() bool { return k.meter.Silent() || stream == nil || stream.Idle() })
	return &pump.Pump{Pool: p.tap.Pool(), Stream: stream, Meter: &k.meter, Loops: p.loops}
}
