package view

import (
	"bytes"
	"net/http"
	"strconv"

	"github.com/tapedeck/tapedeck/replay/report"
)

// report shows a replay's report: the page that the report's own HTML form is, which has a
// style of its own and no script.
func (s *Server) report(w http.ResponseWriter, r *http.Request, it *item) error {
	home := ""
	if len(s.items) > 1 {
		home = "/"
	}
	var b bytes.Buffer
	if err := it.Report.WritePage(&b, home); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Security-Policy", report.PagePolicy()+"; frame-ancestors 'none'")
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	if r.Method != http.MethodHead {
		_, _ = w.Write(b.Bytes()) // an error says that nobody reads it
	}
	return nil
}
