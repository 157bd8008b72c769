package sidecar

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A wait for a URL succeeds once it answers with 200. Otherwise the error has the last answer.
func TestWaitForAURL(t *testing.T) {
	var asked atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/moved":
			http.Redirect(w, r, "/ready", http.StatusFound)
		case r.URL.Path == "/loading" && asked.Add(1) < 3:
			http.Error(w, "loading", http.StatusServiceUnavailable)
		case r.URL.Path == "/never":
			http.Error(w, "still loading", http.StatusServiceUnavailable)
		}
	}))
	defer srv.Close()
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1") // it is asked directly
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	for _, c := range []struct {
		name, url string
		patience  time.Duration
		fails     string // "": it is healthy
	}{
		{"it is ready", srv.URL + "/ready", 0, ""},
		{"it becomes ready", srv.URL + "/loading", time.Minute, ""},
		{"it is asked once", srv.URL + "/never", 0, "503 Service Unavailable: still loading"},
		{"it never is", srv.URL + "/never", 150 * time.Millisecond, "not healthy after 150ms: "},
		{"a redirect does not count", srv.URL + "/moved", 0, "302 Found"},
		{"nobody listens", "http://" + gone.Addr().String(), 0, "connect: connection refused"},
		{"a path", "/healthz", 0, `"/healthz": it is not a URL to ask for health: want http:// or https:// with a host and without a user, such as http://127.0.0.1:4141/healthz`},
		{"another scheme", "file:///etc/passwd", 0, "is not a URL to ask for health"},
		{"a user", "http://me:hunter2@" + gone.Addr().String() + "/healthz", 0, "it is not a URL to ask for health"},
		{"no host", "http://:4141/healthz", 0, "is not a URL to ask for health"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := WaitFor(t.Context(), c.patience, c.url)
			if strings.Contains(fmt.Sprint(err), "hunter2") {
				t.Errorf("the error shows the password: %v", err)
			}
			if fmt.Sprint(err) != "<nil>" && c.fails == "" || c.fails != "" && !strings.Contains(fmt.Sprint(err), c.fails) {
				t.Errorf("%v, want %q", err, c.fails)
			}
		})
	}
}
