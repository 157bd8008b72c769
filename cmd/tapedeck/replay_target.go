package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/replay/plan"
	"github.com/tapedeck/tapedeck/replay/wire"
)

// baselineURL tells a URL from the name of a file.
func baselineURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	return u, err == nil && u.Scheme != "" && u.Host != ""
}

// targetURL is where requests go: by default, loopback at the port that was captured.
func (f *replayFlags) targetURL(p *plan.Plan) (*url.URL, error) {
	if f.target != "" {
		text := f.target
		if !strings.Contains(text, "://") {
			text = "http://" + text
		}
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("--target: %w", err)
		}
		return u, nil
	}
	e, err := p.Exchange(0)
	if err != nil {
		return nil, err
	}
	port := e.Tags.Get(recording.TagReverseProxyPort)
	if port == "" {
		return nil, errors.New("--target: want a URL such as http://localhost:8080: the recording does not say on which port the requests were captured")
	}
	return &url.URL{Scheme: "http", Host: "localhost:" + port}, nil
}

// client makes a client for a target.
func (f *replayFlags) client(target *url.URL, load replay.Load) (*wire.Client, error) {
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
	var id [8]byte
	_, _ = rand.Read(id[:]) // never fails
	pace := load.Speed
	if load.Users > 0 || load.StagesAreUsers {
		pace = 0
	}
	return wire.New(wire.Options{Target: target, RewriteHost: f.rewriteHost, TLS: config, Timeout: f.timeout, MaxTime: f.maxTime, Run: hex.EncodeToString(id[:]), Pace: pace})
}
