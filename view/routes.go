package view

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// handler answers a request for a page. it is nil for pages that are not about one item. The server
// shows an error as a page, see fail.
type handler func(w http.ResponseWriter, r *http.Request, it *item) error

// route is a page.
type route struct {
	// kinds are the kinds of items that have the page; nil if it is not about one item.
	kinds []kind
	// pattern is a pattern of ServeMux, below the item's number if the page is about an item.
	pattern string
	// tab is the name of the tab that is marked in the navigation.
	tab    string
	handle handler
	// own rejects links from other sites.
	own bool
}

// tabs are the pages of a recording that the navigation leads to, in order.
var tabs = []struct{ Name, Page string }{
	{"Exchanges", ""},
	{"Calls", "calls"},
	{"Endpoints", "endpoints"},
}

// routes lists all pages.
func (s *Server) routes() []route {
	recordings := []kind{aRecording}
	return []route{
		{pattern: "/{$}", handle: s.start},
		{pattern: "/static/{file}", handle: s.static},
		{kinds: recordings, pattern: "/{$}", tab: "Exchanges", handle: s.list},
		{kinds: recordings, pattern: "/trace/{id}", handle: s.waterfall},
		{kinds: recordings, pattern: "/calls", tab: "Calls", handle: s.calls},
		{kinds: recordings, pattern: "/endpoints", tab: "Endpoints", handle: s.endpoints},
		{pattern: "/compare/{a}/{b}", handle: s.compare},
		{kinds: recordings, pattern: "/exchanges/{id}", tab: "Exchanges", handle: s.exchange},
		{kinds: recordings, pattern: "/exchanges/{id}/body/{side}", handle: s.body, own: true},
		{kinds: recordings, pattern: "/exchanges/{id}/messages/{number}", handle: s.message, own: true},
		{kinds: recordings, pattern: "/exchanges/{id}/json", handle: s.asJSON, own: true},
		{kinds: recordings, pattern: "/uuid/{uuid}", handle: s.byUUID},
		{kinds: []kind{aReport}, pattern: "/{$}", handle: s.report},
		{kinds: []kind{aReceipt}, pattern: "/{$}", handle: s.receipt},
	}
}

// mux returns the handler of all routes. Patterns have the items' numbers, so that no two of them
// match the same path.
func (s *Server) mux() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.page(route{handle: func(_ http.ResponseWriter, r *http.Request, _ *item) error {
		return notFound("there is no page %s", r.URL.Path)
	}}, nil))
	for _, it := range s.items {
		mux.Handle(strings.TrimSuffix(it.URL(""), "/"), http.RedirectHandler(it.URL(""), http.StatusMovedPermanently))
	}
	for _, rt := range s.routes() {
		if rt.kinds == nil {
			mux.Handle(rt.pattern, s.page(rt, nil))
			continue
		}
		for _, it := range s.items {
			if slices.Contains(rt.kinds, it.Kind) {
				mux.Handle(fmt.Sprintf("/%d%s", it.Number, rt.pattern), s.page(rt, it))
			}
		}
	}
	return mux
}

// request is the value in the context of a request.
type request struct {
	item *item
	tab  string
}

type requestKey struct{}

func requestOf(r *http.Request) request {
	q, _ := r.Context().Value(requestKey{}).(request)
	return q
}

// page makes a handler of a route.
func (s *Server) page(rt route, it *item) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), pageTime)
		defer cancel()
		r = r.WithContext(context.WithValue(ctx, requestKey{}, request{it, rt.tab}))
		if rt.own && foreign(r) {
			s.fail(w, r, &pageError{http.StatusForbidden, "another site links to this page; only pages of this server may do that"})
			return
		}
		var err error
		if it != nil && !it.isReady() {
			err = notReady{it}
		} else {
			err = rt.handle(w, r, it)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}
