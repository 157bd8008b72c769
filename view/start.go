package view

import "net/http"

// start lists the items, or redirects to the only one.
func (s *Server) start(w http.ResponseWriter, r *http.Request, _ *item) error {
	if len(s.items) == 1 {
		http.Redirect(w, r, s.items[0].URL(""), http.StatusSeeOther)
		return nil
	}
	return s.render(w, r, "start.html", s.items)
}
