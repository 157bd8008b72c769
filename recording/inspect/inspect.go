// Package inspect shows recordings to people: which exchanges there are, and
// what one of them holds. It imports recording and writes to what it is given.
package inspect

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"text/tabwriter"

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
	// Protocol is a value of l7protocol.
	Protocol string
}

// Check tells what is wrong with the filter, if anything is.
func (f Filter) Check() error {
	switch strings.ToUpper(f.Direction) {
	case "", recording.In, recording.Out:
		return nil
	}
	return fmt.Errorf("direction %q: want in or out", f.Direction)
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

// Table writes one line an exchange.
type Table struct{ w *tabwriter.Writer }

// NewTable writes the table's head. Close writes what is left of it.
func NewTable(w io.Writer) *Table {
	t := &Table{tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)}
	fmt.Fprintln(t.w, "TIME\tDIR\tPROTOCOL\tMETHOD\tHOST\tPATH\tSTATUS\tMS\tREQUEST\tANSWER\tUUID\tCAUSE\tNOTE")
	return t
}

// Add writes an exchange's line.
func (t *Table) Add(e *recording.Exchange) error {
	asked, answered := sizes(e)
	_, err := fmt.Fprintf(t.w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%.8s\t%s\t%s\n",
		e.TS.Format("2006-01-02T15:04:05.000Z"), clean(e.Direction), clean(e.L7Protocol), dash(e.Command), dash(host(e)), dash(e.Location),
		dash(e.Status), e.Duration, asked, answered, e.UUID, cause(e), note(e))
	return err
}

// Close writes the table.
func (t *Table) Close() error { return t.w.Flush() }

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
	return clean(strings.Join(notes, ", "))
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return clean(s)
}

// clean keeps a recording from steering the terminal it is shown on.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 {
			return '\ufffd'
		}
		return r
	}, s)
}
