// Package curl writes the command that sends a recorded request with curl, for a POSIX shell.
//
// It promises:
//
//   - The command sends the request as it was recorded, or a loss says what it doesn't send.
//   - The command does what it shows, whatever is in the recording. Each word is quoted. curl does not
//     take recorded text for a file name, a URL pattern or an option. It reads no configuration file.
//   - The command survives copying from a page to a terminal: all of it is visible, and control
//     characters such as tabs and carriage returns are escaped.
//
// curl still uses the proxies that the environment names.
//
// It imports recording, recording/clean, convert/internal/web and the standard library.
package curl

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/convert/internal/web"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
)

// maxArgument is the largest body in a command, in bytes. Linux allows 128 KiB for an argument.
const maxArgument = 100 << 10

// Command is a call of curl.
type Command struct {
	input   string     // piped to curl by printf %b; "" for nothing
	options [][]string // each with its value
}

// New returns the command that sends an exchange's request, and the parts of the request that the
// command does not send. The error is a [recording.LeftOutError], with the reason why there is no
// command.
func New(e *recording.Exchange) (*Command, recording.LossList, error) {
	var losses recording.LossList
	q, err := web.NewRequest(e, &losses)
	if err != nil {
		return nil, nil, err
	}
	left := func(why string) (*Command, recording.LossList, error) {
		return nil, nil, &recording.LeftOutError{Where: e.UUID.String(), What: why}
	}
	_, user, host, target, _ := web.SplitURL(q.URL)
	switch {
	case len(q.Body) > maxArgument:
		return left(fmt.Sprintf("a body of %d bytes; a command holds at most %d", len(q.Body), maxArgument))
	case isBinary(string(q.Body)):
		return left("a binary body, which a command can't show")
	case !isVisible(q.URL):
		return left("a URL with characters that are not visible")
	case user != "":
		return left("a URL with a user name, which curl sends as a field")
	}
	c := new(Command)
	c.add("--globoff")
	c.add("--path-as-is")
	c.add("--proto", "=http,https")
	if option := versionOption(e); option != "" {
		c.add(option)
	}
	if q.Method == "HEAD" {
		c.add("--head")
	} else {
		c.add("--request", q.Method)
	}
	for _, h := range q.Headers {
		value := strings.TrimSpace(h.Value)
		if strings.Contains(value, "\t") {
			losses.Add("request.headers", "a tab is sent as a space")
			value = strings.ReplaceAll(value, "\t", " ")
		}
		if !isVisible(value) {
			losses.Add("request.headers", "a field has characters that are not visible, not kept")
			continue
		}
		if value == "" {
			c.add("--header", h.Name+";") // curl's syntax for an empty field
		} else {
			c.add("--header", h.Name+": "+value)
		}
	}
	if !keepsHost(q.URL, host) && q.Headers.Get("Host") == "" {
		c.add("--header", "Host: "+host)
	}
	for _, name := range []string{"Accept", "User-Agent"} { // curl would add them
		if q.Headers.Get(name) == "" {
			c.add("--header", name+":")
		}
	}
	c.body(e, q, &losses)
	url := q.URL
	if raw := target; e.HTTP.Req.URI == "*" || !keepsTarget(q.URL) {
		if whole := e.HTTP.Req.URI; whole == "*" || strings.HasPrefix(whole, "/") {
			raw = whole
		}
		c.add("--request-target", raw)
		scheme, _, _ := strings.Cut(q.URL, "://")
		url = scheme + "://" + host + "/"
	}
	c.add("--url", url)
	return c, losses, nil
}

// body adds the options for the body.
func (c *Command) body(e *recording.Exchange, q web.Request, losses *recording.LossList) {
	text := string(q.Body)
	switch {
	case text == "" && e.Request().Headers.Get("Content-Length") != "0":
		return
	case q.Method == "HEAD":
		if text != "" {
			losses.Add("request.body", "curl sends no body with HEAD")
		}
		return
	case !isVisible(strings.ReplaceAll(text, "\n", "")):
		c.input = escape(text)
		c.add("--data-binary", "@-")
	default:
		c.add("--data-raw", text)
	}
	if q.Headers.Get("Content-Type") == "" { // otherwise curl declares a form
		c.add("--header", "Content-Type:")
	}
}

// versionOption returns the option for the recorded HTTP version, if curl could choose another one.
func versionOption(e *recording.Exchange) string {
	tls := strings.HasPrefix(web.URL(e), "https://")
	switch version := e.HTTP.Req.Version; {
	case version == "1.0":
		return "--http1.0"
	case version == "1.1" && tls:
		return "--http1.1"
	case strings.HasPrefix(version, "2") && tls:
		return "--http2"
	case strings.HasPrefix(version, "2"):
		return "--http2-prior-knowledge"
	}
	return ""
}

// plainURL matches URLs whose target curl sends unchanged.
var plainURL = regexp.MustCompile("^[A-Za-z0-9:/?\\[\\]@!$&'()*+,;=._~%{}|^`\"\\\\<>-]*$")

func keepsTarget(url string) bool { return plainURL.MatchString(url) }

// plainHost matches hosts that curl takes for names.
var plainHost = regexp.MustCompile(`^[a-z0-9_-]+(\.[a-z0-9_-]+)*$`)

// keepsHost reports whether curl sends the host of a URL unchanged. curl leaves out the scheme's
// default port, and normalizes addresses.
func keepsHost(url, host string) bool {
	if name, port, ok := cutPort(host); ok {
		standard := map[bool]string{false: "80", true: "443"}[strings.HasPrefix(url, "https:")]
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || port == standard || strconv.FormatUint(n, 10) != port {
			return false
		}
		host = name
	}
	if bare, ok := strings.CutPrefix(host, "["); ok {
		a, err := netip.ParseAddr(strings.TrimSuffix(bare, "]"))
		return err == nil && a.Is6() && "["+a.String()+"]" == host
	}
	last := host[strings.LastIndexByte(host, '.')+1:]
	if last != "" && '0' <= last[0] && last[0] <= '9' { // an address, perhaps in hexadecimal
		a, err := netip.ParseAddr(host)
		return err == nil && a.String() == host
	}
	return plainHost.MatchString(host)
}

// cutPort cuts the port from a host.
func cutPort(host string) (name, port string, ok bool) {
	i := strings.LastIndexByte(host, ':')
	if i < 0 || strings.HasSuffix(host, "]") {
		return host, "", false
	}
	return host[:i], host[i+1:], true
}

func (c *Command) add(option ...string) { c.options = append(c.options, option) }

// Line returns the command in one line, unless a body has several.
func (c *Command) Line() string { return c.join(" ", " ") }

// Lines returns the command with one option on each line.
func (c *Command) Lines() string { return c.join("\n", " \\\n  ") }

func (c *Command) join(afterPipe, separator string) string {
	var b strings.Builder
	if c.input != "" {
		b.WriteString("printf %b " + quote(c.input) + " |" + afterPipe)
	}
	b.WriteString("curl --disable") // only counts as the first option
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

// isBinary reports whether a body is not text.
func isBinary(text string) bool {
	return !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return unicode.IsControl(r) && r != '\t' && r != '\r' && r != '\n' })
}

// isVisible reports whether a text is on one line and all its characters are visible.
func isVisible(text string) bool { return clean.Text(text) == text }

// escape escapes a text for printf's %b. It writes invisible characters in octal.
func escape(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch s := string(r); {
		case r == '\\':
			b.WriteString(`\\`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\n' || isVisible(s):
			b.WriteString(s)
		default:
			for i := range len(s) {
				fmt.Fprintf(&b, `\0%03o`, s[i])
			}
		}
	}
	return b.String()
}

// quote quotes a text for a shell, as one word.
func quote(text string) string {
	if text != "" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}
