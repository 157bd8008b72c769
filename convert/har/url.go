package har

import (
	"cmp"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// noHost replaces an unknown host, and one that is not valid in a URL. RFC 6761 reserves the domain
// invalid for such uses.
const noHost = "unknown.invalid"

// address returns the URL of an exchange for an entry, or "" if the exchange is not an HTTP request
// with a URL. If its host is not valid in a URL, address replaces it with noHost and returns it in
// bad, because Firefox rejects a whole log for one URL that it can't parse.
func address(e *recording.Exchange) (url, bad string) {
	if url = web.URL(e); url == "" {
		return addressless(e), ""
	}
	scheme, _, host, target, _ := web.SplitURL(url)
	if isHost(host) {
		return url, ""
	}
	return scheme + "://" + noHost + target, host
}

// addressless makes a URL for a request without one: a CONNECT, which names only a host, or a
// request whose host is unknown.
func addressless(e *recording.Exchange) string {
	if e.HTTP == nil {
		return ""
	}
	q := &e.HTTP.Req
	target := cmp.Or(q.URI, q.URL, e.Location)
	switch {
	case target == "":
		return ""
	case q.Method == "CONNECT" && isHost(target):
		return "http://" + target
	case q.Method == "CONNECT" || target == "*":
		target = ""
	case !strings.HasPrefix(target, "/"):
		target = "/" + target
	}
	return "http://" + noHost + target
}

// isHost reports whether a host, which may have a port, is valid by WHATWG's URL Standard. It is
// stricter than that: it rejects percent-encoded hosts, and addresses such as 1.2 and 0x7f.1.
func isHost(host string) bool {
	name, port, _ := strings.Cut(host, ":")
	if strings.HasPrefix(host, "[") {
		var ok bool
		if name, port, ok = strings.Cut(host[1:], "]"); !ok {
			return false
		}
		if addr, err := netip.ParseAddr(name); err != nil || !addr.Is6() || addr.Zone() != "" {
			return false
		}
		if port, ok = strings.CutPrefix(port, ":"); !ok && port != "" {
			return false
		}
	} else if !isDomain(name) {
		return false
	}
	_, err := strconv.ParseUint(port, 10, 16)
	return port == "" || err == nil
}

// isDomain reports whether a text is a domain or an IPv4 address.
func isDomain(name string) bool {
	isOdd := func(c rune) bool { return c <= ' ' || c == 0x7f || strings.ContainsRune("#/:<>?@[\\]^|%", c) }
	plain := strings.TrimSuffix(name, ".")
	if plain == "" || strings.ContainsFunc(name, isOdd) {
		return false
	}
	last := plain[strings.LastIndexByte(plain, '.')+1:]
	if strings.Trim(last, "0123456789") == "" || strings.HasPrefix(strings.ToLower(last), "0x") {
		addr, err := netip.ParseAddr(plain)
		return err == nil && addr.Is4()
	}
	isForeign := strings.ContainsFunc(name, func(c rune) bool { return c > unicode.MaxASCII })
	if !isForeign && !strings.Contains(strings.ToLower(name), "xn--") {
		return true
	}
	ascii, err := idna.Lookup.ToASCII(plain)
	return err == nil && utf8.ValidString(name) && !strings.Contains("."+strings.ToLower(plain)+"."+ascii+".", ".xn--.")
}

// splitURL splits the request's URL. For schemes other than HTTP's the error is a
// [recording.LeftOutError], because browsers also list what they load from extensions and from the
// page itself.
func (p *parser) splitURL(n int) (scheme, userinfo, host, target string, err error) {
	url := p.req.url
	if p.req.method == "CONNECT" && !strings.Contains(url, "://") { // CONNECT names a host and a port
		url = "http://" + url
	}
	scheme, userinfo, host, target, ok := web.SplitURL(url)
	if p.req.method == "CONNECT" {
		target = web.Address(scheme, host)
	}
	if ok && isHTTP(scheme) {
		return scheme, userinfo, host, target, nil
	}
	before, _, _ := strings.Cut(url, ":")
	if before = strings.ToLower(before); !isHTTP(before) && (ok || isLocal(before)) {
		return "", "", "", "", &recording.LeftOutError{Where: fmt.Sprintf("entry %d", n), What: fmt.Sprintf("request.url has the scheme %.20s, which is not HTTP", before)}
	}
	return "", "", "", "", fmt.Errorf("request.url is %.60q, want an absolute URL", p.req.url)
}

// isHTTP reports whether requests for a scheme use HTTP.
func isHTTP(scheme string) bool {
	switch scheme {
	case "http", "https", "ws", "wss":
		return true
	}
	return false
}

// isLocal reports whether URLs of a scheme need no host, because no request is sent for them.
func isLocal(scheme string) bool {
	switch scheme {
	case "about", "blob", "data", "file", "filesystem", "javascript":
		return true
	}
	return false
}
