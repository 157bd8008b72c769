package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/elazarl/goproxy"
)

// exchange is what the recording goproxy keeps, as a program of one page would:
// both heads and both bodies.
type exchange struct {
	Start           time.Time     `json:"ts"`
	Took            time.Duration `json:"duration"`
	Method          string        `json:"method"`
	URL             string        `json:"url"`
	RequestHeaders  http.Header   `json:"requestHeaders"`
	RequestBody     []byte        `json:"requestBody,omitempty"`
	Status          int           `json:"status"`
	ResponseHeaders http.Header   `json:"responseHeaders"`
	ResponseBody    []byte        `json:"responseBody,omitempty"`
}

// serveGoproxy runs goproxy as a recorder: JSON lines, buffered, uncompressed and
// unredacted. So it does less work than tapedeck.
func serveGoproxy(ctx context.Context, address, file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	lines := bufio.NewWriterSize(f, 64<<10)
	var mu sync.Mutex
	encoder := json.NewEncoder(lines)
	proxy := goproxy.NewProxyHttpServer()
	proxy.OnRequest().DoFunc(func(r *http.Request, ctx *goproxy.ProxyCtx) (*http.Request, *http.Response) {
		e := &exchange{Start: time.Now(), Method: r.Method, URL: r.URL.String(), RequestHeaders: r.Header.Clone()}
		if r.Body != nil && r.Body != http.NoBody {
			e.RequestBody, r.Body = keep(r.Body)
		}
		ctx.UserData = e
		return r, nil
	})
	proxy.OnResponse().DoFunc(func(r *http.Response, ctx *goproxy.ProxyCtx) *http.Response {
		e, ok := ctx.UserData.(*exchange)
		if !ok || r == nil {
			return r
		}
		e.ResponseBody, r.Body = keep(r.Body)
		e.Status, e.ResponseHeaders, e.Took = r.StatusCode, r.Header, time.Since(e.Start)
		mu.Lock()
		defer mu.Unlock()
		if err := encoder.Encode(e); err != nil {
			ctx.Warnf("record: %v", err)
		}
		return r
	})
	// As many idle upstream connections as there are clients. With the default of
	// two per host, it would open a connection for most requests.
	proxy.Tr.MaxIdleConnsPerHost = 2 * connections
	srv := &http.Server{Addr: address, Handler: proxy}
	go func() {
		<-ctx.Done()
		_ = srv.Close()
	}()
	if err := srv.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	mu.Lock()
	defer mu.Unlock()
	return errors.Join(lines.Flush(), f.Close())
}

// keep reads a body, and returns its bytes and a reader of the same bytes.
func keep(body io.ReadCloser) ([]byte, io.ReadCloser) {
	defer body.Close()
	p, _ := io.ReadAll(body) // of a broken body, pass on what arrived
	return p, io.NopCloser(bytes.NewReader(p))
}
