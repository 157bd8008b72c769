package fn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/transformer"
)

// strayMark returns where a byte order mark stands before a document's content,
// and not at the very beginning of its source: YAML does not allow it there,
// and parsers take it for the first letter of a key. -1 if there is none.
func (d *document) strayMark() int {
	at := 0
	if d.file.Index == 0 && bytes.HasPrefix(d.text, byteOrderMark) {
		at = len(byteOrderMark)
	}
	for line := range bytes.Lines(d.text[at:]) {
		switch {
		case bytes.HasPrefix(line, byteOrderMark):
			return at
		case !blank(line) && !marker(line, "---") && line[0] != '%':
			return -1
		}
		at += len(line)
	}
	return -1
}

// lineOf returns the number of the line that text[i] is in.
func lineOf(text []byte, i int) int { return 1 + bytes.Count(text[:i], []byte("\n")) }

// legal reports the first byte that is not UTF-8, and the first character that
// YAML does not allow (YAML 1.2.2 section 5.1).
func legal(text []byte) error {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return errors.New("the text is UTF-16, as PowerShell writes it; convert it, for example with iconv -f UTF-16 -t UTF-8")
	}
	for i := 0; i < len(text); {
		c, size := rune(text[i]), 1
		if c >= utf8.RuneSelf {
			c, size = utf8.DecodeRune(text[i:])
		}
		switch {
		case c == utf8.RuneError && size == 1:
			return fmt.Errorf("line %d: byte 0x%02x is not UTF-8; convert the file, for example with iconv -f WINDOWS-1252 -t UTF-8", lineOf(text, i), text[i])
		case c < ' ' && c != '\t' && c != '\n' && c != '\r', 0x7f <= c && c < 0xa0 && c != 0x85, c == 0xfffe, c == 0xffff:
			return fmt.Errorf("line %d: control character 0x%02x, which YAML does not allow; remove it, or write it as %s in double quotes", lineOf(text, i), c, escape(c))
		}
		i += size
	}
	return nil
}

func escape(c rune) string {
	if c > 0xff {
		return fmt.Sprintf(`\u%04x`, c)
	}
	return fmt.Sprintf(`\x%02x`, c)
}

// unknownAnchor matches the parser's only message without a line.
var unknownAnchor = regexp.MustCompile(`^yaml: unknown anchor '(.+)' referenced$`)

// explain says what the parser's message leaves out.
func explain(text []byte, err error) error {
	if m := unknownAnchor.FindStringSubmatch(err.Error()); m != nil {
		alias := regexp.MustCompile(`(?m)(?:^|[\s,\[{])\*` + regexp.QuoteMeta(m[1]) + `(?:[\s,\]}]|$)`)
		if at := alias.FindIndex(text); at != nil {
			return fmt.Errorf("line %d: alias *%s has no anchor", lineOf(text, at[1]-1), m[1])
		}
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	if first := dec.Decode(new(json.RawMessage)); first == nil && dec.More() {
		return fmt.Errorf("line %d: another JSON document begins; put a line --- between the two", lineOf(text, len(text)-len(bytes.TrimLeft(text[dec.InputOffset():], " \t\r\n"))))
	}
	return err
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// unreadable says where a document can't be read, by the line of its file.
func (d *document) unreadable(err error) transformer.Result {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	message = yamlLine.ReplaceAllStringFunc(message, func(m string) string {
		n, _ := strconv.Atoi(m[len("line "):])
		return fmt.Sprintf("line %d", n+d.line)
	})
	return transformer.NewResult(transformer.CodeInvalidYAML, d.file, "document %d: %s", d.file.Index+1, message)
}
