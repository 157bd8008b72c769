package view

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tapedeck/tapedeck/view/index"
)

// pageError is an error for people, with an HTTP status.
type pageError struct {
	status int
	text   string
}

func (e *pageError) Error() string { return e.text }

// notFound returns an error with status 404.
func notFound(format string, args ...any) error {
	return &pageError{http.StatusNotFound, fmt.Sprintf(format, args...)}
}

// badRequest returns an error with status 400.
func badRequest(format string, args ...any) error {
	return &pageError{http.StatusBadRequest, fmt.Sprintf(format, args...)}
}

// failure is the data of error.html.
type failure struct {
	Status int
	Name   string // of the status
	Text   string
	URL    string // a link that a person may follow nevertheless, "" for none
}

// fail answers with a page that shows the error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var page *pageError
	var wait notReady
	var visit visitError
	switch {
	case errors.As(err, &wait):
		s.progress(w, r, wait.it)
		return
	case errors.As(err, &visit):
		page = &pageError{http.StatusForbidden, err.Error()}
	case errors.As(err, &page):
	case errors.Is(err, index.ErrNotFound):
		page = &pageError{http.StatusNotFound, err.Error()}
	case errors.Is(err, index.ErrGone):
		page = &pageError{http.StatusGone, err.Error()}
	case errors.Is(err, index.ErrCursor):
		page = &pageError{http.StatusBadRequest, "the link belongs to another table: " + err.Error()}
	case errors.Is(err, index.ErrFilter):
		page = &pageError{http.StatusBadRequest, err.Error()}
	case errors.Is(err, context.DeadlineExceeded):
		page = &pageError{http.StatusServiceUnavailable, "the answer took too long; use a narrower filter"}
	case r.Context().Err() != nil: // the client is gone, or the server stops
		page = &pageError{http.StatusServiceUnavailable, "the server is shutting down"}
	default:
		page = &pageError{http.StatusInternalServerError, err.Error()}
		s.log.Error("page", "path", r.URL.Path, "err", err)
	}
	if page.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, HEAD")
	}
	w.Header().Del("Content-Disposition")
	s.writeOr500(w, r, page.status, "error.html", failure{page.status, http.StatusText(page.status), page.text, visit.url})
}

// writeOr500 writes a page about an error. If that fails, it answers with status 500.
func (s *Server) writeOr500(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	if err := s.write(w, r, status, name, data); err != nil {
		s.log.Error("page", "path", r.URL.Path, "err", err)
		http.Error(w, "an internal error of Tapedeck", http.StatusInternalServerError)
	}
}
