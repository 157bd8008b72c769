package address

import (
	"net/http"
	"net/netip"
)

// OnLoopback serves only requests whose Host is loopback, as those of probes, curl and kubectl
// port-forward are. Otherwise a web page whose own name resolves to loopback could read what
// such a port serves (DNS rebinding).
func OnLoopback(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := HostOf(r.Host)
		addr, err := netip.ParseAddr(host)
		switch {
		case r.Host == "": // HTTP/1.0, which browsers don't send
		case IsLocalhost(host):
		case err == nil && addr.Unmap().IsLoopback():
		default:
			http.Error(w, "this port answers only requests whose Host is localhost, 127.0.0.1 or [::1]", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
