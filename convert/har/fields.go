package har

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// headers takes the fields but for HTTP/2's own, which say again what other members do.
func (p *parser) headers(path string, all recording.Headers) (h recording.Headers) {
	for _, one := range all {
		switch one.Name {
		case ":method", ":path", ":scheme", ":authority", ":status", ":protocol":
			if one.Name == ":authority" && path == "request.headers" {
				p.req.authority = one.Value
			}
			continue
		case "":
			p.losses.Add(path, "a field without a name, not kept")
			continue
		}
		h = append(h, recording.Header{Name: web.Name(one.Name), Value: one.Value})
	}
	return h
}

// splitLines makes a field of each line of a value: browsers join several fields of one name, above
// all Set-Cookie, by line feeds, which no field can have.
func splitLines(all recording.Headers) recording.Headers {
	isJoined := func(f recording.Header) bool { return strings.Contains(f.Value, "\n") }
	if !slices.ContainsFunc(all, isJoined) {
		return all
	}
	var split recording.Headers
	for _, f := range all {
		for line := range strings.Lines(f.Value) {
			split = append(split, recording.Header{Name: f.Name, Value: strings.TrimRight(line, "\r\n")})
		}
		if f.Value == "" {
			split = append(split, f)
		}
	}
	return split
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

// version is HTTP's, as HAR has it.
func version(e *recording.Exchange) string {
	return "HTTP/" + cmp.Or(e.HTTP.Req.Version, "1.1")
}
