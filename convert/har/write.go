package har

import (
	"bufio"
	"fmt"
	"io"

	"github.com/tapedeck/tapedeck/recording"
)

// ownMember has the exchange's RRPair, for the parts that an entry has no place for. It leaves out
// headers and bodies that the entry has exactly.
const ownMember = "_rrpair"

// Writer writes a log, one entry after the other. It isn't safe for concurrent use.
type Writer struct {
	w   *bufio.Writer
	n   int
	buf []byte
}

// NewWriter begins a log. version is that of the program.
func NewWriter(w io.Writer, version string) *Writer {
	b := bufio.NewWriterSize(w, 64<<10)
	head := append([]byte(`{"log":{"version":"1.2","creator":{"name":"tapedeck","version":`), recording.AppendString(nil, version)...)
	_, _ = b.Write(append(head, `},"pages":[],"entries":[`...)) // Close returns the error
	return &Writer{w: b}
}

// Write adds an exchange. The error is a [recording.LeftOutError] if it can't be written as an entry.
func (w *Writer) Write(e *recording.Exchange) (losses recording.LossList, err error) {
	url, bad := address(e)
	if url == "" {
		return nil, &recording.LeftOutError{Where: e.UUID.String(), What: "not an HTTP request with a URL"}
	}
	w.buf = append(w.buf[:0], "\n"...)
	if w.n > 0 {
		w.buf = append(w.buf[:0], ",\n"...)
	}
	w.n++
	if bad != "" {
		losses.Add("request.url", fmt.Sprintf("the host %.60q is not valid in a URL; %s replaces it", bad, noHost))
	}
	w.buf = appendEntry(w.buf, e, url)
	_, err = w.w.Write(w.buf)
	return losses, err
}

// Close ends the log. It doesn't close the underlying writer.
func (w *Writer) Close() error {
	_, _ = w.w.WriteString("\n]}}\n")
	return w.w.Flush()
}
