package sidecar

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/fakedns"
	"github.com/tapedeck/tapedeck/proxy/ca"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
)

// An application is called, and calls another to answer. Both calls are recorded in plaintext, and
// the second names the first as its cause.
func TestACallAndWhatItCaused(t *testing.T) {
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "price of %s", r.URL.Path[1:]) })
	plain, secure := httptest.NewServer(answer), httptest.NewUnstartedServer(answer)
	secure.EnableHTTP2 = true
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	dir := t.TempDir()
	cert, key, err := ca.Generate("test CA", time.Now(), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"tls.crt": cert, "tls.key": key,
		"upstream.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	trust := x509.NewCertPool()
	trust.AppendCertsFromPEM(cert)

	for _, c := range []struct {
		name, proxy, url string
		l7, via          string
	}{
		{"HTTP", "http", plain.URL, recording.HTTP1, "http"},
		{"HTTPS through CONNECT", "http", secure.URL, recording.HTTPS, "connect"},
		{"HTTPS through SOCKS", "socks5", secure.URL, recording.HTTPS, "socks5"},
		{"HTTP through the hosts file", "", "http://prices.db" + strings.TrimPrefix(plain.URL, "http://127.0.0.1"), recording.HTTP1, "hosts-file"},
		{"HTTPS through the hosts file", "", "https://example.com" + strings.TrimPrefix(secure.URL, "https://127.0.0.1"), recording.HTTPS, "hosts-file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out *url.URL
			tr := &http.Transport{
				Proxy:             func(*http.Request) (*url.URL, error) { return out, nil },
				TLSClientConfig:   &tls.Config{RootCAs: trust},
				ForceAttemptHTTP2: true,
			}
			target, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			port, _ := strconv.Atoi(target.Port())
			if c.proxy == "" { // the application's hosts file leads it to the sidecar
				tr.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
					return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.1.1", target.Port()))
				}
			}
			defer tr.CloseIdleConnections()
			app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				q, _ := http.NewRequestWithContext(r.Context(), http.MethodGet, c.url+"/tea", nil)
				q.Header.Set("Traceparent", r.Header.Get("Traceparent"))
				q.Header.Set("Authorization", "Bearer hunter2")
				resp, err := (&http.Client{Transport: tr}).Do(q)
				if err != nil {
					t.Error(err)
					return
				}
				defer resp.Body.Close()
				io.Copy(w, resp.Body)
			}))
			defer app.Close()
			cfg := config(t)
			cfg.Type, cfg.Protocols, cfg.Forward = "dual", "tcp:http", true
			cfg.TLSOut, cfg.CADir, cfg.UpstreamCA = true, dir, filepath.Join(dir, "upstream.pem")
			fmt.Sscanf(app.URL, "http://127.0.0.1:%d", &cfg.In[0].App.Port)
			if c.proxy == "" {
				cfg.Hosts = []contract.CaptureHost{{Name: target.Hostname(), Ports: []int{port}}}
				fakedns.Use(t, map[string]string{target.Hostname(): "127.0.0.1"})
				cfg.Identity.Pod = target.Hostname() // which may lead to loopback
			}
			kept := t.TempDir()
			s := run(t, cfg, spool.Dir(kept))
			if c.proxy != "" {
				out = &url.URL{Scheme: c.proxy, Host: s.OutAddr().String()}
			}

			q, _ := http.NewRequest(http.MethodGet, fmt.Sprintf("http://%s/cart", s.InAddr()), nil)
			q.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
			q.Header.Set("X-Forwarded-Client-Cert", "By=spiffe://cluster.local/ns/shop/sa/cart;URI=spiffe://cluster.local/ns/shop/sa/web")
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 20 * time.Second}
			resp, err := client.Do(q)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if string(body) != "price of tea" {
				t.Errorf("the client got %q", body)
			}
			tr.CloseIdleConnections()
			s.stop()
			if err := s.capture.Close(t.Context()); err != nil {
				t.Fatal(err)
			}

			byDirection := map[string]*recording.Exchange{}
			for e, err := range read.All(t.Context(), read.Options{}, store.Dir(kept)) {
				if err != nil {
					t.Fatal(err)
				}
				if e.Command == http.MethodConnect {
					continue
				}
				x := *e
				byDirection[e.Direction] = &x
				for _, h := range e.HTTP.Req.Headers {
					if strings.Contains(fmt.Sprint(h), "hunter2") {
						t.Errorf("a secret is kept: %v", h)
					}
				}
			}
			in, call := byDirection[recording.In], byDirection[recording.Out]
			if in == nil || call == nil {
				t.Fatalf("recorded: %v", byDirection)
			}
			if in.Location != "/cart" || in.Status != "200" || in.Tags.Get(recording.TagPeer) != "spiffe://cluster.local/ns/shop/sa/web" {
				t.Errorf("the call: %+v", in)
			}
			if call.Location != "/tea" || string(call.HTTP.Res.Body) != "price of tea" || call.L7Protocol != c.l7 || call.IsTLS != strings.HasPrefix(c.url, "https") ||
				call.Tags.Get(recording.TagVia) != c.via || call.Tags.Get(recording.TagParent) != in.UUID.String() || call.Tags.Get(recording.TagParentBy) != "traceparent" {
				t.Errorf("what it caused: %+v", call)
			}
		})
	}
}

// Each outbound call names the inbound one that caused it, however many concurrent calls there are
// on long-lived connections.
func TestEveryCallOfABusySidecarNamesItsCause(t *testing.T) {
	const clients, calls = 8, 250
	dependency := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(dependency.Close)
	var out *url.URL
	tr := &http.Transport{MaxIdleConnsPerHost: clients, Proxy: func(*http.Request) (*url.URL, error) { return out, nil }}
	defer tr.CloseIdleConnections()
	ask := func(tr *http.Transport, url, trace string) error {
		q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		q.Header.Set("Traceparent", trace)
		resp, err := tr.RoundTrip(q)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, resp.Body)
		return errors.Join(err, resp.Body.Close())
	}
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := ask(tr, dependency.URL, r.Header.Get("Traceparent")); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(app.Close)
	cfg := config(t)
	cfg.Type, cfg.Protocols, cfg.Forward = "dual", "tcp:http", true
	fmt.Sscanf(app.URL, "http://127.0.0.1:%d", &cfg.In[0].App.Port)
	dir := t.TempDir()
	s := run(t, cfg, spool.Dir(dir))
	out = &url.URL{Scheme: "http", Host: s.OutAddr().String()}

	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			tr := &http.Transport{}
			defer tr.CloseIdleConnections()
			for j := range calls {
				trace := fmt.Sprintf("00-%016x%016x-b7ad6b7169203331-01", i+1, j+1)
				if err := ask(tr, fmt.Sprintf("http://%s/", s.InAddr()), trace); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	tr.CloseIdleConnections()
	s.stop()
	if err := s.capture.Close(t.Context()); err != nil {
		t.Fatal(err)
	}

	causes := map[string]string{} // by trace: the uuid of what came in
	var outbound []*recording.Exchange
	for e, err := range read.All(t.Context(), read.Options{}, store.Dir(dir)) {
		switch {
		case err != nil:
			t.Fatal(err)
		case e.Direction == recording.In:
			causes[e.HTTP.Req.Headers.Get("Traceparent")] = e.UUID.String()
		default:
			x := *e
			outbound = append(outbound, &x)
		}
	}
	if len(causes) != clients*calls || len(outbound) != clients*calls {
		t.Fatalf("recorded %d traces that came in and %d calls, want %d of each", len(causes), len(outbound), clients*calls)
	}
	for _, call := range outbound {
		if want, got := causes[call.HTTP.Req.Headers.Get("Traceparent")], call.Tags.Get(recording.TagParent); got != want {
			t.Errorf("a call is caused by %q, want %q", got, want)
		}
	}
}
