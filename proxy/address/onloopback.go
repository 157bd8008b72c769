package address

import (
	"net/http"
	"net/netip"
)

// OnLoopback serves requests for loopback alone, which is what probes, curl and kubectl
// port-forward ask for. A web page that has its own name lead to loopback would otherwise
// read what such a port shows (DNS rebinding).
func OnLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := HostOf(r.Host)
		addr, err := netip.ParseAddr(host)
		switch {
		case r.Host == "": // HTTP/1.0; no browser's
		case IsLocalhost(host):
		case err == nil && addr.Unmap().IsLoopback():
		default:
			http.Error(w, "this port answers requests for localhost, 127.0.0.1 and [::1] alone: the Host of this one is another", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
