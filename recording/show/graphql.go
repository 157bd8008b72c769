package show

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
)

// graphQL shows the document of a request as text, and its other members as JSON. Each request in a list
// gets its own part.
func (b *builder) graphQL(c content, body *Body) error {
	if text := bytes.TrimSpace(c.bytes); len(text) > 0 && text[0] == '[' && c.depth == 0 {
		n := 0
		return recording.EachElement(text, b.o.MaxFields, func(element []byte) error {
			n++
			inner := &Body{Kind: GraphQL, Size: int64(len(element)), Stored: int64(len(element)), Decoded: int64(len(element))}
			body.Parts = append(body.Parts, Part{Title: fmt.Sprintf("request %d", n), Body: inner})
			return b.graphQL(content{bytes: element, depth: 1}, inner)
		})
	}
	return recording.EachMember(c.bytes, recording.MaxMembers, func(name string, value []byte) error {
		if b.left <= 0 {
			body.MoreParts++
			body.More += int64(len(value))
			return nil
		}
		part := Part{Title: clean.Text(short(name))}
		var document string
		if name == "query" && json.Unmarshal(value, &document) == nil {
			part.Body = b.body(content{bytes: []byte(document), mediaType: "application/graphql", depth: c.depth + 1})
		} else {
			part.Body = b.body(content{bytes: value, mediaType: "application/json", depth: c.depth + 1})
		}
		part.Body.Type = ""
		body.Parts = append(body.Parts, part)
		return nil
	})
}
