package pod

import (
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/check"
)

// A check of a port that answers anything ends, every finding that isn't OK has a fix, and every
// finding fits a line.
func FuzzAnswers(f *testing.F) {
	seed := func(name string) []byte {
		text, err := os.ReadFile(filepath.Join("testdata", name))
		if err != nil {
			f.Fatal(err)
		}
		return text
	}
	f.Add(seed("sidecar.metrics"), seed("sidecar.json"), true)
	f.Add(seed("older.metrics"), []byte("404"), false)
	f.Add([]byte("tapedeck_connections_total{direction=\"IN\"} NaN\ntapedeck_connections_total{direction=\"OUT\"} -1\ntapedeck_sink_up +Inf\n"), []byte(`{"notes": [{}], "sink": {"collector": {"failed": {}}}}`), true)
	f.Add([]byte("# TYPE tapedeck_connections_total histogram\ntapedeck_connections_total_bucket{le=\"1\"} 1\n"), []byte("null"), true)
	f.Add([]byte("tapedeck_connections_total 1\ntapedeck_connections_total{a=\"\xff\"} 2\n"), []byte(`{"time": "9999-12-31T23:59:59Z", "inbound": {}, "outbound": {"failed": {"reason": "unreachable"}}, "tls": {}}`), true)
	f.Fuzz(func(t *testing.T, counters, texts []byte, watched bool) {
		c := &client{base: "http://localhost:4100"}
		m, err := c.sidecars(answer{code: http.StatusOK, kind: "text/plain", text: counters})
		if err != nil {
			if len(err.Error()) > 1<<10 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		for name, samples := range m {
			for _, s := range samples {
				if !(s.value >= 0) || math.IsInf(s.value, 0) {
					t.Errorf("%s is %v", name, s.value)
				}
			}
		}
		s := &seen{observation: observed(m, answer{code: http.StatusOK, text: texts}), at: c.base}
		if watched {
			s.before, s.watched = m, time.Second
		}
		for _, finding := range s.report().Findings {
			if finding.Found == "" || finding.State != check.OK && finding.Fix == "" || len(finding.Found) > 16<<10 {
				t.Errorf("%+v", finding)
			}
		}
	})
}

// A check gives up on a port that never answers, or whose answer never ends.
func TestPatience(t *testing.T) {
	over := make(chan struct{})
	defer close(over)
	for name, begin := range map[string]func(http.ResponseWriter){
		"no answer":         func(http.ResponseWriter) {},
		"an answer to come": func(w http.ResponseWriter) { w.(http.Flusher).Flush() },
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				begin(w)
				select {
				case <-r.Context().Done():
				case <-over:
				}
			}))
			defer server.Close()
			at, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			c, err := newClient(at)
			if err != nil {
				t.Fatal(err)
			}
			c.patience = 50 * time.Millisecond
			if _, err = c.observe(t.Context()); err == nil || !strings.Contains(err.Error(), "no complete answer within 50ms") {
				t.Errorf("found %v", err)
			}
		})
	}
}
