package main

import (
	"cmp"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/plan"
	"github.com/tapedeck/tapedeck/replay/wire"
)

// targetFlags say where requests go, which certificates they need, and how long they may take.
type targetFlags struct {
	target                                []string
	rewriteHost                           bool
	caFile, serverName, certFile, keyFile string
	timeout, maxTime                      time.Duration
}

func (f *targetFlags) register(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.target, "target", nil, "`URL` to send requests to, or PORT=URL for those captured at a port; may be repeated; the default is the recorded port of localhost")
	fs.BoolVar(&f.rewriteHost, "rewrite-host", false, "send the target's host as Host instead of the recorded one")
	fs.StringVar(&f.caFile, "tls-ca", "", "`file` with the CAs that verify the target's certificate; the default is the system's")
	fs.StringVar(&f.serverName, "tls-server-name", "", "`name` that the target's certificate must have; the default is the target's host")
	fs.StringVar(&f.certFile, "tls-cert", "", "`file` with the client's certificate")
	fs.StringVar(&f.keyFile, "tls-key", "", "`file` with the key of the client's certificate")
	fs.DurationVar(&f.timeout, "timeout", wire.DefaultTimeout, "longest `time` without progress of an answer, and for open answers after --for")
	fs.DurationVar(&f.maxTime, "max-time", wire.DefaultMaxTime, "longest `time` of a request, in addition to the recorded duration")
}

// baselineURL parses a URL, and reports whether text is one and not the name of a file.
func baselineURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	return u, err == nil && u.Scheme != "" && u.Host != ""
}

// targetFlag is a value of --target: a URL for all requests, or for those captured at one port.
type targetFlag struct {
	port string // "": any
	url  *url.URL
}

// maxTargets is the number of targets that a plan can tell apart.
const maxTargets = 255

// parseTargets reads the values of --target. The target for any port comes first.
func parseTargets(values []string) (all []targetFlag, err error) {
	for _, value := range values {
		t, text := targetFlag{}, value
		if port, rest, ok := strings.Cut(value, "="); ok && strings.Trim(port, "0123456789") == "" {
			n, err := strconv.ParseUint(port, 10, 16)
			if err != nil || n == 0 {
				return nil, fmt.Errorf("--target %s: want URL, or PORT=URL with the port at which requests were captured, from 1 to 65535", value)
			}
			t.port, text = strconv.FormatUint(n, 10), rest
		}
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		if t.url, err = url.Parse(text); err != nil {
			return nil, fmt.Errorf("--target: %w", err)
		}
		if slices.ContainsFunc(all, func(other targetFlag) bool { return other.port == t.port }) {
			return nil, fmt.Errorf("--target %s: another --target is for the same requests: want at most one URL, and one PORT=URL for each port", value)
		}
		all = append(all, t)
	}
	if len(all) > maxTargets {
		return nil, fmt.Errorf("--target: it is given %d times; at most %d are allowed", len(all), maxTargets)
	}
	slices.SortStableFunc(all, func(a, b targetFlag) int {
		switch {
		case a.port == "":
			return -1
		case b.port == "":
			return 1
		}
		return 0
	})
	return all, nil
}

// targets maps the ports at which requests were captured to URLs.
type targets struct {
	flags   []targetFlag
	unknown map[string]bool // ports that have no target
}

// number returns the number of an exchange's target. It notes a port that has no target.
func (t *targets) number(e *recording.Exchange) uint8 {
	port := capturedPort(e)
	for i, f := range t.flags {
		if f.port == port {
			return uint8(i)
		}
	}
	if len(t.flags) > 0 && t.flags[0].port != "" {
		t.unknown[port] = true
	}
	return 0
}

func capturedPort(e *recording.Exchange) string { return e.Tags.Get(recording.TagReverseProxyPort) }

// check returns an error if a request of the plan has no target. Without a flag, the target is
// localhost, with the port at which the first request was captured.
func (t *targets) check(p *plan.Plan) error {
	if len(t.unknown) > 0 {
		port := slices.Min(slices.Collect(maps.Keys(t.unknown)))
		return fmt.Errorf("--target: requests captured at port %s have no target: want --target %[1]s=URL, or --target URL for all other ports", cmp.Or(port, "(unknown)"))
	}
	if len(t.flags) > 0 {
		return nil
	}
	e, err := p.Exchange(0)
	if err != nil {
		return err
	}
	port := capturedPort(e)
	if port == "" {
		return errors.New("--target: want a URL such as http://localhost:8080: the recording does not say on which port the requests were captured")
	}
	t.flags = []targetFlag{{url: &url.URL{Scheme: "http", Host: "localhost:" + port}}}
	return nil
}

// String names all targets.
func (t *targets) String() string {
	var all []string
	for _, f := range t.flags {
		text := f.url.String()
		if f.port != "" {
			text = f.port + "=" + text
		}
		all = append(all, text)
	}
	return strings.Join(all, ", ")
}

// client makes a client for a target.
func (f *targetFlags) client(target *url.URL, load replay.Load, run string) (*wire.Client, error) {
	if port := target.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return nil, fmt.Errorf("%s: port %s: want one from 1 to 65535", target.Redacted(), port)
		}
	}
	config := &tls.Config{ServerName: f.serverName, MinVersion: tls.VersionTLS12}
	if f.caFile != "" {
		text, err := os.ReadFile(f.caFile)
		if err != nil {
			return nil, fmt.Errorf("--tls-ca: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("--tls-ca %s: there is no certificate in it; want PEM", f.caFile)
		}
	}
	if f.certFile != "" {
		pair, err := tls.LoadX509KeyPair(f.certFile, f.keyFile)
		if err != nil {
			return nil, fmt.Errorf("--tls-cert: %w", err)
		}
		config.Certificates = []tls.Certificate{pair}
	}
	pace := load.Speed
	if load.Users > 0 || load.StagesAreUsers {
		pace = 0
	}
	return wire.New(wire.Options{Target: target, RewriteHost: f.rewriteHost, TLS: config, Timeout: f.timeout, MaxTime: f.maxTime, Run: run, Pace: pace})
}

// clients makes the clients of all targets and of a baseline. end closes them.
func (f *replayFlags) clients(o *replay.Options, to *targets) (end func(), err error) {
	var all []*wire.Client
	end = func() {
		for _, c := range all {
			c.Close()
		}
	}
	run := f.runID()
	add := func(flag string, u *url.URL) error {
		c, err := f.client(u, o.Load, run)
		if err != nil {
			return fmt.Errorf("%s: %w", flag, err)
		}
		all = append(all, c)
		return nil
	}
	for _, t := range to.flags {
		if err := add("--target", t.url); err != nil {
			return end, err
		}
	}
	o.Target, o.Targets = all[0], all[1:]
	if u, isURL := baselineURL(f.baseline); isURL {
		if err := add("--baseline", u); err != nil {
			return end, err
		}
		o.Baseline = all[len(all)-1]
	}
	return end, nil
}

// runID returns the ID of the run for the header of each request: the last part of --run if it
// is a valid ID, and a random one otherwise.
func (f *replayFlags) runID() string {
	if id := path.Base(f.id); contract.IsReplayID(id) {
		return id
	}
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
