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

// noHost stands for a host that no URL can have, and for one that nobody knows: RFC 6761 keeps its
// domain for that.
const noHost = "unknown.invalid"

// address is the URL of an exchange as an entry has it, "" if there is no request of HTTP with a
// URL. bad is the host, if the URL can't have it, and noHost stands for it: Firefox refuses all of
// a log for one URL that it can't parse.
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

// addressless is the URL of a request that has none of its own: a CONNECT, which names a host alone,
// and one whose host is not known.
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

// isHost tells whether a URL can have a host, perhaps with a port, by the URL Standard of WHATWG.
// It is stricter in what nobody writes: percent-encoded hosts, and addresses such as 1.2 and 0x7f.1.
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

// isDomain tells whether a text is a domain, or an address of IPv4.
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

// splitURL splits the request's URL. One of another protocol than HTTP is a
// [recording.LeftOutError]: browsers list what they load from extensions and from the page itself, too.
func (p *parser) splitURL(n int) (scheme, userinfo, host, target string, err error) {
	url := p.req.url
	if p.req.method == "CONNECT" && !strings.Contains(url, "://") { // which names a host and a port
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
		return "", "", "", "", &recording.LeftOutError{Where: fmt.Sprintf("entry %d", n), What: fmt.Sprintf("request.url has the scheme %.20s, which is none of HTTP", before)}
	}
	return "", "", "", "", fmt.Errorf("request.url is %.60q, want a whole URL", p.req.url)
}

// isHTTP tells whether requests of a URL's scheme are those of HTTP.
func isHTTP(scheme string) bool {
	switch scheme {
	case "http", "https", "ws", "wss":
		return true
	}
	return false
}

// isLocal tells whether a URL of the scheme needs no host, as nothing is sent for it.
func isLocal(scheme string) bool {
	switch scheme {
	case "about", "blob", "data", "file", "filesystem", "javascript":
		return true
	}
	return false
}
