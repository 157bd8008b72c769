package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/cmd/internal/wrap"
	"github.com/tapedeck/tapedeck/mock"
	"github.com/tapedeck/tapedeck/mock/order"
	"github.com/tapedeck/tapedeck/mock/passthrough"
	"github.com/tapedeck/tapedeck/replay/report"
)

// standIn is a running mock.
type standIn struct {
	*mock.Mock
	lib    *mock.Library
	source mock.Source
	trust  *wrap.CA
	kept   *kept // nil: nothing is recorded
	stop   context.CancelFunc
	done   chan struct{}
	once   sync.Once
}

// start loads the recording and serves it until end is called. wraps means that a command uses the
// mock.
func (f *mockFlags) start(cmd *cobra.Command, place string, wraps bool, log *slog.Logger) (_ *standIn, err error) {
	ctx := cmd.Context()
	o, err := f.options(log, wraps)
	if err != nil {
		return nil, err
	}
	s := &standIn{done: make(chan struct{})}
	if s.trust, err = f.authority(&o); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.free()
		}
	}()
	key, err := f.key()
	if err != nil {
		return nil, err
	}
	if s.lib, s.source, err = f.load(cmd, place, key); err != nil {
		return nil, err
	}
	settle()
	if f.explain {
		o.Explain = cmd.ErrOrStderr()
	}
	if s.kept, err = f.sink(ctx, key); err != nil {
		return nil, err
	}
	if s.kept != nil {
		o.Sink = s.kept
	}
	if s.Mock, err = mock.New(ctx, s.lib, o); err != nil {
		if s.kept != nil {
			_ = s.kept.out.close(ctx) // the run never began
		}
		return nil, takenPort(err, func(port int) string {
			if slices.ContainsFunc(o.Listen, func(a string) bool { return strings.HasSuffix(a, fmt.Sprintf(":%d", port)) }) {
				return "--listen"
			}
			return "--map"
		})
	}
	var serving context.Context
	serving, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(s.done)
		s.Serve(serving)
	}()
	return s, nil
}

// end stops serving. The receipt and the counts stay available.
func (s *standIn) end() {
	s.once.Do(func() {
		s.stop()
		<-s.done
		s.free()
	})
}

func (s *standIn) free() {
	if s.lib != nil {
		s.lib.Close()
	}
	s.trust.Remove()
}

// startMock starts the mock of the recorded dependencies, on a free port of loopback.
func (f *replayFlags) startMock(cmd *cobra.Command, place string) (*standIn, error) {
	mf := mockFlags{
		matchFlags: f.matchFlags, query: f.query, allowIncomplete: f.allowIncomplete, temp: f.temp, tempSize: f.tempSize,
		repeat: string(order.Last), latency: "streams", direction: "out", chosen: func(string) bool { return false },
	}
	log := slog.New(slog.DiscardHandler)
	if f.passthrough != "" {
		mf.passthrough = strings.Split(f.passthrough, ",")
		if _, err := passthrough.New(mf.passthrough, nil, log); err != nil {
			return nil, fmt.Errorf("--mock-passthrough: %w", err)
		}
	}
	s, err := mf.start(cmd, place, true, log)
	if errors.Is(err, mock.ErrEmpty) {
		err = fmt.Errorf("--mock: there is nothing to mock; without dependencies, leave --mock out: %w", err)
	}
	return s, err
}

// maxMisses is the number of misses that a report lists.
const maxMisses = 20

// summary converts a mock's receipt for the report.
func summary(r mock.Receipt) *report.Mock {
	m := &report.Mock{Served: r.Served, Masked: r.Masked, Missed: r.Missed, Passthrough: r.Passthrough, Escaped: r.Escaped, NeverUsed: int64(r.NeverUsed)}
	for _, one := range r.Misses {
		if len(m.Misses) == maxMisses {
			break
		}
		m.Misses = append(m.Misses, report.Miss{Endpoint: strings.TrimSpace(one.Method + " " + one.Host + one.Path), Reason: one.Reason, Count: one.Count})
	}
	return m
}

// app is the application under test.
type app struct {
	args   []string
	cancel context.CancelFunc
	kill   chan struct{}
	ended  chan struct{}
	status wrap.Status
	err    error
}

// startApp starts the application, and sends its calls to the mock if there is one. Its
// output goes to standard error, because the report goes to standard output.
func startApp(cmd *cobra.Command, args []string, dependencies *standIn) *app {
	env := os.Environ()
	if dependencies != nil {
		env = wrap.Environment(dependencies.Addr().Port, dependencies.trust)
	}
	// A signal reaches the application too, but may not end it.
	ctx, cancel := context.WithCancel(context.WithoutCancel(cmd.Context()))
	a := &app{args: args, cancel: cancel, kill: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(a.ended)
		a.status, a.err = wrap.Run(ctx, wrap.Command{Args: args, Stdin: io.LimitReader(cmd.InOrStdin(), 0), Stdout: cmd.ErrOrStderr(), Stderr: cmd.ErrOrStderr(), Env: env, Detached: true, Kill: a.kill}, drainTime)
	}()
	return a
}

// stop ends the application and waits until it has ended. If a signal has ended ctx, a person
// is waiting, so stop kills the application after appKill.
func (a *app) stop(ctx context.Context) {
	a.cancel()
	select {
	case <-ctx.Done():
		select {
		case <-a.ended:
		case <-time.After(appKill):
			close(a.kill)
		}
	case <-a.ended:
	}
	<-a.ended
}

// tellEnd reports that the application has ended early, which explains failed requests.
func (a *app) tellEnd(cmd *cobra.Command) {
	select {
	case <-a.ended:
		if cmd.Context().Err() == nil && a.err == nil {
			fmt.Fprintf(cmd.ErrOrStderr(), "tapedeck: %s ended before the replay did: %s\n", a.args[0], a.status)
		}
	default:
	}
}

// appKill bounds the time that the application takes to end after an interrupt.
const appKill = 500 * time.Millisecond

// appStart bounds the time until the application listens.
const appStart = time.Minute

// isTaken reports whether another process listens on the application's address.
func isTaken(ctx context.Context, target *url.URL) bool {
	conn, err := connect(ctx, target)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// ready waits until the application listens at the target.
func (a *app) ready(ctx context.Context, target *url.URL) error {
	ctx, cancel := context.WithTimeoutCause(ctx, appStart, fmt.Errorf("%s does not listen on %s after %s: want --target with the address that it listens on", a.args[0], target.Host, appStart))
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		conn, err := connect(ctx, target)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-a.ended:
			if a.err != nil {
				return a.err
			}
			return fmt.Errorf("%s ended before it listened on %s: %s", a.args[0], target.Host, a.status)
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

func connect(ctx context.Context, target *url.URL) (net.Conn, error) {
	port := target.Port()
	if port == "" {
		port = "80"
		if slices.Contains([]string{"https", "grpcs"}, target.Scheme) {
			port = "443"
		}
	}
	return (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp", net.JoinHostPort(target.Hostname(), port))
}
