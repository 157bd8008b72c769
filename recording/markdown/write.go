package markdown

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
)

// Append appends an exchange as markdown to dst. [Parse] restores the same exchange: the JSON has the
// values that a section can't show exactly, and values that would be misread have no section.
func Append(dst []byte, e *recording.Exchange) []byte {
	want := e.AppendJSON(nil)
	bare := *e
	if e.HTTP != nil {
		http := *e.HTTP
		http.Req.Headers, http.Req.Body, http.Res.Headers, http.Res.Body = nil, nil, nil, nil
		bare.HTTP = &http
	}
	shown := sections(e)
	for _, text := range [][]byte{
		internalSection(shown, bare.AppendJSON(nil)),
		internalSection(shown, want),
	} {
		if got, losses, err := Parse(bytes.NewReader(text)); err == nil && len(losses) == 0 && bytes.Equal(got.AppendJSON(nil), want) {
			return append(dst, text...)
		}
	}
	return append(dst, internalSection(nil, want)...)
}

func internalSection(before, json []byte) []byte {
	return fmt.Appendf(slices.Clone(before), "### %s ###\n%s\njson: %s\n%[2]s\n", internal, fence, json)
}

// sections returns the sections for people.
func sections(e *recording.Exchange) []byte {
	var b bytes.Buffer
	if h := e.HTTP; h != nil && h.Req.Method != "" {
		scheme := "http"
		if e.IsTLS || e.L7Protocol == recording.HTTPS {
			scheme = "https"
		}
		target := cmp.Or(h.Req.URI, h.Req.URL)
		if host := cmp.Or(h.Req.Host, e.NetworkAddress); strings.HasPrefix(target, "/") && host != "" {
			target = scheme + "://" + host + target
		}
		message(&b, request, fmt.Sprintf("%s %s HTTP/%s", h.Req.Method, target, h.Req.Version), h.Req.Headers, h.Req.Body)
		if h.Res.StatusCode > 0 {
			message(&b, response, fmt.Sprintf("HTTP/%s %s", cmp.Or(h.Req.Version, "1.1"), h.Res.StatusMessage), h.Res.Headers, h.Res.Body)
		}
	}
	if len(e.Signature) > 0 {
		block(&b, signature, func() {
			for _, name := range sortedNames(e.Signature) {
				fmt.Fprintf(&b, "%s is %s\n", name, cmp.Or(string(e.Signature[name]), none))
			}
		})
	}
	block(&b, metadata, func() {
		if e.Direction != "" {
			fmt.Fprintf(&b, "direction: %s\n", e.Direction)
		}
		fmt.Fprintf(&b, "uuid: %s\nts: %s\nduration: %dms\n", e.UUID, e.TS.UTC().Format(time.RFC3339Nano), e.Duration)
		var tags []string
		for _, t := range e.Tags {
			tags = append(tags, escape(t.Name+"="+t.Value))
		}
		if len(tags) > 0 {
			fmt.Fprintf(&b, "tags: %s\n", strings.Join(tags, ", "))
		}
	})
	return b.Bytes()
}

func sortedNames(m map[string][]byte) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func block(b *bytes.Buffer, title string, write func()) {
	fmt.Fprintf(b, "### %s ###\n%s\n", title, fence)
	write()
	fmt.Fprintf(b, "%s\n\n", fence)
}

// message writes the first line and the fields of a message, and its body if that is text.
func message(b *bytes.Buffer, title, first string, headers recording.Headers, body []byte) {
	block(b, title, func() {
		fmt.Fprintln(b, first)
		for i, h := range headers {
			if slices.ContainsFunc(headers[:i], func(other recording.Header) bool { return other.Name == h.Name }) {
				continue
			}
			var values []string
			for _, other := range headers[i:] {
				if other.Name == h.Name {
					values = append(values, escape(other.Value))
				}
			}
			fmt.Fprintf(b, "%s: %s\n", h.Name, strings.Join(values, ", "))
		}
	})
	if len(body) > 0 && utf8.Valid(body) {
		fmt.Fprintf(b, "%s\n%s\n%[1]s\n\n", fence, body)
	}
}

// escape escapes an item for list.
func escape(text string) string {
	return strings.NewReplacer(`\`, `\\`, ",", `\,`).Replace(text)
}
