package view

import (
	"bytes"
	"net/http"

	"github.com/tapedeck/tapedeck/replay/report"
)

// report answers with the HTML form of a replay's report, which has its own style and no script.
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
