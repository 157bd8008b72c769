package view

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"slices"
	"strconv"
)

//go:embed *.html style.css app.js icon.svg
var files embed.FS

// shared are the templates that all pages use. The first one frames a page.
var shared = []string{"layout.html", "parts.html"}

// pages has the templates of all pages, by the file's name.
type pages map[string]*template.Template

func parsePages() (pages, error) {
	all, err := files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	p := pages{}
	for _, f := range all {
		if name := f.Name(); path.Ext(name) == ".html" && !slices.Contains(shared, name) {
			if p[name], err = template.New(shared[0]).Funcs(functions).ParseFS(files, append(shared, name)...); err != nil {
				return nil, fmt.Errorf("template %s: %w", name, err)
			}
		}
	}
	return p, nil
}

// frame is the data of layout.html.
type frame struct {
	Data    any
	Items   []*item
	Item    *item // nil if the page is not about one item
	Tab     string
	Tabs    []tab
	Version string
}

type tab struct {
	Name, URL string
	Here      bool
}

// render answers with a page: the named template with the data, in the layout.
func (s *Server) render(w http.ResponseWriter, r *http.Request, name string, data any) error {
	return s.write(w, r, http.StatusOK, name, data)
}

// write is render with a status. It executes the whole template before it answers, so that it can
// still answer with an error page.
func (s *Server) write(w http.ResponseWriter, r *http.Request, status int, name string, data any) error {
	q := requestOf(r)
	f := frame{Data: data, Items: s.items, Item: q.item, Tab: q.tab, Version: s.version}
	if q.item != nil && q.item.IsRecording() {
		for _, t := range tabs {
			f.Tabs = append(f.Tabs, tab{t.Name, q.item.URL(t.Page), t.Name == q.tab})
		}
		for _, other := range s.items {
			if other.IsRecording() && other != q.item {
				f.Tabs = append(f.Tabs, tab{Name: fmt.Sprintf("Compare with %d", other.Number), URL: fmt.Sprintf("/compare/%d/%d", q.item.Number, other.Number)})
				break
			}
		}
	}
	t := s.pages[name]
	if t == nil {
		return fmt.Errorf("there is no template %s", name)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, f); err != nil {
		return fmt.Errorf("page %s: %w", name, err)
	}
	send(w, status, htmlType, b.Bytes())
	return nil
}

const htmlType = "text/html; charset=utf-8"

// send answers with content of a type. For HEAD, net/http leaves the content out.
func send(w http.ResponseWriter, status int, contentType string, content []byte) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	w.WriteHeader(status)
	_, _ = w.Write(content) // an error means that the client is gone
}

// statics maps the files that pages use to their types.
var statics = map[string]string{
	"style.css": "text/css; charset=utf-8",
	"app.js":    "text/javascript; charset=utf-8",
	"icon.svg":  "image/svg+xml",
}

// static answers with a file of statics.
func (s *Server) static(w http.ResponseWriter, r *http.Request, _ *item) error {
	name := r.PathValue("file")
	kind, ok := statics[name]
	if !ok {
		return notFound("there is no file %s", name)
	}
	b, err := files.ReadFile(name)
	if err != nil {
		return err
	}
	send(w, http.StatusOK, kind, b)
	return nil
}
