package har

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// fieldsOf converts the fields of a log to those of an exchange. It leaves out the pseudo-headers of
// HTTP/2, which repeat other members, and splits fields that Chromium's protocol joins with line
// feeds.
func fieldsOf(shown recording.Headers) (h recording.Headers) {
	for _, one := range shown {
		switch one.Name {
		case "", ":method", ":path", ":scheme", ":authority", ":status", ":protocol":
			continue
		}
		for line := range strings.SplitSeq(one.Value, "\n") {
			h = append(h, recording.Header{Name: web.Name(one.Name), Value: line})
		}
	}
	return h
}

// isNameless reports whether a field has no name.
func isNameless(shown recording.Headers) bool {
	return slices.ContainsFunc(shown, func(f recording.Header) bool { return f.Name == "" })
}

func httpVersion(text string) string {
	switch strings.ToLower(text) {
	case "http/1.0":
		return "1.0"
	case "http/1.1":
		return "1.1"
	case "http/2", "http/2.0", "h2":
		return "2.0"
	case "http/3", "http/3.0", "h3", "h3-29":
		return "3.0"
	}
	return ""
}

// version returns the HTTP version in HAR's form.
func version(e *recording.Exchange) string {
	return "HTTP/" + cmp.Or(e.HTTP.Req.Version, "1.1")
}
