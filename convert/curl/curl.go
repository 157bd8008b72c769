// Package curl writes the command that sends a recorded request with curl, for a POSIX shell.
//
// It promises:
//
//   - The command sends the request as it was recorded, or a loss says what it doesn't send.
//   - The command does what it shows, whatever is in the recording. Each word is quoted. curl finds
//     none of its own signs in it: no file's name, no pattern of URLs, no option. It reads no
//     configuration beside the command. No sign hides others or steers a terminal.
//
// It imports recording, convert/internal/web and the standard library.
package curl

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
)

// maxArgument is how long a body may be in a command: Linux takes 128 KiB for an argument.
const maxArgument = 100 << 10

// Command is a call of curl.
type Command struct {
	options [][]string // each with its value
}

// New returns the command that sends an exchange's request. The losses say what of the request it
// does not send. The error is a [recording.LeftOutError], which says why there is no command.
func New(e *recording.Exchange) (*Command, recording.LossList, error) {
	var losses recording.LossList
	q, err := web.NewRequest(e, &losses)
	if err != nil {
		return nil, nil, err
	}
	left := func(why string) (*Command, recording.LossList, error) {
		return nil, nil, &recording.LeftOutError{Where: e.UUID.String(), What: why}
	}
	switch {
	case len(q.Body) > maxArgument:
		return left(fmt.Sprintf("a body of %d bytes; a command holds %d", len(q.Body), maxArgument))
	case !isPlain(string(q.Body), "\t\r\n"):
		return left("a binary body, or one with signs that hide others, which a command can't show")
	case !isPlain(q.URL, ""):
		return left("a URL with signs that hide others")
	}
	c := new(Command)
	c.add("--globoff")
	c.add("--path-as-is")
	c.add("--proto", "=http,https")
	if q.Method == "HEAD" {
		c.add("--head")
	} else {
		c.add("--request", q.Method)
	}
	for _, h := range q.Headers {
		if !isPlain(h.Value, "\t") {
			losses.Add("request.headers", "one with signs that a command can't show, not kept")
			continue
		}
		if value := strings.TrimSpace(h.Value); value == "" {
			c.add("--header", h.Name+";") // curl's sign for an empty field
		} else {
			c.add("--header", h.Name+": "+value)
		}
	}
	if len(q.Body) > 0 {
		c.add("--data-raw", string(q.Body))
		if q.Headers.Get("Content-Type") == "" { // or else curl says that it is a form
			c.add("--header", "Content-Type:")
		}
	}
	c.add("--url", q.URL)
	return c, losses, nil
}

func (c *Command) add(option ...string) { c.options = append(c.options, option) }

// Line returns the command in one line, unless a body has several.
func (c *Command) Line() string { return c.join(" ") }

// Lines returns the command with one option a line.
func (c *Command) Lines() string { return c.join(" \\\n  ") }

func (c *Command) join(separator string) string {
	var b strings.Builder
	b.WriteString("curl --disable") // first, or else it does not count
	for _, option := range c.options {
		b.WriteString(separator)
		for i, word := range option {
			if i > 0 {
				b.WriteByte(' ')
			}
			b.WriteString(quote(word))
		}
	}
	return b.String()
}

// isPlain tells whether a text shows what it is: it is UTF-8, and nothing in it controls a
// terminal or the order in which text is shown.
func isPlain(text, allowed string) bool {
	if !utf8.ValidString(text) {
		return false
	}
	return !strings.ContainsFunc(text, func(r rune) bool {
		return !strings.ContainsRune(allowed, r) && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029')
	})
}

// quote has a shell take a text as one word, as it is.
func quote(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
