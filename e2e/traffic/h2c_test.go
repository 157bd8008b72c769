package traffic

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/h2c"

	"github.com/tapedeck/tapedeck/recording"
)

// curl and a Go server use HTTP/2 without TLS, with prior knowledge or after HTTP/1.1's Upgrade.
// It is recorded as HTTP/2.
func TestH2C(t *testing.T) {
	curl := program(t, "curl", "curl")
	app := httptest.NewServer(h2c.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Length")
		fmt.Fprintf(w, "%s %s", r.Method, body)
		w.Header().Set("X-Length", fmt.Sprint(len(body)))
	}), &http2.Server{}))
	defer app.Close()
	server := app.Listener.Addr().String()
	for _, way := range []string{recording.In, recording.Out} {
		for _, how := range []string{"--http2-prior-knowledge", "--http2"} {
			t.Run(way+" "+how, func(t *testing.T) {
				s := start(t, server)
				args, target := []string{"-sS", "-m", "20", how}, s.reverse()
				if way == recording.Out {
					args, target = append(args, "--proxytunnel", "-x", "http://"+outTee), s.to(server)
				}
				large := strings.Repeat("large ", 50_000)
				requests := []struct{ path, method, body string }{
					{"/get", "GET", ""}, {"/post", "POST", "some text"}, {"/put", "PUT", large},
				}
				for _, r := range requests {
					args := append(args, "-w", " in HTTP/%{http_version}", "-X", r.method, "http://"+target+r.path)
					if r.body != "" {
						args = append(args, "--data-binary", "@-")
					}
					cmd := exec.CommandContext(t.Context(), curl, args...)
					cmd.Stdin = strings.NewReader(r.body)
					out, err := cmd.CombinedOutput()
					if want := r.method + " " + r.body + " in HTTP/2"; string(out) != want || err != nil {
						t.Errorf("%s: %.100q, %v, want %.100q", r.path, out, err, want)
					}
				}
				recorded := map[string]*recording.Exchange{}
				for _, e := range s.stop() {
					if e.Command != http.MethodConnect {
						recorded[e.Location] = e
					}
				}
				version, upgrade := "2.0", ""
				if how == "--http2" {
					version, upgrade = "1.1", "h2c"
				}
				for _, r := range requests {
					e := recorded[r.path]
					if e == nil {
						t.Errorf("%s is not recorded", r.path)
						continue
					}
					if e.Direction != way || e.Command != r.method || e.Status != "200" || string(e.HTTP.Req.Body) != r.body ||
						string(e.HTTP.Res.Body) != r.method+" "+r.body || e.HTTP.Res.Headers.Get("X-Length") != fmt.Sprint(len(r.body)) {
						t.Errorf("%s %s %s %s: %.40q, answered by %.40q, %v", e.Direction, e.Command, e.Location, e.Status, e.HTTP.Req.Body, e.HTTP.Res.Body, e.HTTP.Res.Headers)
					}
					// The request that asks for the upgrade is one of HTTP/1.1.
					if e.HTTP.Req.Version != version || e.Tags.Get(recording.TagUpgrade) != upgrade || e.Tags.Get(recording.TagIncomplete) != "" {
						t.Errorf("%s: HTTP/%s, tags %v", r.path, e.HTTP.Req.Version, e.Tags)
					}
				}
				if len(recorded) != len(requests) {
					t.Errorf("%d exchanges are recorded", len(recorded))
				}
			})
		}
	}
}
