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

// envoy is the Envoy of this pod. Istio's agent answers for it.
type envoy struct {
	ready, quit string // addresses
	client      *http.Client
	// seen means that Envoy listens, and absent that it does not.
	seen, absent bool
}

const (
	// envoyLook is how long --envoy auto waits for an Envoy to listen.
	envoyLook = 3 * time.Second
	// envoyEnd is how long the replay tries to end it.
	envoyEnd = 10 * time.Second
)

func newEnvoy() *envoy {
	return &envoy{ready: "127.0.0.1:15021", quit: "127.0.0.1:15020", client: directClient()}
}

// directClient returns a client that uses no proxy, whatever the environment says, follows no
// redirects and keeps no connections.
func directClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{DisableKeepAlives: true},
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// await waits until Envoy is ready. Until then this pod has no network.
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

// end ends Envoy, because the pod of a Job with a classic sidecar would never end. A replay that
// failed before it waited for Envoy looks for it now.
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

// every calls try until it succeeds or the context ends. It returns the last error that says
// more than that the time is up.
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

// ask sends a request, and wants an answer with status 200. It decodes the answer into v unless
// v is nil.
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
		err = fmt.Errorf("%s %s: the answer has more than %d bytes, the limit", method, at, maxReceipt)
	case v != nil:
		err = json.Unmarshal(body, v)
	}
	return err
}

// responder is the mock that stands in for the target's dependencies.
type responder struct {
	url    *url.URL
	client *http.Client
	// patience bounds the retries of a request.
	patience time.Duration
	// replayed is the recording that the replay sends.
	replayed mock.Source
}

// maxPatience bounds the retries of requests to a responder that was ready.
const maxPatience = 30 * time.Second

func (r *responder) at(path string) string { return strings.TrimSuffix(r.url.String(), "/") + path }

// await waits until the responder has loaded its recording, and checks which one that is.
func (r *responder) await(ctx context.Context) error {
	if err := every(ctx, time.Second, func(ctx context.Context) error { return ask(ctx, r.client, http.MethodGet, r.at("/healthz"), nil) }); err != nil {
		return fmt.Errorf("--responder: it is not ready: %w", err)
	}
	_, err := r.receipt(ctx)
	return err
}

// receipt returns the current receipt.
func (r *responder) receipt(ctx context.Context) (c mock.Receipt, err error) {
	return r.tried(ctx, http.MethodGet, "/receipt")
}

// reset resets the responder, and returns its receipt up to then.
func (r *responder) reset(ctx context.Context) (c mock.Receipt, err error) {
	return r.tried(ctx, http.MethodPost, "/reset")
}

// tried asks for a receipt, and retries because a connection may break.
func (r *responder) tried(ctx context.Context, method, path string) (c mock.Receipt, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.patience)
	defer cancel()
	err = every(ctx, time.Second, func(ctx context.Context) error {
		c = mock.Receipt{} // drop the fields of an earlier attempt
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

// check returns an error if a receipt names no recording, or another one than the snapshot that
// is replayed. It compares only snapshots, because another place has a different hash for each
// direction.
func (r *responder) check(answers mock.Source) error {
	if sum, err := hex.DecodeString(answers.SHA256); err != nil || len(sum) != sha256.Size {
		return fmt.Errorf("%s is not a responder: its receipt names no recording with a SHA-256; want the admin port of tapedeck mock", r.url)
	}
	if pin := "@sha256:" + r.replayed.SHA256; strings.Contains(r.replayed.Place, pin) && answers.SHA256 != r.replayed.SHA256 {
		return fmt.Errorf("it answers from another recording than the snapshot that is replayed: %.300q (sha256:%s), want %s; start it with that snapshot", answers.Place, answers.SHA256, r.replayed.Place)
	}
	return nil
}

// awaitTargets waits until each target answers a request. Statuses 502 to 504 don't count, since
// a gateway answers with them for a target that does not listen yet.
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
				return fmt.Errorf("it answers OPTIONS / with %d, like a gateway that can't reach its upstream: want a status other than 502, 503 and 504", status)
			}
			return nil
		}); err != nil {
			return fmt.Errorf("--wait-for-target: the target is not ready: %w", err)
		}
	}
	return nil
}

// probe returns a request that changes nothing, with the host and the version of a recorded one:
// OPTIONS /, which RFC 9110 calls safe in section 9.2.1. It is not OPTIONS *, because Envoy has
// no route for that, and answers itself.
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
