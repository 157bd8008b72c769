package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/mock"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/wire"
)

// envoy is the Envoy of this pod, as Istio's agent answers for it.
type envoy struct {
	ready, quit string // addresses
	client      *http.Client
	// seen tells that somebody listens, absent that nobody does.
	seen, absent bool
}

const (
	// envoyLook is how long an Envoy may take until it listens, where there may be none.
	envoyLook = 3 * time.Second
	// envoyEnd is how long ending it is tried.
	envoyEnd = 10 * time.Second
)

func newEnvoy() *envoy {
	return &envoy{ready: "127.0.0.1:15021", quit: "127.0.0.1:15020", client: directClient()}
}

// directClient asks without a proxy, whatever the environment says, follows no redirect and
// keeps no connection.
func directClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// await waits until Envoy is ready: nothing of this pod gets anywhere before.
func (e *envoy) await(ctx context.Context, mode string, say func(string, ...any)) error {
	switch mode {
	case envoyNone:
		return nil
	case envoyAuto:
		looking, cancel := context.WithTimeout(ctx, envoyLook)
		defer cancel()
		err := every(looking, 100*time.Millisecond, func(ctx context.Context) error {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", e.ready)
			if err == nil {
				conn.Close()
			}
			return err
		})
		if err != nil {
			e.absent = ctx.Err() == nil
			return ctx.Err()
		}
	}
	say("waiting for Envoy")
	e.seen = true
	if err := every(ctx, 500*time.Millisecond, func(ctx context.Context) error {
		return ask(ctx, e.client, http.MethodGet, "http://"+e.ready+"/healthz/ready", nil)
	}); err != nil {
		return fmt.Errorf("--envoy: Envoy is not ready: %w", err)
	}
	return nil
}

// end ends Envoy: a Job's pod with a classic sidecar would never end. Who failed before it was
// waited for looks for it now.
func (e *envoy) end(ctx context.Context, mode string) error {
	patience := map[string]time.Duration{envoyWait: envoyEnd, envoyAuto: envoyLook}[mode]
	switch {
	case e.seen:
		patience = envoyEnd
	case e.absent || patience == 0:
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	err := every(ctx, 500*time.Millisecond, func(ctx context.Context) error {
		return ask(ctx, e.client, http.MethodPost, "http://"+e.quit+"/quitquitquit", nil)
	})
	if !e.seen && mode == envoyAuto {
		return nil // there is none
	}
	return err
}

// every tries something again and again until it succeeds or the context ends. It returns the
// last error that says more than that the time is up.
func every(ctx context.Context, pause time.Duration, try func(context.Context) error) error {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	var last error
	for {
		err := try(ctx)
		if err == nil {
			return nil
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), last)
		case <-ticker.C:
		}
	}
}

// maxReceipt bounds a receipt.
const maxReceipt = 1 << 20

// ask sends a request that must be answered with 200. The answer is decoded into v, unless it
// is nil.
func ask(ctx context.Context, client *http.Client, method, at string, v any) error {
	req, err := http.NewRequestWithContext(ctx, method, at, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxReceipt+1))
	switch {
	case resp.StatusCode != http.StatusOK:
		err = fmt.Errorf("%s %s: %s", method, at, resp.Status)
	case err != nil:
	case len(body) > maxReceipt:
		err = fmt.Errorf("%s %s: the answer is larger than %d bytes, the most that is read", method, at, maxReceipt)
	case v != nil:
		err = json.Unmarshal(body, v)
	}
	return err
}

// responder is the mock that stands in for the target's dependencies.
type responder struct {
	url    *url.URL
	client *http.Client
	// patience is how long a question is asked again and again.
	patience time.Duration
	// replayed is the recording that is sent.
	replayed mock.Source
}

// maxPatience bounds how long a responder that was ready is asked again and again.
const maxPatience = 30 * time.Second

func (r *responder) at(path string) string { return strings.TrimSuffix(r.url.String(), "/") + path }

// await waits until the responder has loaded its recording, and looks which one that is.
func (r *responder) await(ctx context.Context) error {
	if err := every(ctx, time.Second, func(ctx context.Context) error { return ask(ctx, r.client, http.MethodGet, r.at("/healthz"), nil) }); err != nil {
		return fmt.Errorf("--responder: it is not ready: %w", err)
	}
	_, err := r.receipt(ctx)
	return err
}

// receipt returns the receipt up to now.
func (r *responder) receipt(ctx context.Context) (c mock.Receipt, err error) {
	return r.tried(ctx, http.MethodGet, "/receipt")
}

// reset has the responder forget whom it answered. It returns the receipt up to now.
func (r *responder) reset(ctx context.Context) (c mock.Receipt, err error) {
	return r.tried(ctx, http.MethodPost, "/reset")
}

// tried asks for a receipt several times: a connection may break.
func (r *responder) tried(ctx context.Context, method, path string) (c mock.Receipt, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	err = every(ctx, time.Second, func(ctx context.Context) error {
		c = mock.Receipt{} // not a mixture with that of an attempt before
		return ask(ctx, r.client, method, r.at(path), &c)
	})
	if err == nil {
		err = r.check(c.Recording)
	}
	if err != nil {
		return c, fmt.Errorf("--responder: %w", err)
	}
	return c, nil
}

// check tells whether a receipt is one, by the recording that it names, and whether that is the
// snapshot that is replayed. A place that is no snapshot has another hash in each direction.
func (r *responder) check(answers mock.Source) error {
	if sum, err := hex.DecodeString(answers.SHA256); err != nil || len(sum) != sha256.Size {
		return fmt.Errorf("%s is no responder: its receipt has no recording with a SHA-256; want the admin port of tapedeck mock", r.url)
	}
	if pin := "@sha256:" + r.replayed.SHA256; strings.Contains(r.replayed.Place, pin) && answers.SHA256 != r.replayed.SHA256 {
		return fmt.Errorf("it answers from another recording than the snapshot that is replayed: %.300q (sha256:%s), want %s; start it with that snapshot", answers.Place, answers.SHA256, r.replayed.Place)
	}
	return nil
}

// awaitTargets waits until each target answers a request, other than as a gateway in front of
// one that does not listen yet.
func awaitTargets(ctx context.Context, o *replay.Options) error {
	first := map[*wire.Client]int{}
	for n, step := range o.Plan.Steps() {
		client := o.Target
		if step.Target > 0 {
			client = o.Targets[step.Target-1]
		}
		if _, ok := first[client]; !ok {
			first[client] = n
		}
	}
	for client, step := range first {
		e, err := o.Plan.Exchange(step)
		if err != nil {
			return err
		}
		request, err := wire.Append(nil, probe(e))
		if err != nil {
			return err
		}
		var answer wire.Result
		if err := every(ctx, time.Second, func(ctx context.Context) error {
			once, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			if err := client.Send(once, request, &answer); err != nil {
				return err
			}
			if status := answer.Live.HTTP.Res.StatusCode; 502 <= status && status <= 504 {
				return fmt.Errorf("it answers OPTIONS / with %d, as a gateway does that reaches nobody: want any other answer", status)
			}
			return nil
		}); err != nil {
			return fmt.Errorf("--wait-for-target: the target is not ready: %w", err)
		}
	}
	return nil
}

// probe is a request that changes nothing, to the host and in the version of a recorded one:
// OPTIONS /, which RFC 9110 calls safe in section 9.2.1. OPTIONS * would
// ask for less, but Envoy has no route for it, and answers itself.
func probe(of *recording.Exchange) *recording.Exchange {
	e := &recording.Exchange{MsgType: recording.MsgType, Direction: recording.In, L7Protocol: of.L7Protocol, HTTP: &recording.HTTP{}}
	req, was := &e.HTTP.Req, &of.HTTP.Req
	req.Method, req.URL, req.URI, req.Host, req.Version = http.MethodOptions, "/", "/", was.Host, was.Version
	if host := was.Headers.Get("Host"); host != "" {
		req.Headers = recording.Headers{{Name: "Host", Value: host}}
	}
	if of.GRPC != nil {
		req.Version = "2.0"
	}
	e.HTTP.Res.StatusCode = http.StatusOK
	return e
}
