package collector

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/proxy/address"
	"github.com/tapedeck/tapedeck/recording/store"
)

// readWithin bounds how long a reader may take for each 64 KiB of an answer.
const readWithin = time.Minute

// Reader serves the read port:
//
//	GET /v1/objects/KEY[?from=N]       the object, from byte N on
//	GET /v1/objects/?prefix=PREFIX     the objects whose keys begin with it, as [contract.Entry]
//	GET /v1/folders/?prefix=PREFIX     the folders, as [contract.Entry]
//
// With &after=NAME, a list begins after that name, so that a reader can resume when its connection
// broke.
//
// There is no authentication. So it answers only requests for loopback hosts, and rejects those of
// web pages.
func (c *Collector) Reader() http.Handler {
	return address.OnLoopback(http.HandlerFunc(c.read))
}

func (c *Collector) read(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set(contract.HeaderContract, strconv.Itoa(contract.Version))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		writeProblem(w, http.StatusMethodNotAllowed, contract.RefusedMethod, "this port only serves readers; send segments to the other one")
		return
	}
	// Browsers send these headers if a page asks, but not if a person opens the address.
	site := r.Header.Get("Sec-Fetch-Site")
	if r.Header.Get("Origin") != "" || site != "" && site != "none" {
		writeProblem(w, http.StatusForbidden, "cross_site", "a web page may not read recordings")
		return
	}
	rw := &answering{ResponseWriter: w, rc: http.NewResponseController(w)}
	out := bufio.NewWriterSize(rw, readBytes)
	key, isObject := strings.CutPrefix(r.URL.Path, contract.ObjectsPath)
	switch {
	case isObject && key != "":
		c.object(w, r, out, key)
	case isObject:
		c.list(r, rw, out, objects(c.o.Store.List(r.Context(), r.URL.Query().Get("prefix"))))
	case r.URL.Path == contract.FoldersPath:
		c.list(r, rw, out, folders(c.o.Store.Folders(r.Context(), r.URL.Query().Get("prefix"))))
	default:
		writeProblem(w, http.StatusNotFound, "no_such_path", "want "+contract.ObjectsPath+"KEY, "+contract.ObjectsPath+"?prefix= or "+contract.FoldersPath+"?prefix=")
	}
}

// answering writes an answer that fails if its reader takes too long.
type answering struct {
	http.ResponseWriter
	rc *http.ResponseController
}

func (w *answering) Write(p []byte) (int, error) {
	_ = w.rc.SetWriteDeadline(time.Now().Add(readWithin)) // HTTP/1.1 and h2 support it
	return w.ResponseWriter.Write(p)
}

// begin sends the head, so that the reader knows that the answer is being prepared.
func (w *answering) begin() {
	_ = w.rc.SetWriteDeadline(time.Now().Add(readWithin))
	w.WriteHeader(http.StatusOK)
	_ = w.rc.Flush()
}

// objects are entries of objects.
func objects(list iter.Seq2[store.Object, error]) iter.Seq2[contract.Entry, error] {
	return func(yield func(contract.Entry, error) bool) {
		for o, err := range list {
			if !yield(contract.Entry{Key: o.Key, Size: o.Size, Modified: o.Modified.UTC()}, err) {
				return
			}
		}
	}
}

// folders are entries of folders.
func folders(list iter.Seq2[string, error]) iter.Seq2[contract.Entry, error] {
	return func(yield func(contract.Entry, error) bool) {
		for f, err := range list {
			if !yield(contract.Entry{Folder: f}, err) {
				return
			}
		}
	}
}

// list writes a list. Its last line marks it as complete.
func (c *Collector) list(r *http.Request, w *answering, out *bufio.Writer, entries iter.Seq2[contract.Entry, error]) {
	w.Header().Set("Content-Type", contract.EntriesType)
	w.begin()
	if r.Method == http.MethodHead {
		return
	}
	to, after := json.NewEncoder(out), r.URL.Query().Get("after")
	to.SetEscapeHTML(false)
	for e, err := range entries {
		if r.Context().Err() != nil {
			panic(http.ErrAbortHandler) // the reader is gone
		}
		switch {
		case err != nil:
			c.o.Log.Warn("listing the store failed", slog.String("error", bounded(err.Error())))
			_, code := kindOf(err)
			e = contract.Entry{Error: bounded(err.Error()), Code: code}
		case e.Key+e.Folder <= after:
			continue
		}
		if to.Encode(e) != nil {
			panic(http.ErrAbortHandler) // a cut answer must not look like a whole one
		}
	}
	if to.Encode(contract.Entry{End: true}) != nil || out.Flush() != nil {
		panic(http.ErrAbortHandler)
	}
}

// object writes an object's bytes.
func (c *Collector) object(w http.ResponseWriter, r *http.Request, out *bufio.Writer, key string) {
	from := int64(0)
	if text := r.URL.Query().Get("from"); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n > store.MaxBytes {
			writeProblem(w, http.StatusBadRequest, "from", "want a number of bytes as from")
			return
		}
		from = n
	}
	fail := func(err error) {
		status, code := kindOf(err)
		writeProblem(w, status, code, err.Error())
	}
	if err := store.CheckKey(key); err != nil {
		writeProblem(w, http.StatusBadRequest, contract.RefusedKey, err.Error())
		return
	}
	body, err := c.o.Store.Get(r.Context(), key)
	if err != nil {
		fail(err)
		return
	}
	defer body.Close()
	size := int64(-1)
	if f, ok := body.(interface{ Stat() (fs.FileInfo, error) }); ok {
		if info, err := f.Stat(); err == nil {
			size = info.Size()
		}
	}
	if from > 0 {
		if size >= 0 && from > size {
			err = io.EOF
		} else if s, ok := body.(io.Seeker); ok {
			_, err = s.Seek(from, io.SeekStart)
		} else { // a bucket's object: a broken read is rare, so reading its beginning again is acceptable
			_, err = io.CopyN(io.Discard, body, from)
		}
		if err == io.EOF {
			writeProblem(w, http.StatusRequestedRangeNotSatisfiable, "from", "the object ends before that")
			return
		}
		if err != nil {
			fail(err)
			return
		}
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Disposition", "attachment")
	if size >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(size-from, 10))
	}
	if r.Method == http.MethodHead {
		return
	}
	_, err = io.Copy(out, body)
	if err == nil {
		err = out.Flush()
	}
	if err != nil {
		if r.Context().Err() == nil {
			c.o.Log.Warn("sending an object failed", slog.String("key", bounded(key)), slog.String("error", bounded(err.Error())))
		}
		panic(http.ErrAbortHandler) // the reader asks for the rest
	}
}

// kindOf returns the status and the code of an answer to an error of the store.
func kindOf(err error) (status int, code string) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return http.StatusNotFound, contract.CodeNotFound
	case errors.Is(err, fs.ErrPermission):
		return http.StatusForbidden, contract.CodeForbidden
	}
	return http.StatusBadGateway, contract.RefusedStore
}
