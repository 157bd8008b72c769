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

// gate holds outbound connections back until the proxy that all of them are chained to
// is ready. It opens once, and stays open.
//
//	app ─▶ forward half ─▶ gate ─▶ proxy
//	                        │ GET, directly
//	                        ▼
//	                   200: it opens
//
// A connection waits for as long as its client does. A nil gate is open.
type gate struct {
	url     string
	log     *slog.Logger
	client  *http.Client
	open    chan struct{} // closed when it is
	waiting atomic.Int64
}

const (
	// gateFirst and gateLast are how long it takes until the proxy is asked again, at
	// first and in the long run.
	gateFirst = 100 * time.Millisecond
	gateLast  = 2 * time.Second
	// gateComplain is after how long it is a warning that the proxy is not ready, for the
	// first time.
	gateComplain = 30 * time.Second
	// maxWaiting bounds how many connections wait. Each holds what it took to say where it
	// wants to go, and no more is read from it.
	maxWaiting = 1024
	// gateLook is how often it is looked whether a client that waits has hung up.
	gateLook = 250 * time.Millisecond
)

// The errors of connections that did not get through the gate.
var (
	errWaitGone = errors.New("the client hung up while the proxy that connections are chained to was not ready")
	errWaitFull = fmt.Errorf("the proxy that connections are chained to is not ready, and %d connections wait for it already", maxWaiting)
	errWaitEnds = errors.New("the sidecar stopped while the proxy that connections are chained to was not ready")
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

// run asks until the proxy is ready, or until ctx ends.
func (g *gate) run(ctx context.Context) {
	if g == nil {
		return
	}
	began, complain := time.Now(), gateComplain
	for wait, told := gateFirst, false; ; wait = min(2*wait, gateLast) {
		err := g.ask(ctx)
		if err == nil {
			g.log.Info("outbound connections go on: the proxy that they are chained to is ready",
				"url", g.url, "waited", g.waiting.Load(), LogDuration, time.Since(began).Milliseconds())
			close(g.open)
			return
		}
		if !told && ctx.Err() == nil {
			told = true
			g.log.Info("outbound connections wait until the proxy that they are chained to is ready", "variable", contract.EnvUpstreamReady, "url", g.url, LogError, clip(err.Error()))
		}
		if since := time.Since(began); since >= complain {
			complain = 2 * since
			g.log.Warn("outbound connections still wait: the proxy that they are chained to is not ready",
				"variable", contract.EnvUpstreamReady, "url", g.url, "waiting", g.waiting.Load(), LogDuration, since.Milliseconds(), LogError, clip(err.Error()))
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// ask asks the proxy whether it is ready.
func (g *gate) ask(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url, nil)
	if err != nil {
		return err
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 1<<10) // it has been told by its status
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// pass waits until the gate is open. A connection that waits counts as idle: a drain ends it
// at once, and the client may connect again.
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
