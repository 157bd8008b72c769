package view

import (
	"bytes"
	"net/http"

	"github.com/tapedeck/tapedeck/replay/report"
)

// report shows a replay's report: the page that the report's own HTML form is, which has a
// style of its own and no script.
func (s *Server) report(w http.ResponseWriter, _ *http.Request, it *item) error {
	home := ""
	if len(s.items) > 1 {
		home = "/"
	}
	var b bytes.Buffer
	if err := it.Report.WritePage(&b, home); err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", report.PagePolicy()+"; frame-ancestors 'none'")
	send(w, http.StatusOK, htmlType, b.Bytes())
	return nil
}
