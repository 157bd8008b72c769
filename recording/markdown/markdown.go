// Package markdown reads and writes RRPairs in the markdown files that the ecosystem's recorder
// writes, one in each:
//
//	### REQUEST ###                 the request line with the whole URL, and fields;
//	### RESPONSE ###                then the body, in a fence of its own
//	### SIGNATURE ###               `key is value` lines
//	### METADATA ###                direction, uuid, ts, duration, tags
//	### INTERNAL - DO NOT MODIFY ### the record's JSON, with or without fields and bodies
//
// Any section may be missing. The JSON holds; where another section says something else,
// somebody has edited the file, and the section holds. What a section shows in another
// form, as a body with its JSON indented, is no edit.
//
// It imports recording and the standard library.
package markdown

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
)

// Error tells what is wrong with a file.
type Error struct {
	Line int // from 1
	What string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.What) }

// Sections, by their titles.
const (
	request   = "REQUEST"
	response  = "RESPONSE"
	signature = "SIGNATURE"
	metadata  = "METADATA"
	internal  = "INTERNAL - DO NOT MODIFY"
)

// fence begins and ends a block.
const fence = "```"

// none stands for an empty value in a signature.
const none = "-NONE-"

// Is tells by the beginning of a file whether it is such markdown.
func Is(head []byte) bool {
	title, ok := title(strings.TrimSpace(string(firstLine(head))))
	return ok && slices.Contains([]string{request, response, signature, metadata, internal}, title)
}

func firstLine(p []byte) []byte {
	p = bytes.TrimLeft(bytes.TrimPrefix(p, []byte("\ufeff")), " \t\r\n")
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		p = p[:i]
	}
	return p
}

// title returns what a line such as `### REQUEST ###` is the title of.
func title(line string) (string, bool) {
	if rest, ok := strings.CutPrefix(line, "### "); ok {
		return strings.CutSuffix(rest, " ###")
	}
	return "", false
}

// Parse reads a file. It returns the exchange, and names what it could not keep. A file
// that is malformed is an [Error]; other errors are the reader's.
func Parse(r io.Reader) (*recording.Exchange, []string, error) {
	text, err := io.ReadAll(io.LimitReader(r, recording.MaxLine+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > recording.MaxLine {
		return nil, nil, &Error{1, fmt.Sprintf("longer than %d MiB", recording.MaxLine>>20)}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if crlf := []byte("\r\n"); bytes.Count(text, crlf) == bytes.Count(text, []byte("\n")) { // of another system
		text = bytes.ReplaceAll(text, crlf, []byte("\n"))
	}
	p := &parser{}
	if err := p.split(string(text)); err != nil {
		return nil, nil, err
	}
	e, err := p.exchange()
	if err != nil {
		return nil, nil, err
	}
	return e, p.losses, nil
}

type parser struct {
	sections map[string]*section
	losses   []string
}

// section is what stands below a title.
type section struct {
	line   int // of the title
	blocks []string
	lines  []int // of the blocks' first lines
}

// block returns the n-th block, "" if there are fewer.
func (s *section) block(n int) string {
	if s == nil || n >= len(s.blocks) {
		return ""
	}
	return s.blocks[n]
}

// at returns the line on which the n-th block begins.
func (s *section) at(n int) int {
	if n < len(s.lines) {
		return s.lines[n]
	}
	return s.line
}

func (p *parser) lose(loss string) { p.losses = append(p.losses, loss) }

// maxSections is how many sections, and blocks in each, are looked at.
const maxSections = 20

// split finds the sections and their blocks.
func (p *parser) split(text string) error {
	p.sections = map[string]*section{}
	lines := strings.Split(text, "\n")
	var current *section
	for i := 0; i < len(lines); i++ {
		line := strings.TrimRight(lines[i], " \t\r")
		if name, ok := title(line); ok {
			switch {
			case p.sections[name] != nil:
				return &Error{i + 1, fmt.Sprintf("section %.40q again: one file has one exchange", name)}
			case len(p.sections) == maxSections:
				return &Error{i + 1, fmt.Sprintf("more than %d sections", maxSections)}
			}
			current = &section{line: i + 1}
			p.sections[name] = current
			continue
		}
		switch {
		case line == "":
		case !strings.HasPrefix(line, fence):
			return &Error{i + 1, fmt.Sprintf("found %.40q, want a section such as ### REQUEST ###, or a block between lines of %s", line, fence)}
		case current == nil:
			return &Error{i + 1, "a block before the first section"}
		case len(current.blocks) == maxSections:
			return &Error{i + 1, fmt.Sprintf("more than %d blocks in a section", maxSections)}
		default:
			end := closing(lines, i+1)
			if end < 0 {
				return &Error{i + 1, "a block that has no end"}
			}
			current.blocks = append(current.blocks, strings.Join(lines[i+1:end], "\n"))
			current.lines = append(current.lines, i+2)
			i = end
		}
	}
	return nil
}

// closing finds the fence that ends a block: the first one behind which another block,
// a section, or the end of the file comes. Others belong to a body.
func closing(lines []string, from int) int {
	for i := from; i < len(lines); i++ {
		if strings.TrimRight(lines[i], " \t\r") != fence {
			continue
		}
		next := i + 1
		for next < len(lines) && strings.TrimSpace(lines[next]) == "" {
			next++
		}
		if next == len(lines) {
			return i
		}
		if _, ok := title(strings.TrimRight(lines[next], " \t\r")); ok || next > i+1 && strings.HasPrefix(lines[next], fence) {
			return i
		}
	}
	return -1
}

// exchange puts the sections together.
func (p *parser) exchange() (*recording.Exchange, error) {
	e, err := p.internal()
	if err != nil {
		return nil, err
	}
	if p.sections[request] == nil && p.sections[internal] == nil {
		return nil, &Error{1, "neither a REQUEST nor an INTERNAL section"}
	}
	for _, part := range []struct {
		name string
		read func(*recording.Exchange, *section) error
	}{{request, p.request}, {response, p.response}, {signature, p.signature}, {metadata, p.metadata}} {
		if s := p.sections[part.name]; s != nil {
			if err := part.read(e, s); err != nil {
				return nil, err
			}
		}
	}
	for name := range p.sections {
		switch name {
		case request, response, signature, metadata, internal:
		default:
			p.lose(fmt.Sprintf("section %.40s: not kept", name))
		}
	}
	slices.Sort(p.losses)
	return e, nil
}

// internal reads the record's JSON.
func (p *parser) internal() (*recording.Exchange, error) {
	e := &recording.Exchange{MsgType: recording.MsgType}
	s := p.sections[internal]
	for line := range strings.Lines(s.block(0)) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ": ")
		switch name {
		case "json":
			var d recording.Decoder
			if err := d.Decode([]byte(value), e); err != nil {
				return nil, &Error{s.at(0), "json: " + err.Error()}
			}
			if e.MsgType != recording.MsgType {
				return nil, &Error{s.at(0), fmt.Sprintf("json: msgType is %.40q, want %q", e.MsgType, recording.MsgType)}
			}
			p.losses = append(p.losses, d.Losses()...)
		case "":
		default:
			p.lose(fmt.Sprintf("INTERNAL %.40s: not kept", name))
		}
	}
	return e, nil
}

// http returns the HTTP part, adding it.
func http(e *recording.Exchange) *recording.HTTP {
	if e.HTTP == nil {
		e.HTTP = new(recording.HTTP)
	}
	return e.HTTP
}

// request reads the request's section.
func (p *parser) request(e *recording.Exchange, s *section) error {
	first, fields, err := head(s)
	if err != nil {
		return err
	}
	method, rest, _ := strings.Cut(first, " ")
	target, version, ok := cutLast(rest, " HTTP/")
	if !ok || method == "" || target == "" {
		return &Error{s.at(0), fmt.Sprintf("found %.80q, want a request line such as GET http://host/path HTTP/1.1", first)}
	}
	u, err := url.Parse(target)
	if err != nil {
		return &Error{s.at(0), fmt.Sprintf("the request line's URL %.80q can't be parsed", target)}
	}
	r := &http(e).Req
	r.Method, r.Version = method, version
	if e.L7Protocol != recording.GRPC {
		e.Command = method
	}
	same := body(&r.Body, s.block(1))
	p.headers(&r.Headers, fields, same)
	if uri := requestURI(target, u); r.URI != uri && r.URI != target {
		r.URI, r.URL, e.Location = uri, u.Path, u.Path
	}
	r.Host = cmp.Or(r.Headers.Get("Host"), r.Host, u.Host)
	if e.NetworkAddress == "" && p.sections[internal] == nil {
		e.NetworkAddress = address(u)
		e.IsTLS = u.Scheme == "https"
	}
	if e.L7Protocol == "" {
		e.L7Protocol = recording.HTTP1
		if u.Scheme == "https" {
			e.L7Protocol = recording.HTTPS
		}
	}
	return nil
}

// requestURI is what of a URL goes into the request, as it stands in the text.
func requestURI(text string, u *url.URL) string {
	if u.Host == "" {
		return text
	}
	_, rest, _ := strings.Cut(text, "://")
	if i := strings.IndexAny(rest, "/?"); i >= 0 {
		rest, _, _ = strings.Cut(rest[i:], "#")
		if rest[0] == '?' {
			rest = "/" + rest
		}
		return rest
	}
	return "/"
}

// address is the host and port of a URL.
func address(u *url.URL) string {
	if u.Host == "" || u.Port() != "" {
		return u.Host
	}
	port := "80"
	if u.Scheme == "https" {
		port = "443"
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// response reads the response's section. One without a status line has no answer.
func (p *parser) response(e *recording.Exchange, s *section) error {
	if strings.TrimSpace(s.block(0)) == "" {
		return nil
	}
	first, fields, err := head(s)
	if err != nil {
		return err
	}
	_, message, ok := strings.Cut(first, " ")
	number, _, _ := strings.Cut(message, " ")
	code, err := strconv.Atoi(number)
	if !ok || !strings.HasPrefix(first, "HTTP/") || err != nil || code < 100 || code > 999 {
		return &Error{s.at(0), fmt.Sprintf("found %.80q, want a status line such as HTTP/1.1 200 OK", first)}
	}
	r := &http(e).Res
	if r.StatusCode != code || r.StatusMessage != message {
		r.StatusCode, r.StatusMessage = code, message
		if e.L7Protocol != recording.GRPC {
			e.Status = number
		}
	}
	same := body(&r.Body, s.block(1))
	p.headers(&r.Headers, fields, same)
	r.ContentType = cmp.Or(r.Headers.Get("Content-Type"), r.ContentType)
	return nil
}

// head reads the first block of a message: its first line, and its fields.
func head(s *section) (first string, fields recording.Headers, err error) {
	lines := strings.Split(s.block(0), "\n")
	first = strings.TrimRight(lines[0], "\r")
	for i, line := range lines[1:] {
		line = strings.TrimRight(line, "\r")
		if line == "" {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			return "", nil, &Error{s.at(0) + 1 + i, fmt.Sprintf("found %.80q, want a field such as Content-Type: text/plain", line)}
		}
		for _, v := range list(strings.TrimPrefix(value, " ")) {
			if fields = append(fields, recording.Header{Name: name, Value: v}); len(fields) > recording.MaxHeaders {
				return "", nil, &Error{s.at(0) + 1 + i, fmt.Sprintf("more than %d fields", recording.MaxHeaders)}
			}
		}
	}
	return first, fields, nil
}

// list splits a list at its commas, and undoes the escapes of commas and backslashes
// that are no separators.
func list(text string) []string {
	var all []string
	var one strings.Builder
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text) && (text[i+1] == ',' || text[i+1] == '\\'):
			i++
			one.WriteByte(text[i])
		case c == ',':
			all = append(all, one.String())
			one.Reset()
			if i+1 < len(text) && text[i+1] == ' ' {
				i++
			}
		default:
			one.WriteByte(c)
		}
	}
	return append(all, one.String())
}

// headers takes the fields of a section, unless they are those of the JSON. The section
// leaves Content-Length out: the JSON's stays if the body is the same.
func (p *parser) headers(have *recording.Headers, shown recording.Headers, sameBody bool) {
	const length = "Content-Length"
	var lengths recording.Headers
	others := slices.DeleteFunc(slices.Clone(*have), func(h recording.Header) bool { return h.Name == length })
	for v := range have.Values(length) {
		lengths = append(lengths, recording.Header{Name: length, Value: v})
	}
	if !sameBody || shown.Get(length) != "" {
		lengths = nil
	}
	if shown = append(shown, lengths...); !reflect.DeepEqual(byName(append(others, lengths...)), byName(shown)) {
		*have = shown
	}
}

func byName(h recording.Headers) map[string][]string {
	all := map[string][]string{}
	for _, one := range h {
		all[one.Name] = append(all[one.Name], one.Value)
	}
	return all
}

// body takes the body of a section, unless it is that of the JSON, which may be no text.
// It tells whether it is.
func body(have *[]byte, shown string) (same bool) {
	if len(*have) > 0 && (!utf8.Valid(*have) || sameText(*have, shown)) || len(*have) == 0 && shown == "" {
		return true
	}
	*have = nil
	if shown != "" {
		*have = []byte(shown)
	}
	return false
}

// sameText tells whether the text shows the body: as it is, with the ends of its lines
// changed, or as JSON that means the same.
func sameText(body []byte, shown string) bool {
	if string(body) == shown || strings.TrimSpace(strings.ReplaceAll(string(body), "\r\n", "\n")) == strings.TrimSpace(strings.ReplaceAll(shown, "\r\n", "\n")) {
		return true
	}
	var a, b any
	return decode(string(body), &a) && decode(shown, &b) && reflect.DeepEqual(a, b)
}

// decode reads JSON, with its numbers as they stand.
func decode(text string, to *any) bool {
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if d.Decode(to) != nil {
		return false
	}
	_, err := d.Token()
	return err == io.EOF
}

// signature reads what a mock matches by.
func (p *parser) signature(e *recording.Exchange, s *section) error {
	shown := map[string]string{}
	last := ""
	for _, line := range strings.Split(s.block(0), "\n") {
		line = strings.TrimRight(line, "\r")
		name, value, ok := strings.Cut(line, " is ")
		switch {
		case ok && strings.Contains(name, ":") && !strings.ContainsAny(name, " {\"") || ok && last == "":
			shown[name], last = value, name
		case last != "": // of a value with several lines
			shown[last] += "\n" + line
		case line != "":
			return &Error{s.at(0), fmt.Sprintf("found %.80q, want a line such as http:method is GET", line)}
		}
		if len(shown) > recording.MaxTags {
			return &Error{s.at(0), fmt.Sprintf("more than %d lines", recording.MaxTags)}
		}
	}
	for name, text := range shown {
		if text = strings.TrimRight(text, "\n"); text == none {
			text = ""
		}
		if have, ok := e.Signature[name]; ok && (!utf8.Valid(have) || string(have) == text || sameText(have, text)) {
			continue
		}
		if e.Signature == nil {
			e.Signature = map[string][]byte{}
		}
		e.Signature[name] = []byte(text)
	}
	for name := range e.Signature {
		if _, ok := shown[name]; !ok && len(shown) > 0 {
			delete(e.Signature, name) // somebody took the line out
		}
	}
	return nil
}

// metadata reads the section that says when and where.
func (p *parser) metadata(e *recording.Exchange, s *section) error {
	for i, line := range strings.Split(s.block(0), "\n") {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r"), ":")
		value = strings.TrimSpace(value)
		bad := func(want string) error {
			return &Error{s.at(0) + i, fmt.Sprintf("%s is %.80q, want %s", name, value, want)}
		}
		switch name {
		case "":
		case "direction":
			if value != recording.In && value != recording.Out {
				return bad("IN or OUT")
			}
			e.Direction = value
		case "uuid":
			u, err := recording.ParseUUID(value)
			if err != nil {
				return bad("a UUID")
			}
			e.UUID = u
		case "ts":
			ts, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				return bad("a time such as 2026-11-22T20:15:00.123Z")
			}
			if !ts.Equal(e.TS) {
				e.TS = ts.UTC()
			}
		case "duration":
			d, err := time.ParseDuration(value)
			if err != nil || d < 0 {
				return bad("a duration such as 51ms")
			}
			if e.Duration = d.Milliseconds(); d%time.Millisecond != 0 {
				p.lose("duration: kept in whole milliseconds")
			}
		case "tags":
			for _, tag := range list(value) {
				name, value, ok := strings.Cut(tag, "=")
				if ok {
					e.Tags.Set(name, value)
				} else if tag != "" && tag != none {
					p.lose(fmt.Sprintf("tag %.40s: has no value, not kept", tag))
				}
				if len(e.Tags) > recording.MaxTags {
					return &Error{s.at(0) + i, fmt.Sprintf("more than %d tags", recording.MaxTags)}
				}
			}
		default:
			p.lose(fmt.Sprintf("METADATA %.40s: not kept", name))
		}
	}
	return nil
}

// cutLast cuts a text at the last separator.
func cutLast(text, separator string) (before, after string, ok bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}
