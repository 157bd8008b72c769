package sidecar

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/tapedeck/tapedeck/proxy"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/read"
	"github.com/tapedeck/tapedeck/recording/spool"
	"github.com/tapedeck/tapedeck/recording/store"
)

// If several ports are captured, each record names the one that was called.
func TestRecordsNameTheirPort(t *testing.T) {
	cfg := config(t)
	second := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "second") }))
	defer second.Close()
	cfg.In = append(cfg.In, proxy.Inbound{App: proxy.App{Host: "127.0.0.1", Port: second.Listener.Addr().(*net.TCPAddr).Port}})
	dir := t.TempDir()
	s := run(t, cfg, spool.Dir(dir))
	for i, addr := range s.InAddrs() {
		resp, err := http.Get(fmt.Sprintf("http://%s/%d", addr, i))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	http.DefaultClient.CloseIdleConnections()
	s.stop()
	if err := s.capture.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	seen := 0
	for e, err := range read.All(t.Context(), read.Options{}, store.Dir(dir)) {
		if err != nil {
			t.Fatal(err)
		}
		seen++
		i, _ := strconv.Atoi(e.Location[1:])
		if got, want := e.Tags.Get(recording.TagReverseProxyPort), strconv.Itoa(cfg.In[i].App.Port); got != want {
			t.Errorf("%s: port %s, want %s", e.Location, got, want)
		}
	}
	if seen != 2 {
		t.Errorf("%d records, want 2", seen)
	}
}
