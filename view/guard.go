package view

import (
	"net"
	"net/http"
	"net/netip"
	"path"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// policy is the default Content-Security-Policy of pages.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// headers are the headers of every answer.
var headers = [][2]string{
	{"Content-Security-Policy", policy},
	{"Cross-Origin-Opener-Policy", "same-origin"},
	{"Cross-Origin-Resource-Policy", "same-origin"},
	{"Referrer-Policy", "no-referrer"},
	{"X-Content-Type-Options", "nosniff"},
	{"X-Frame-Options", "DENY"},
	{"Permissions-Policy", "camera=(), geolocation=(), microphone=(), clipboard-write=(self)"},
	{"Cache-Control", "no-store"},
}

// Bounds of a request.
const (
	maxTarget = 16 << 10
	pageTime  = time.Minute
)

// guard rejects requests that neither people nor the pages themselves make.
//
// A page of another site can make a browser send requests to this server. If the site's name
// resolves to loopback, the page could even read the answers (DNS rebinding), so guard checks the
// Host. Other sites can also use the server's own name; Sec-Fetch-Site and Origin show that.
func (s *Server) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, h := range headers {
			w.Header().Set(h[0], h[1])
		}
		defer func() {
			switch p := recover(); p {
			case nil:
			case http.ErrAbortHandler:
				panic(p) // net/http expects this
			default:
				s.log.Error("a page failed", "path", r.URL.Path, "panic", p, "stack", string(debug.Stack()))
				s.fail(w, r, &pageError{http.StatusInternalServerError, "an internal error of Tapedeck; standard error has the details"})
			}
		}()
		if err := s.allow(r); err != nil {
			s.fail(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// allow returns an error if the server must reject a request.
func (s *Server) allow(r *http.Request) error {
	local, _ := r.Context().Value(http.LocalAddrContextKey).(net.Addr)
	switch {
	case r.URL.Scheme != "" || r.URL.Host != "" || r.URL.User != nil:
		return &pageError{http.StatusBadRequest, "the request has a URL instead of a path, but this server is not a proxy"}
	case !isHost(r.Host, local):
		return &pageError{http.StatusMisdirectedRequest, "the address has another host or port: want localhost, 127.0.0.1 or [::1], with the port of this server"}
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		return &pageError{http.StatusMethodNotAllowed, "the pages only read: want GET or HEAD"}
	case len(r.RequestURI) > maxTarget:
		return &pageError{http.StatusRequestURITooLong, "the address is longer than 16 KiB"}
	case r.Header["Origin"] != nil && (len(r.Header["Origin"]) > 1 || !strings.EqualFold(r.Header["Origin"][0], "http://"+r.Host)):
		return &pageError{http.StatusForbidden, "the request comes from a page of another origin"}
	case foreign(r) && !isVisit(r):
		return &pageError{http.StatusForbidden, "the request comes from a page of another site"}
	case r.URL.Path != cleaned(r.URL.Path) || strings.Contains(r.URL.EscapedPath(), "%"):
		return notFound("there is no page %s", r.URL.Path)
	case foreign(r) && r.URL.RawQuery != "":
		return visitError{r.URL.RequestURI()}
	}
	return nil
}

// visitError is the error for a link of another site that searches. A person must confirm it by
// following the link on the error page. Otherwise the site could start any number of searches, and
// learn from their duration what is recorded.
type visitError struct{ url string }

func (visitError) Error() string { return "a page of another site links to this search" }

// cleaned returns a path without empty segments and dots.
func cleaned(p string) string {
	c := path.Clean(p)
	if strings.HasSuffix(p, "/") && c != "/" {
		c += "/"
	}
	return c
}

// isHost reports whether a Host names loopback, with the port of the connection. Without a
// connection, as in a test, local is nil and any port is allowed.
func isHost(host string, local net.Addr) bool {
	name, port, err := net.SplitHostPort(host)
	if err != nil {
		name, port = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]"), "80"
	}
	if tcp, ok := local.(*net.TCPAddr); ok && port != strconv.Itoa(tcp.Port) {
		return false
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	ip, err := netip.ParseAddr(name)
	return err == nil && ip.Zone() == "" && ip.IsLoopback()
}

// foreign reports whether the browser says that the request comes from a page of another site.
func foreign(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
		return false
	}
	return true
}

// isVisit reports whether a person followed a link, as opposed to a frame or a script.
func isVisit(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Mode") == "navigate" && r.Header.Get("Sec-Fetch-Dest") == "document"
}
