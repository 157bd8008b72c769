package har

import (
	"fmt"
	"strings"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// address splits the request's URL. One of another protocol than HTTP is a
// [recording.LeftOutError]: browsers list what they load from extensions and from the page itself, too.
func (p *parser) address(n int) (scheme, userinfo, host, target string, err error) {
	scheme, userinfo, host, target, ok := web.SplitURL(p.req.url)
	if ok && isHTTP(scheme) {
		return scheme, userinfo, host, target, nil
	}
	before, _, _ := strings.Cut(p.req.url, ":")
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
