package har

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"mime"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/coding"
)

// bodies sets the bodies of the exchange.
func (p *parser) bodies() {
	e := p.e
	e.HTTP.Req.Body = p.body("request.postData", p.req.text, p.req.encoding, cmp.Or(e.HTTP.Req.Headers.Get("Content-Type"), p.req.mime))
	e.HTTP.Res.Body = p.body("response.content", p.res.text, p.res.encoding, cmp.Or(e.HTTP.Res.ContentType, p.res.mime))
	p.params()
	if p.own == nil && len(e.HTTP.Req.Body) == 0 {
		p.missing()
	}
	if p.res.text == nil && p.res.size > 0 && e.HTTP.Res.StatusCode > 0 && e.Response().Framing() != recording.FramingNone {
		p.losses.Add("response.content.text", fmt.Sprintf("a body of %.0f bytes is not in the file", p.res.size))
		e.Tags.Set(recording.TagTruncated, "true")
		e.Tags.Set(recording.TagResponseBodySize, strconv.FormatInt(int64(p.res.size), 10))
	}
	decoded := ""
	for _, side := range []struct {
		name string
		half recording.Half
	}{{"request", e.Request()}, {"response", e.Response()}} {
		codings := side.half.Codings()
		if len(codings) == 0 || len(side.half.Body) == 0 {
			continue
		}
		outer := codings[len(codings)-1]
		if (outer == "gzip" || outer == "zstd") && coding.Applied(outer, side.half.Body) {
			continue // the body is still encoded
		}
		if decoded == "" {
			decoded = side.name
		} else {
			decoded = "true"
		}
	}
	if decoded != "" {
		e.Tags.Set(recording.TagDecoded, decoded)
	}
}

// body decodes a text. Some exporters declare base64 although the text is not.
func (p *parser) body(path string, text *string, encoding, mimeType string) []byte {
	if text == nil || *text == "" {
		return nil
	}
	if encoding == "" && p.own == nil && strings.ContainsFunc(*text, func(c rune) bool { return c > unicode.MaxASCII }) {
		if _, params, _ := mime.ParseMediaType(mimeType); params["charset"] != "" && !strings.EqualFold(params["charset"], "utf-8") {
			p.losses.Add(path+".text", fmt.Sprintf("is in UTF-8, as HAR demands, and was in %.20q", params["charset"]))
		}
	}
	switch strings.ToLower(encoding) {
	case "":
	case "base64":
		if body, err := base64.StdEncoding.DecodeString(*text); err == nil {
			return body
		}
		p.losses.Add(path+".encoding", "says base64, but the text is not base64; it is kept unchanged")
	default:
		p.losses.Add(path+".encoding", fmt.Sprintf("%.20q is unknown; the text is kept unchanged", encoding))
	}
	return []byte(*text)
}

// shown is a body in an entry.
type shown struct {
	text, encoding string
	size           int  // of the decoded body
	exact          bool // the body was not decoded
}

// show converts a body to text: it removes its codings, and uses base64 for binary bodies.
func show(h recording.Half) shown {
	body, exact := h.Body, true
	if len(body) > 0 && len(h.Codings()) > 0 && !h.Decoded() {
		if plain, err := h.Decode(nil, nil, web.MaxBody); err == nil {
			body, exact = plain, false
		}
	}
	if utf8.Valid(body) {
		return shown{string(body), "", len(body), exact}
	}
	return shown{base64.StdEncoding.EncodeToString(body), "base64", len(body), exact}
}

// size returns the size of a body on the wire; -1 if it is unknown.
func size(h recording.Half) int64 {
	if h.Decoded() {
		return -1
	}
	return h.Size()
}
