package view

import (
	"net/http"

	"github.com/tapedeck/tapedeck/view/index"
)

// rowsPerPage is how many exchanges a page of the table has.
const rowsPerPage = 100

// listed is what list.html shows.
type listed struct {
	Item *item
	Page *index.Page
}

// list shows the table of exchanges.
func (s *Server) list(w http.ResponseWriter, r *http.Request, it *item) error {
	q := r.URL.Query()
	page, err := it.index.List(r.Context(), index.Filter{Text: q.Get("q")}, index.Sort{}, q.Get("cursor"), rowsPerPage)
	if err != nil {
		return err
	}
	return s.render(w, r, "list.html", listed{it, page})
}
