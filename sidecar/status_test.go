package sidecar

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/proxy/status"
	"github.com/tapedeck/tapedeck/recording/spool"
)

// statusOf reads a sidecar's status.
func statusOf(t *testing.T, s *sidecar) (said status.Status) {
	t.Helper()
	if err := json.Unmarshal(ask(t, s, status.Path), &said); err != nil {
		t.Fatal(err)
	}
	return said
}

// The status says where the sidecar sends recordings, why the collector accepted none, and that it
// has accepted one once it works.
func TestStatusOfTheCollector(t *testing.T) {
	dir := t.TempDir()
	good, token, _ := newCollector(t, dir)
	var works http.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	mended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-mended:
			good.ServeHTTP(w, r)
		default:
			works.ServeHTTP(w, r)
		}
	}))
	defer server.Close()
	cfg := shippingConfig(t, dir, server.URL, token)
	s := runShipping(t, cfg, 4<<10)
	s.send(t, 8, 2<<10, true)
	eventually(t, "a failure is known", func() bool { return statusOf(t, s).Sink.Collector.Failed != nil })
	said := statusOf(t, s)
	if said.Version != "test" || said.Pod != "shop/cart-0" || said.Sink.Directory != cfg.Sink || said.Sink.Error != "" || said.Sink.Collector.URL != server.URL || !said.Sink.Collector.Stored.IsZero() {
		t.Errorf("while it fails: %+v, %+v", said, said.Sink)
	}
	if f := said.Sink.Collector.Failed; f.Reason != "unexpected_answer" || !strings.Contains(f.Error, "502") {
		t.Errorf("the failure: %+v", f)
	}
	close(mended)
	eventually(t, "a segment is stored", func() bool { return !statusOf(t, s).Sink.Collector.Stored.IsZero() })
	secret, err := os.ReadFile(token)
	if err != nil {
		t.Fatal(err)
	}
	if text := string(ask(t, s, status.Path)); strings.Contains(text, strings.TrimSpace(string(secret))) {
		t.Errorf("the token is in %s", text)
	}
	s.stop()
	if err := s.capture.Close(t.Context()); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s.capture.closeShipper(ctx)
}

// The status reports the error of the directory, and counts exchanges by their direction.
func TestStatusOfADirectoryThatCantBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := config(t)
	cfg.Sink = filepath.Join(file, "recordings")
	s := run(t, cfg, spool.Dir(cfg.Sink))
	defer func() {
		s.stop()
		if err := s.capture.Close(t.Context()); err == nil {
			t.Error("the recording is closed in order")
		}
	}()
	s.send(t, 3, 100, false)
	eventually(t, "the failure is known", func() bool { return strings.Contains(statusOf(t, s).Sink.Error, "not a directory") })
	if said := statusOf(t, s).Sink; said.Collector != nil || said.Directory != cfg.Sink {
		t.Errorf("found %+v", said)
	}
	eventually(t, "all are counted", func() bool {
		return strings.Contains(string(ask(t, s, "/metrics")), `tapedeck_exchanges_by_direction_total{direction="IN"} 3`)
	})
}
