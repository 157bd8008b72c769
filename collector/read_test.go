package collector_test

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/collector"
	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/recording/store"
)

func get(t *testing.T, r *running, method, path string, change func(*http.Request)) (status int, header http.Header, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.read+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(req)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func TestReading(t *testing.T) {
	r := start(t)
	for key, text := range map[string]string{"a/b": "0123456789", "a/c": "", "d": "x", "100% odd?#/x": "odd"} {
		if err := store.Dir(r.dir).Put(t.Context(), key, strings.NewReader(text)); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"/v1/objects/a/b", 200, "0123456789"},
		{"/v1/objects/a/b?from=4", 200, "456789"},
		{"/v1/objects/a/b?from=10", 200, ""},
		{"/v1/objects/a/c", 200, ""},
		{"/v1/objects/100%25%20odd%3F%23/x", 200, "odd"},
		{"/v1/objects/a/b?from=11", 416, "ends before"},
		{"/v1/objects/a/b?from=-1", 400, "number"},
		{"/v1/objects/none", 404, contract.CodeNotFound},
		{"/v1/objects/a/../d", 400, contract.RefusedKey},
		{"/v1/objects/..%2f..%2fetc/passwd", 400, contract.RefusedKey},
		{"/v1/objects//a", 400, contract.RefusedKey},
		{"/v1/objects/?prefix=a/", 200, `{"end":true}` + "\n"},
		{"/v1/objects/?prefix=../", 200, `"error"`},
		{"/v1/folders/?prefix=", 200, `{"folder":"a/"}`},
		{"/v1/folders/?prefix=&after=a/", 200, `{"end":true}`},
		{"/", 404, "/v1/objects/"},
		{"/metrics", 404, ""},
		{contract.SegmentsPath + "x", 404, ""},
	} {
		status, header, text := get(t, r, http.MethodGet, c.path, nil)
		if status != c.status || !strings.Contains(text, c.want) {
			t.Errorf("%s: %d %q, want %d …%s…", c.path, status, text, c.status, c.want)
		}
		if header.Get("X-Content-Type-Options") != "nosniff" || header.Get("Access-Control-Allow-Origin") != "" || header.Get(contract.HeaderContract) == "" {
			t.Errorf("%s: %v", c.path, header)
		}
	}
	status, header, text := get(t, r, http.MethodHead, "/v1/objects/a/b", nil)
	if status != 200 || header.Get("Content-Length") != "10" || text != "" {
		t.Errorf("HEAD: %d %v %q", status, header, text)
	}
}

// A web page may send requests to loopback, too. It gets no answer, whatever host name it uses.
func TestNoWebPageReads(t *testing.T) {
	r := start(t)
	if err := store.Dir(r.dir).Put(t.Context(), "a", strings.NewReader("secret")); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*http.Request){
		"its own name":             func(req *http.Request) { req.Host = "rebound.example:4311" },
		"a name of loopback":       func(req *http.Request) { req.Host = "127.0.0.1.evil.example" },
		"another origin":           func(req *http.Request) { req.Header.Set("Origin", "http://evil.example") },
		"no origin":                func(req *http.Request) { req.Header.Set("Origin", "null") },
		"from another site":        func(req *http.Request) { req.Header.Set("Sec-Fetch-Site", "cross-site") },
		"from a port of localhost": func(req *http.Request) { req.Header.Set("Sec-Fetch-Site", "same-site") },
	} {
		if status, _, text := get(t, r, http.MethodGet, "/v1/objects/a", change); status != http.StatusForbidden || strings.Contains(text, "secret") {
			t.Errorf("%s: %d %q", name, status, text)
		}
	}
	for _, host := range []string{"localhost:4311", "127.0.0.1:4311", "[::1]:4311"} {
		if status, _, _ := get(t, r, http.MethodGet, "/v1/objects/a", func(req *http.Request) { req.Host = host }); status != http.StatusOK {
			t.Errorf("%s: %d", host, status)
		}
	}
}

func TestNobodyWritesToTheReadPort(t *testing.T) {
	r := start(t)
	for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete, http.MethodOptions, "X"} {
		if status, _, _ := get(t, r, method, "/v1/objects/a", nil); status != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d", method, status)
		}
	}
}

func TestTheReadPortIsOnLoopback(t *testing.T) {
	everywhere, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := collector.New(collector.Options{Store: store.Dir(t.TempDir()), Keys: func() [][]byte { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Serve(t.Context(), collector.Ports{Write: listen(t), Read: everywhere}); err == nil || !strings.Contains(err.Error(), "not loopback") {
		t.Errorf("got %v", err)
	}
}
