package view

import (
	"net/http"

	"github.com/tapedeck/tapedeck/view/index"
)

// waiting is the data of progress.html.
type waiting struct {
	Item     *item
	Progress *index.Progress // nil before the first progress
	Failure  string          // why the item can't be read, "" if it can
}

// progress answers instead of a page while the item is being read, or if it could not be read. The
// browser reloads the page until the item is ready.
func (s *Server) progress(w http.ResponseWriter, r *http.Request, it *item) {
	page, status := waiting{Item: it, Progress: it.progress.Load()}, http.StatusOK
	if err := it.failure(); err != nil {
		page.Failure, status = err.Error(), http.StatusInternalServerError
		defer it.showFailure()
	} else {
		w.Header().Set("Refresh", "1")
	}
	s.writeOr500(w, r, status, "progress.html", page)
}
