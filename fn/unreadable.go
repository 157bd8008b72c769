package fn

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/tapedeck/tapedeck/transformer"
)

// strayMark returns the position of a byte order mark before a document's content that is not at the
// very beginning of its source; -1 if there is none. YAML does not allow it there, and parsers read it
// as the first letter of a key.
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

// lineOf returns the number of the line that contains text[i].
func lineOf(text []byte, i int) int { return 1 + bytes.Count(text[:i], []byte("\n")) }

// legal reports the first byte that is not UTF-8, and the first character that YAML does not allow
// (YAML 1.2.2 section 5.1), although JSON may allow it.
func legal(text []byte, json bool) error {
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
		case json:
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

// unknownAnchor matches the only message of the parser that has no line.
var unknownAnchor = regexp.MustCompile(`^yaml: unknown anchor '(.+)' referenced$`)

// explain adds information that the parser's message lacks.
func explain(text []byte, err error) error {
	if m := unknownAnchor.FindStringSubmatch(err.Error()); m != nil {
		alias := regexp.MustCompile(`(?m)(?:^|[\s,\[{])\*` + regexp.QuoteMeta(m[1]) + `(?:[\s,\]}]|$)`)
		if at := alias.FindIndex(text); at != nil {
			return fmt.Errorf("line %d: alias *%s has no anchor", lineOf(text, at[1]-1), m[1])
		}
	}
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		n, _ := strconv.Atoi(m[1])
		if line := trailingMark(text, n+1); line > 0 && line >= n-1 {
			return separatorAfterValue(line)
		}
	}
	if rest, marked := bytes.CutPrefix(text, byteOrderMark); marked && len(splitJSON(rest)) > 1 {
		return errors.New("line 1: a byte order mark before several JSON objects, which kubectl does not read either; remove it")
	}
	if rest := bytes.TrimLeft(text, " \t\r\n"); beginsObject(text) && bytes.HasPrefix(bytes.TrimLeft(rest[1:], " \t\r\n"), []byte(`"`)) {
		if jsonErr := explainJSON(text); jsonErr != nil {
			return jsonErr
		}
	}
	return err
}

// explainJSON says why a text is not a sequence of JSON objects.
func explainJSON(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	for {
		end := int(dec.InputOffset())
		err := dec.Decode(new(json.RawMessage))
		rest := bytes.TrimLeft(text[end:], " \t\r\n")
		at := len(text) - len(rest)
		var syntax *json.SyntaxError
		switch {
		case err == nil:
		case errors.Is(err, io.EOF):
			return nil
		case bytes.HasPrefix(rest, []byte("---")):
			return separatorAfterValue(lineOf(text, at))
		case end > 0 && rest[0] != '{':
			return fmt.Errorf("line %d: found %q after a JSON object, allowed: another object, or a line --- between the two", lineOf(text, at), rest[:min(len(rest), 12)])
		case errors.As(err, &syntax):
			return fmt.Errorf("line %d: the JSON is not valid: %w", lineOf(text, max(0, min(int(syntax.Offset)-1, len(text)))), err)
		default: // it ends too early
			return fmt.Errorf("line %d: the JSON is not valid: %w", lineOf(text, len(bytes.TrimRight(text, " \t\r\n"))), err)
		}
	}
}

// gluedMark matches a document separator with text on its line that belongs on the next one.
var gluedMark = regexp.MustCompile(`^---(?:[^-\s]|[ \t]+[A-Za-z_][-\w./]*:(?:\s|$))`)

// glued returns the line of a separator with other text on its line; 0 if there is none. kubectl
// rejects such a line, and YAML reads it as part of a key.
func glued(text []byte) int {
	for at := 0; ; {
		if gluedMark.Match(text[at:]) {
			return lineOf(text, at)
		}
		next := bytes.Index(text[at:], []byte("\n---"))
		if next < 0 {
			return 0
		}
		at += next + 1
	}
}

// gluedToValue returns the line of a separator at the end of a value; 0 if there is none. Such a separator
// is the likely cause if one document has two kinds or two API versions.
func gluedToValue(text []byte, have *yaml.Node) int {
	if have.Kind != yaml.MappingNode {
		return 0
	}
	first := map[string]bool{}
	for i := 0; i < len(have.Content); i += 2 {
		key := have.Content[i]
		switch {
		case key.Value != "kind" && key.Value != "apiVersion":
		case !first[key.Value]:
			first[key.Value] = true
		default:
			return trailingMark(text, key.Line)
		}
	}
	return 0
}

// trailingMark returns the first line before a given one that ends with a separator after other text;
// 0 if there is none.
func trailingMark(text []byte, before int) int {
	n := 0
	for line := range bytes.Lines(text) {
		if n++; n >= before {
			break
		}
		rest, ok := bytes.CutSuffix(bytes.TrimRight(line, " \t\r\n"), []byte("---"))
		if ok && len(rest) > 0 && rest[0] != '#' && rest[len(rest)-1] != '-' {
			return n
		}
	}
	return 0
}

// separatorAfterValue returns the error for a separator at the end of a line.
func separatorAfterValue(line int) error {
	return fmt.Errorf("line %d: a document separator after a value; put --- on a separate line", line)
}

var yamlLine = regexp.MustCompile(`line (\d+)`)

// unreadable returns the result for a document that can't be read, with the line in its file.
func (d *document) unreadable(err error) transformer.Result {
	message := strings.TrimPrefix(err.Error(), "yaml: ")
	message = yamlLine.ReplaceAllStringFunc(message, func(m string) string {
		n, _ := strconv.Atoi(m[len("line "):])
		return fmt.Sprintf("line %d", n+d.line)
	})
	return transformer.NewResult(transformer.CodeInvalidYAML, d.file, "document %d: %s", d.file.Index+1, message)
}
