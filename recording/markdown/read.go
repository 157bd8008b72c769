package markdown

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/recording"
)

// Error says what is wrong with a file.
type Error struct {
	Line int // from 1
	What string
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %s", e.Line, e.What) }

// Titles of the sections.
const (
	request   = "REQUEST"
	response  = "RESPONSE"
	signature = "SIGNATURE"
	metadata  = "METADATA"
	internal  = "INTERNAL - DO NOT MODIFY"
)

// fence begins and ends a block.
const fence = "```"

// none is how a signature writes an empty value.
const none = "-NONE-"

// Is reports whether a file with this beginning is such markdown.
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

// title returns the title in a line such as `### REQUEST ###`.
func title(line string) (string, bool) {
	if rest, ok := strings.CutPrefix(line, "### "); ok {
		return strings.CutSuffix(rest, " ###")
	}
	return "", false
}

// Parse reads a file. It returns the exchange, and a list of the parts that it could not keep. For a
// malformed file it returns an [Error]; other errors are those of the reader.
func Parse(r io.Reader) (*recording.Exchange, []string, error) {
	text, err := io.ReadAll(io.LimitReader(r, recording.MaxLine+1))
	if err != nil {
		return nil, nil, err
	}
	if len(text) > recording.MaxLine {
		return nil, nil, &Error{1, fmt.Sprintf("longer than %d MiB", recording.MaxLine>>20)}
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	if crlf := []byte("\r\n"); bytes.Count(text, crlf) == bytes.Count(text, []byte("\n")) { // edited on Windows
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

func (p *parser) lose(loss string) { p.losses = append(p.losses, loss) }

// exchange builds the exchange from the sections.
func (p *parser) exchange() (*recording.Exchange, error) {
	e, err := p.internal()
	if err != nil {
		return nil, err
	}
	if p.sections[request] == nil && p.sections[internal] == nil {
		return nil, &Error{1, "found neither a REQUEST nor an INTERNAL section; want one of them"}
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

// cutLast is like strings.Cut, but cuts at the last separator.
func cutLast(text, separator string) (before, after string, ok bool) {
	if i := strings.LastIndex(text, separator); i >= 0 {
		return text[:i], text[i+len(separator):], true
	}
	return text, "", false
}
