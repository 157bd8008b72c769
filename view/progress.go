package view

import (
	"net/http"

	"github.com/tapedeck/tapedeck/view/index"
)

// waiting is what progress.html shows.
type waiting struct {
	Item     *item
	Progress *index.Progress // nil before there is any
	Failure  string          // why the item can't be read, "" unless that is so
}

// progress answers in place of a page of an item that is being read, or can't be. The
// browser asks again, until the page itself comes.
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
