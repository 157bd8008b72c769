package proxy

import (
	"cmp"
	"encoding/json"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/tapedeck/tapedeck/proxy/address"
	"github.com/tapedeck/tapedeck/proxy/status"
)

// adminPatience bounds how long a client of the admin server may take to read an answer.
const adminPatience = 15 * time.Second

// adminGrace is how long a connection to an admin server may last while others wait. Requests
// take a few milliseconds, and probes time out after a second.
const adminGrace = 100 * time.Millisecond

// adminServer serves /healthz, /metrics, /connections and /status on loopback.
func (p *Proxy) adminServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", p.healthz)
	mux.HandleFunc("GET /connections", p.connections)
	mux.HandleFunc("GET "+status.Path, p.status)
	mux.Handle("GET /metrics", p.metricsHandler())
	return p.server(address.OnLoopback(mux))
}

// scrapeServer serves only /metrics, for scrapers outside the pod.
func (p *Proxy) scrapeServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.metricsHandler())
	return p.server(mux)
}

// server returns a server with short timeouts, so that the answer to a scraper that does not
// read it does not stay in memory.
func (p *Proxy) server(h http.Handler) *http.Server {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: cmp.Or(p.cfg.adminPatience, adminPatience),
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
	}
	srv.SetKeepAlivesEnabled(false) // an idle connection would take one of the few places
	return srv
}

func (p *Proxy) metricsHandler() http.Handler {
	return promhttp.HandlerFor(p.metrics, promhttp.HandlerOpts{})
}

// healthz answers 200 once everything listens, and the trust files and the hosts file
// are written, and 503 while the proxy drains.
func (p *Proxy) healthz(w http.ResponseWriter, _ *http.Request) {
	if p.draining.Load() {
		http.Error(w, "draining", http.StatusServiceUnavailable)
		return
	}
	_, _ = w.Write([]byte("ok\n"))
}

// connections shows the open connections and those of the last five minutes.
func (p *Proxy) connections(w http.ResponseWriter, _ *http.Request) {
	live, ended := p.conns.views()
	writeJSON(w, struct {
		Live, Ended []View
	}{live, ended})
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v)
}
