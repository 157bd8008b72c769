package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A client on the network can't change the fault rules, unless --admin-faults allows it.
// A web page can't do so over loopback, even if its name leads there.
func TestWhoMayChangeFaults(t *testing.T) {
	for _, c := range []struct {
		name, address, host string
		anybody             bool
		status              int
	}{
		{"over loopback", "127.0.0.1", "localhost:4141", false, http.StatusNoContent},
		{"over IPv6's", "::1", "[::1]:4141", false, http.StatusNoContent},
		{"a page with its own host name", "127.0.0.1", "rebind.example:4141", false, http.StatusForbidden},
		{"over the network", "10.1.2.3", "mock.shop:4141", false, http.StatusForbidden},
		{"over the network, saying otherwise", "10.1.2.3", "localhost:4141", false, http.StatusForbidden},
		{"over the network, if that is wanted", "10.1.2.3", "mock.shop:4141", true, http.StatusNoContent},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := mockFlags{adminFaults: c.anybody}
			h := f.mayChangeFaults(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
			r := httptest.NewRequest(http.MethodPut, "/faults", nil)
			r.Host = c.host
			r = r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, &net.TCPAddr{IP: net.ParseIP(c.address), Port: 4141}))
			w := httptest.NewRecorder()
			if h.ServeHTTP(w, r); w.Code != c.status {
				t.Errorf("%d %s, want %d", w.Code, w.Body, c.status)
			}
		})
	}
}
