package proxy

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// adminServer serves /healthz, /metrics and /connections on loopback.
func (p *Proxy) adminServer() *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", p.healthz)
	mux.HandleFunc("GET /connections", p.connections)
	mux.Handle("GET /metrics", p.metricsHandler())
	return server(mux)
}

// scrapeServer serves /metrics alone, for who comes from outside the pod.
func (p *Proxy) scrapeServer() *http.Server {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", p.metricsHandler())
	return server(mux)
}

func server(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
}

func (p *Proxy) metricsHandler() http.Handler {
	return promhttp.HandlerFor(p.metrics, promhttp.HandlerOpts{})
}

// healthz answers 200 once everything listens and the trust files are written,
// and 503 while the proxy drains.
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
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(struct {
		Live, Ended []View
	}{live, ended})
}
