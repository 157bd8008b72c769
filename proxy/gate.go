package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/contract"
)

// gate makes outbound connections wait until the proxy that all of them are chained to
// is ready. It opens once, and remains open.
//
//	app ─▶ forward proxy ─▶ gate ─▶ proxy
//	                        │ GET, directly
//	                        ▼
//	                   200: it opens
//
// A connection waits until its client hangs up. A nil gate is open.
type gate struct {
	url     string
	log     *slog.Logger
	client  *http.Client
	open    chan struct{} // closed when the gate opens
	waiting atomic.Int64
}

const (
	// gateFirst is the first pause between two probes. The pause doubles up to gateLast.
	gateFirst = 100 * time.Millisecond
	gateLast  = 2 * time.Second
	// gateComplain is the time until the first warning that the proxy is not ready.
	gateComplain = 30 * time.Second
	// maxWaiting is the maximum number of waiting connections. Each holds the bytes that
	// named its destination, and nothing more is read from it.
	maxWaiting = 1024
	// gateLook is the interval at which waiting clients are checked for a hang-up.
	gateLook = 250 * time.Millisecond
)

var (
	errWaitGone = errors.New("the client hung up before the chained proxy was ready")
	errWaitFull = fmt.Errorf("the chained proxy is not ready, and %d connections already wait for it", maxWaiting)
	errWaitEnds = errors.New("the sidecar stopped before the chained proxy was ready")
)

func newGate(url string, p *Proxy) *gate {
	if url == "" {
		return nil
	}
	return &gate{url: url, log: p.log, open: make(chan struct{}), client: &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: p.Roots()}}, // and no proxy
		Timeout:       gateLast,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// run probes the proxy until it is ready or ctx ends.
func (g *gate) run(ctx context.Context) {
	if g == nil {
		return
	}
	began, complain := time.Now(), gateComplain
	for wait, told := gateFirst, false; ; wait = min(2*wait, gateLast) {
		err := g.ask(ctx)
		if err == nil {
			g.log.Info("the chained proxy is ready: outbound connections proceed",
				"url", g.url, "waited", g.waiting.Load(), LogDuration, time.Since(began).Milliseconds())
			close(g.open)
			return
		}
		if !told && ctx.Err() == nil {
			told = true
			g.log.Info("the chained proxy is not ready: outbound connections wait", "variable", contract.EnvUpstreamReady, "url", g.url, LogError, clip(err.Error()))
		}
		if since := time.Since(began); since >= complain {
			complain = 2 * since
			g.log.Warn("the chained proxy is still not ready: outbound connections wait",
				"variable", contract.EnvUpstreamReady, "url", g.url, "waiting", g.waiting.Load(), LogDuration, since.Milliseconds(), LogError, clip(err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// ask probes the proxy once.
func (g *gate) ask(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url, nil)
	if err != nil {
		return err
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<10) // only the status counts
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// pass waits until the gate is open. A waiting connection counts as idle: a drain ends it
// immediately, and the client may connect again.
func (g *gate) pass(ctx context.Context, k *conn) error {
	if g == nil {
		return nil
	}
	select {
	case <-g.open:
		return nil
	default:
	}
	defer g.waiting.Add(-1)
	if g.waiting.Add(1) > maxWaiting {
		return errWaitFull
	}
	defer k.idleBy(k.idleBy(func() bool { return true }))
	look := time.NewTicker(gateLook)
	defer look.Stop()
	for {
		select {
		case <-g.open:
			return nil
		case <-ctx.Done():
			return errWaitEnds
		case <-look.C:
			if k.client.HungUp() {
				return errWaitGone
			}
		}
	}
}
