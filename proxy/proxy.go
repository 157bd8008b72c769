// Package proxy is the sidecar that runs in the pod: a reverse half in front of
// the application, a forward half behind it, and a tap on both.
//
//	client ─▶ Envoy ─▶ :4143 reverse ─▶ app
//	app ─▶ :4140 forward (HTTP, CONNECT, SOCKS) ─▶ dependency
//	             │ tap ─▶ readers
//	:4100 /healthz /metrics /connections
//
// It forwards first and understands later. Bytes pass unchanged and never wait
// for a reader; only requests in absolute-form, whose destination stands in
// them, are parsed on the way. It listens on loopback, reaches no port of its
// own, and drains when it is told to stop.
//
// The package imports contract, its own subpackages except decode, Prometheus'
// client and the standard library. It logs to the logger that it is given, and
// does not exit.
package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/intercept"
	"github.com/tapedeck/tapedeck/proxy/pump"
	"github.com/tapedeck/tapedeck/proxy/tap"
	"github.com/tapedeck/tapedeck/proxy/trust"
	"github.com/tapedeck/tapedeck/proxy/upstream"
)

// Proxy is a sidecar that listens. Listen makes it, Serve runs it.
type Proxy struct {
	cfg   Config
	log   *slog.Logger
	tap   *tap.Tap
	conns *registry
	loops *pump.Loops
	dial  *upstream.Dialer
	roots *trust.Roots // nil where no TLS is spoken and no trust file written

	out      *intercept.Interceptor // nil: outbound TLS passes untouched
	in       *intercept.Terminator  // nil: inbound TLS passes untouched
	metrics  *prometheus.Registry
	draining atomic.Bool

	reverse, forward, admin, scrape []net.Listener
}

// Listen binds the ports, writes the trust files and makes everything ready to
// serve; connections wait until Serve. open makes the tap's readers, nil keeps
// no traffic. metrics, which may be nil, is where the proxy's are registered,
// beside those of others.
func Listen(ctx context.Context, cfg Config, log *slog.Logger, open tap.OpenFunc, metrics *prometheus.Registry) (*Proxy, error) {
	if metrics == nil {
		metrics = prometheus.NewRegistry()
	}
	p := &Proxy{cfg: cfg, log: log, conns: newRegistry(), metrics: metrics}
	if err := p.prepareTLS(); err != nil {
		return nil, err
	}
	if err := p.bind(ctx); err != nil {
		closeAll(p.listeners())
		return nil, err
	}
	p.dial = upstream.New(cfg.Proxies, ports(p.listeners())...)
	if p.roots != nil {
		p.dial.Roots = p.roots.Pool()
	}
	p.tap = tap.New(tap.Config{Limit: cfg.Memory / 4, Open: open, Panicked: func(f *tap.Flow, v any, stack []byte) {
		log.Error("a decoder crashed; its connection goes on, unrecorded", LogID, f.ID, LogTarget, hostPort(f.Host, f.Port), "panic", fmt.Sprint(v), "stack", string(stack))
	}})
	metrics.MustRegister(&collector{p})
	return p, nil
}

// Run listens and serves until ctx ends and the connections have drained.
func Run(ctx context.Context, cfg Config, log *slog.Logger, open tap.OpenFunc, metrics *prometheus.Registry) error {
	p, err := Listen(ctx, cfg, log, open, metrics)
	if err != nil {
		return err
	}
	return p.Serve(ctx)
}

// prepareTLS loads what interception needs and writes the trust files. A
// missing CA is no reason to stop the pod: TLS then passes untouched.
func (p *Proxy) prepareTLS() (err error) {
	var ca *intercept.Authority
	if p.cfg.TLSOut {
		ca, err = intercept.LoadAuthority(p.cfg.CADir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			p.log.Warn("there is no CA: outbound TLS passes untouched and is not recorded in the clear",
				"directory", p.cfg.CADir, "variable", contract.EnvCADir, "make one with", "tapedeck ca")
		case err != nil:
			p.log.Error("the CA is of no use: outbound TLS passes untouched", LogError, err)
		}
	}
	if p.roots, err = trust.Load(p.cfg.UpstreamCA); err != nil {
		return fmt.Errorf("%s: %w", contract.EnvUpstreamCA, err)
	}
	var mutual func() (*tls.Certificate, error)
	if k := p.cfg.Mutual; k != nil {
		if mutual, err = intercept.KeyPair(k.Cert, k.Key); err != nil {
			return fmt.Errorf("%s: %w", contract.EnvTLSMutualPublicKey, err)
		}
	}
	if ca != nil {
		p.out = intercept.New(intercept.Config{Authority: ca, Roots: p.roots.Pool(), Certificate: mutual})
		err = p.roots.Write(p.cfg.TrustDir, ca.Certificate())
	} else {
		err = p.roots.Write(p.cfg.TrustDir, nil)
	}
	if err != nil && (ca != nil || !errors.Is(err, fs.ErrNotExist)) {
		p.log.Warn("the trust files are not written: applications that are pointed at them will trust nobody", LogError, err)
	}
	if k := p.cfg.TLSIn; k != nil {
		certificate, err := intercept.KeyPair(k.Cert, k.Key)
		if err != nil {
			return fmt.Errorf("%s: %w", contract.EnvTLSInPublicKey, err)
		}
		p.in = &intercept.Terminator{Certificate: certificate}
	}
	return nil
}

func (p *Proxy) bind(ctx context.Context) error {
	for _, b := range []struct {
		on   bool
		env  string
		port int
		all  bool
		to   *[]net.Listener
	}{
		{p.cfg.Reverse, contract.EnvProxyInPort, p.cfg.InPort, p.cfg.InAll, &p.reverse},
		{p.cfg.Forward, contract.EnvProxyOutPort, p.cfg.OutPort, false, &p.forward},
		{true, "admin port", p.cfg.AdminPort, false, &p.admin},
		{p.cfg.PrometheusPort != 0, contract.EnvPrometheusPort, p.cfg.PrometheusPort, true, &p.scrape},
	} {
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
	for _, ls := range [][]net.Listener{p.reverse, p.forward, p.admin, p.scrape} {
		all = append(all, ls...)
	}
	return all
}

func ports(ls []net.Listener) (ports []int) {
	for _, l := range ls {
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// InAddr, OutAddr and AdminAddr return where the halves and the admin server
// listen on the first loopback, nil where they don't.
func (p *Proxy) InAddr() net.Addr    { return firstAddr(p.reverse) }
func (p *Proxy) OutAddr() net.Addr   { return firstAddr(p.forward) }
func (p *Proxy) AdminAddr() net.Addr { return firstAddr(p.admin) }

func firstAddr(ls []net.Listener) net.Addr {
	if len(ls) == 0 {
		return nil
	}
	return ls[0].Addr()
}

// Tap returns the tap's counters.
func (p *Proxy) Tap() tap.Stats { return p.tap.Stats() }

// Serve serves until ctx ends. It then drains: no new inbound connections, in-flight
// ones finish within Config.Drain, outbound ones are taken as long as an inbound
// one may need them, and the tap gives its readers what is left.
func (p *Proxy) Serve(ctx context.Context) error {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	var err error
	if p.loops, err = pump.NewLoops(p.tap.Pool(), runtime.GOMAXPROCS(0)); err != nil {
		return err
	}
	var running sync.WaitGroup
	for _, half := range []struct {
		ls    []net.Listener
		dir   tap.Direction
		serve serveFunc
	}{{p.reverse, tap.In, p.serveIn}, {p.forward, tap.Out, p.serveOut}} {
		for _, l := range half.ls {
			running.Go(func() {
				accept(l, func(c net.Conn) {
					k := &conn{direction: half.dir, started: time.Now(), from: addrPort(c.RemoteAddr()), client: pump.NewConn(c, nil)}
					p.conns.add(k)
					running.Add(1)
					go p.serveConn(work, k, half.serve, running.Done)
				})
			})
		}
	}
	var servers sync.WaitGroup
	admin, scrape := p.adminServer(), p.scrapeServer()
	for srv, ls := range map[*http.Server][]net.Listener{admin: p.admin, scrape: p.scrape} {
		for _, l := range ls {
			servers.Go(func() { _ = srv.Serve(l) }) // ends with Close
		}
	}
	running.Go(func() { p.watchOutbound(ctx) })
	p.log.Info("serving", "type", p.cfg.Type, "protocol", p.cfg.Protocols,
		"in", fmt.Sprint(p.InAddr()), "out", fmt.Sprint(p.OutAddr()), "admin", fmt.Sprint(p.AdminAddr()),
		"app", hostPort(p.cfg.App.Host, p.cfg.App.Port), "tls_out", p.out != nil, "tls_in", p.in != nil)

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

// serveFunc does what a connection asks for, up to where there are only bytes to
// move between its two ends: then it returns true.
type serveFunc func(context.Context, *conn) (move bool, err error)

// serveConn runs one connection and sees it out; ended is called when it is over.
func (p *Proxy) serveConn(ctx context.Context, k *conn, serve serveFunc, ended func()) {
	finish := func(err error) {
		k.hangUp()
		p.conns.end(k, err).log(p.log)
		ended()
	}
	move, err := serve(ctx, k)
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

// pump returns what moves bytes between the connection's two ends.
func (p *Proxy) pump(k *conn) *pump.Pump {
	return &pump.Pump{Pool: p.tap.Pool(), Stream: p.tap.Open(p.conns.flow(k)), Meter: &k.meter, Loops: p.loops}
}
