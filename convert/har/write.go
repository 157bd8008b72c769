package har

import (
	"bufio"
	"fmt"
	"io"

	"github.com/tapedeck/tapedeck/recording"
)

// ownMember has what an entry can't say of an exchange: its RRPair without fields, and with those
// bodies alone that are compressed.
const ownMember = "_rrpair"

// Writer writes a log, one entry after the other. It isn't safe for concurrent use.
type Writer struct {
	w   *bufio.Writer
	n   int
	buf []byte
}

// NewWriter begins a log. version is the program's.
func NewWriter(w io.Writer, version string) *Writer {
	b := bufio.NewWriterSize(w, 64<<10)
	head := append([]byte(`{"log":{"version":"1.2","creator":{"name":"tapedeck","version":`), recording.AppendString(nil, version)...)
	_, _ = b.Write(append(head, `},"pages":[],"entries":[`...)) // Close has the error
	return &Writer{w: b}
}

// Write adds an exchange. One that no entry can be made of is a [recording.LeftOutError].
func (w *Writer) Write(e *recording.Exchange) (losses recording.LossList, err error) {
	url, bad := address(e)
	if url == "" {
		return nil, &recording.LeftOutError{Where: e.UUID.String(), What: "no request of HTTP with a URL"}
	}
	w.buf = append(w.buf[:0], "\n"...)
	if w.n > 0 {
		w.buf = append(w.buf[:0], ",\n"...)
	}
	w.n++
	if bad != "" {
		losses.Add("request.url", fmt.Sprintf("no URL can have the host %.60q; %s stands for it", bad, noHost))
	}
	w.buf = appendEntry(w.buf, e, url)
	_, err = w.w.Write(w.buf)
	return losses, err
}

// Close ends the log. It doesn't close what it writes to.
func (w *Writer) Close() error {
	_, _ = w.w.WriteString("\n]}}\n")
	return w.w.Flush()
}
