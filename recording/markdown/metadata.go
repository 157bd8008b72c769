package markdown

import (
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
)

// signature reads the values by which a mock matches requests.
func (p *parser) signature(e *recording.Exchange, s *section) error {
	shown := map[string]*strings.Builder{}
	var last *strings.Builder // the last value, which may have several lines
	for line := range strings.SplitSeq(s.block(0), "\n") {
		line = strings.TrimRight(line, "\r")
		name, value, ok := strings.Cut(line, " is ")
		switch {
		case ok && strings.Contains(name, ":") && !strings.ContainsAny(name, " {\"") || ok && last == nil:
			last = new(strings.Builder)
			last.WriteString(value)
			shown[name] = last
		case last != nil:
			last.WriteString("\n" + line)
		case line != "":
			return &Error{s.at(0), fmt.Sprintf("found %.80q, want a line such as http:method is GET", line)}
		}
		if len(shown) > recording.MaxTags {
			return &Error{s.at(0), fmt.Sprintf("more than %d lines", recording.MaxTags)}
		}
	}
	for name, value := range shown {
		text := strings.TrimRight(value.String(), "\n")
		if text == none {
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
			delete(e.Signature, name) // its line was removed
		}
	}
	return nil
}

// metadata reads the section with the direction, the ID, the time and the tags.
func (p *parser) metadata(e *recording.Exchange, s *section) error {
	i := -1
	for line := range strings.SplitSeq(s.block(0), "\n") {
		i++
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
			for tag := range list(value) {
				name, value, ok := strings.Cut(tag, "=")
				if ok {
					e.Tags.Set(name, value)
				} else if tag != "" && tag != none {
					p.lose(fmt.Sprintf("tag %.40s: not kept, because it has no value", tag))
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
