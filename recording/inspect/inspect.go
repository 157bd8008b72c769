// Package inspect shows recordings to people: which exchanges there are, and
// what one of them holds. It writes to what it is given. It imports recording,
// klauspost/compress and the standard library.
package inspect

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
)

// Filter selects exchanges. The zero value selects all.
type Filter struct {
	// Direction is `in` or `out`, in any case.
	Direction string
	// Host is a part of the host that was asked.
	Host string
	// Path is a part of the path.
	Path string
	// Status is a code, or a class of codes as `5xx`.
	Status string
	// Protocol is a value of l7protocol, in any case.
	Protocol string
}

// Directions, Classes and Protocols are what a filter may select by; Status may
// be a single code, too.
func Directions() []string { return []string{"in", "out"} }
func Classes() []string    { return []string{"1xx", "2xx", "3xx", "4xx", "5xx"} }
func Protocols() []string {
	return []string{recording.HTTP1, recording.HTTPS, recording.GRPC, recording.WebSocket, recording.TCP}
}

// Check tells what is wrong with the filter, if anything is.
func (f Filter) Check() error {
	for _, c := range []struct {
		what, value string
		allowed     []string
		code        bool // is allowed, too
	}{
		{"direction", f.Direction, Directions(), false},
		{"status", f.Status, Classes(), true},
		{"protocol", f.Protocol, Protocols(), false},
	} {
		switch code, err := strconv.ParseUint(c.value, 10, 16); {
		case c.value == "", slices.Contains(c.allowed, strings.ToLower(c.value)), c.code && err == nil && code <= 999:
		case c.code:
			return fmt.Errorf("%s %q: want a code, or %s", c.what, c.value, strings.Join(c.allowed, ", "))
		default:
			return fmt.Errorf("%s %q: want %s", c.what, c.value, strings.Join(c.allowed, ", "))
		}
	}
	return nil
}

// Match tells whether the exchange is selected.
func (f Filter) Match(e *recording.Exchange) bool {
	return (f.Direction == "" || strings.EqualFold(f.Direction, e.Direction)) &&
		strings.Contains(host(e), f.Host) &&
		strings.Contains(e.Location, f.Path) &&
		(f.Protocol == "" || strings.EqualFold(f.Protocol, e.L7Protocol)) &&
		matchStatus(f.Status, e.Status)
}

func matchStatus(want, status string) bool {
	if class, ok := strings.CutSuffix(strings.ToLower(want), "xx"); ok {
		return len(status) == 3 && strings.HasPrefix(status, class)
	}
	return want == "" || want == status
}

// host is whom the client asked.
func host(e *recording.Exchange) string {
	if e.HTTP != nil && e.HTTP.Req.Host != "" {
		return e.HTTP.Req.Host
	}
	if host, port, err := net.SplitHostPort(e.NetworkAddress); err == nil && host == "" {
		return port
	}
	return e.NetworkAddress
}

// lookAhead is how many lines the width of the columns is taken from, and held
// in memory for that: a recording may be larger than the memory of the sidecar,
// in whose container it is looked at.
const lookAhead = 1000

// Table writes one line an exchange.
type Table struct {
	w      *bufio.Writer
	rows   []row // wait for widths
	widths *[columns]int
}

const columns = 13

type row [columns]string

// NewTable begins with the table's head. Close writes what is left of it.
func NewTable(w io.Writer) *Table {
	return &Table{w: bufio.NewWriter(w), rows: []row{
		{"TIME", "DIR", "PROTOCOL", "METHOD", "HOST", "PATH", "STATUS", "MS", "REQUEST", "ANSWER", "UUID", "CAUSE", "NOTE"}}}
}

// Add adds an exchange's line.
func (t *Table) Add(e *recording.Exchange) error {
	asked, answered := sizes(e)
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	line := row{e.TS.Format("2006-01-02T15:04:05.000Z"), e.Direction, e.L7Protocol, dash(e.Command), dash(host(e)), dash(e.Location),
		dash(e.Status), number(e.Duration), number(asked), number(answered), e.UUID.String()[:8], cause(e), note(e)}
	for i := range line {
		line[i] = clean(line[i])
	}
	if t.widths != nil {
		return t.write(&line)
	}
	if t.rows = append(t.rows, line); len(t.rows) < lookAhead {
		return nil
	}
	return t.align()
}

// Close writes what is left.
func (t *Table) Close() error { return errors.Join(t.align(), t.w.Flush()) }

// align finds the widths of the columns, and writes the lines that waited.
func (t *Table) align() error {
	if t.widths == nil {
		t.widths = new([columns]int)
	}
	for _, line := range t.rows {
		for i, cell := range line {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
		}
	}
	for i := range t.rows {
		if err := t.write(&t.rows[i]); err != nil {
			return err
		}
	}
	t.rows = nil
	return nil
}

// write writes a line: two spaces between columns, none behind the last.
func (t *Table) write(line *row) (err error) {
	for i, cell := range line[:columns-1] {
		_, err = fmt.Fprintf(t.w, "%-*s  ", t.widths[i], cell)
	}
	if err == nil {
		_, err = fmt.Fprintln(t.w, line[columns-1])
	}
	return err
}

// sizes are the bytes of payload that each side sent.
func sizes(e *recording.Exchange) (asked, answered int64) {
	for _, c := range []*recording.Conversation{e.GRPC, e.WebSocket, e.TCP} {
		if c != nil {
			return c.ClientBytes, c.ServerBytes
		}
	}
	if e.HTTP == nil {
		return 0, 0
	}
	size := func(kept []byte, tag string) int64 {
		if n, err := strconv.ParseInt(e.Tags.Get(tag), 10, 64); err == nil {
			return n
		}
		return int64(len(kept))
	}
	return size(e.HTTP.Req.Body, recording.TagRequestBodySize), size(e.HTTP.Res.Body, recording.TagResponseBodySize)
}

// cause is the inbound exchange that an outbound one was made for, or why it
// is not known.
func cause(e *recording.Exchange) string {
	parent := e.Tags.Get(recording.TagParent)
	if e.Tags.Get(recording.TagParentBy) != "" {
		parent = parent[:min(8, len(parent))]
	}
	return dash(parent)
}

// note gathers what is out of the ordinary.
func note(e *recording.Exchange) string {
	var notes []string
	if v := e.Tags.Get(recording.TagIncomplete); v != "" {
		notes = append(notes, v)
	}
	if e.Tags.Get(recording.TagTruncated) != "" {
		notes = append(notes, "truncated")
	}
	if c := e.Tags.Get(recording.TagConversation); c != "" {
		notes = append(notes, "of "+c[:min(8, len(c))])
	}
	return strings.Join(notes, ", ")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
