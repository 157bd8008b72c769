package canon

import (
	"bytes"
	"mime"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// Params are what reading a format needs besides the body.
type Params struct {
	// Boundary is the boundary of a multipart body.
	Boundary string
	// Message describes a protobuf body. If nil, the body is read by the wire format.
	Message protoreflect.MessageDescriptor
}

// Format is a body format. A body has the first format of its media type that it conforms to; see
// [Detect].
type Format uint8

const (
	Raw Format = iota // bytes in none of the other formats
	GraphQL
	JSON
	JSONLines
	XML
	Form
	Multipart
	Document
	Protobuf
	numFormats
)

// FormatDoc is the row of a format in the table of formats.
type FormatDoc struct {
	// Name is the name of the format, such as `json`.
	Name string
	// Types are the media types of the format, the usual one first. `*` stands for any text.
	Types []string
	// Doc says which differences in spelling don't count.
	Doc string
}

var formats = [numFormats]FormatDoc{
	Raw: {"bytes", []string{"application/octet-stream"},
		"Nothing."},
	GraphQL: {"graphql", jsonTypes,
		"As in JSON. In the document: white space, commas, comments, the order of arguments. Whether `operationName`, `variables` and `extensions` are empty or missing."},
	JSON: {"json", jsonTypes,
		"White space, the order of members, escapes in strings, the spelling of numbers: 1.0 is 1, and 1e2 is 100."},
	JSONLines: {"jsonlines", append([]string{"application/x-ndjson", "application/jsonl", "application/jsonlines", "application/x-jsonlines", "application/json-seq"}, jsonTypes...),
		"As in JSON, for each text."},
	XML: {"xml", []string{"application/xml", "text/xml", "*+xml"},
		"The order of attributes, prefixes of namespaces, white space between elements, comments, CDATA."},
	Form: {"form", []string{"application/x-www-form-urlencoded"},
		"The order of fields with different names, and how they are escaped. A field that is JSON is read as JSON."},
	Multipart: {"multipart", []string{"multipart/form-data", "multipart/*"},
		"The boundary, and the order of parts with different names. A part's content is read by its own type."},
	Document: {"graphql-document", []string{"application/graphql"},
		"As in the document of a GraphQL request."},
	Protobuf: {"protobuf", []string{"application/x-protobuf", "application/protobuf", "application/vnd.google.protobuf", "application/x-google-protobuf", "application/proto"},
		"The order of fields with different numbers. With a descriptor also packing, and whether fields with their default value are present."},
}

var jsonTypes = []string{"application/json", "text/json", "*+json", "application/x-amz-json-*", "application/stream+json"}

// Formats returns the table of formats. The last row is for all other bodies.
func Formats() []FormatDoc { return append(slices.Clone(formats[GraphQL:]), formats[Raw]) }

// String returns the format's name.
func (f Format) String() string { return formats[f].Name }

// Walk visits the body's tree. If it returns an error, discard everything visited.
func (f Format) Walk(body []byte, p Params, v Visitor) error {
	switch f {
	case GraphQL:
		return walkGraphQL(body, v)
	case JSON:
		return walkJSON(body, v)
	case JSONLines:
		return walkLines(body, v)
	case XML:
		return walkXML(body, v)
	case Form:
		WalkQuery(string(body), v)
		return nil
	case Multipart:
		return walkMultipart(body, p.Boundary, v)
	case Document:
		return walkDocument(body, v)
	case Protobuf:
		return walkProtobuf(body, p.Message, v)
	}
	v.Leaf(Bytes, body)
	return nil
}

// Append appends the canonical form of the body, which is a body of the same format. Bodies that
// are the same have equal canonical forms. A protobuf message with a descriptor is written as JSON.
func (f Format) Append(dst, body []byte, p Params) ([]byte, error) {
	var t tree
	if err := f.Walk(body, p, &t); err != nil {
		return dst, err
	}
	if f == Protobuf && p.Message != nil {
		f = JSON
	}
	return f.print(dst, &t.root), nil
}

func (f Format) print(dst []byte, n *node) []byte {
	switch f {
	case GraphQL, JSON:
		return printJSON(dst, n)
	case JSONLines:
		return printLines(dst, n)
	case XML:
		return printXML(dst, n)
	case Form:
		return printForm(dst, n)
	case Multipart:
		return printMultipart(dst, n)
	case Protobuf:
		return printProtobuf(dst, n)
	}
	return append(dst, n.value...)
}

// Detect returns the format of a body by its Content-Type and its beginning. If reading the body
// in this format fails, treat it as [Raw].
func Detect(contentType string, body []byte) (Format, Params) {
	media, rest, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	var p Params
	if rest != "" && strings.HasPrefix(media, "multipart/") {
		if _, params, err := mime.ParseMediaType(contentType); err == nil {
			p.Boundary = params["boundary"]
		}
	}
	switch media {
	case "", "text/plain", "application/octet-stream", "binary/octet-stream", // these say nothing
		"application/x-www-form-urlencoded": // the default of curl, whatever the body
		if looksLikeJSON(body) && (hasSeveral(body) || walkJSON(body, nobody{}) == nil) {
			media = "application/json"
		} else if bytes.HasPrefix(body, []byte("<?xml")) {
			media = "application/xml"
		}
	}
	for f := GraphQL; f < numFormats; f++ {
		if announces(formats[f].Types, media) && (f != GraphQL || isGraphQL(body)) && (f != JSON || !hasSeveral(body)) {
			return f, p
		}
	}
	return Raw, p
}

func announces(types []string, media string) bool {
	for _, t := range types {
		before, after, any := strings.Cut(t, "*")
		if media == t || any && len(media) >= len(before)+len(after) && strings.HasPrefix(media, before) && strings.HasSuffix(media, after) {
			return true
		}
	}
	return false
}

// looksLikeJSON reports whether a body begins like a JSON object or array.
func looksLikeJSON(body []byte) bool {
	body = bytes.TrimLeft(bytes.TrimPrefix(body, []byte("\ufeff")), " \t\r\n")
	return len(body) > 0 && (body[0] == '{' || body[0] == '[')
}

// hasSeveral reports whether more JSON texts follow the first one.
func hasSeveral(body []byte) bool {
	if !bytes.Contains(body, []byte("}{")) && !bytes.Contains(body, []byte("}\n")) && !bytes.Contains(body, []byte("}\r\n")) {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return len(bytes.TrimLeft(body[i+1:], " \t\r\n")) > 0
			}
		}
	}
	return false
}
