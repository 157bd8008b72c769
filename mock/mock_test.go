package mock

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tapedeck/tapedeck/recording"
)

// dependency is a server with answers of every kind.
func dependency(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /json", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Add("X-Twice", "a=1")
		w.Header().Add("X-Twice", "b=2")
		fmt.Fprintf(w, `{"host":%q,"q":%q}`, "dep", r.URL.RawQuery)
	})
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
		w.Write(body)
	})
	mux.HandleFunc("GET /chunked", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "one")
		w.(http.Flusher).Flush()
		io.WriteString(w, "two")
	})
	mux.HandleFunc("GET /trailers", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		io.WriteString(w, "body")
		w.(http.Flusher).Flush()
		w.Header().Set("X-Sum", "17")
		w.Header().Set(http.TrailerPrefix+"X-Late", "18")
	})
	mux.HandleFunc("GET /early", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		io.WriteString(w, "late")
	})
	mux.HandleFunc("GET /empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("GET /cached", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"1"`)
		w.WriteHeader(http.StatusNotModified)
	})
	mux.HandleFunc("GET /moved", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/json", http.StatusFound) })
	mux.HandleFunc("GET /error", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "no", http.StatusServiceUnavailable) })
	mux.HandleFunc("GET /large", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, strings.Repeat("0123456789", 50_000)) })
	mux.HandleFunc("GET /bare", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Date"], w.Header()["Content-Type"] = nil, nil
		io.WriteString(w, "<html>")
	})
	return mux
}

var requestsOfAllKinds = [][3]string{
	{"GET", "/json?a=1&b=2", ""}, {"GET", "/json?b=2&a=2", ""}, {"HEAD", "/json?a=1&b=2", ""}, {"POST", "/echo", `{"a":1}`}, {"POST", "/echo", "text"}, {"GET", "/chunked", ""}, {"GET", "/trailers", ""},
	{"GET", "/early", ""}, {"GET", "/empty", ""}, {"GET", "/cached", ""}, {"GET", "/moved", ""}, {"GET", "/error", ""}, {"GET", "/large", ""}, {"GET", "/bare", ""}, {"GET", "/none", ""},
}

// The mock answers a recording made through the sidecar in the same way as the dependency, which is
// gone by then.
func TestRecordedTrafficIsAnsweredAlike(t *testing.T) {
	for name, c := range map[string]struct {
		start  func(http.Handler) *httptest.Server
		change func(*http.Transport)
	}{
		"HTTP/1.1": {httptest.NewServer, func(*http.Transport) {}},
		"HTTP/1.1 in TLS": {httptest.NewTLSServer, func(tr *http.Transport) {
			tr.ForceAttemptHTTP2 = false
			tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
		}},
		"h2": {func(h http.Handler) *httptest.Server {
			s := httptest.NewUnstartedServer(h)
			s.EnableHTTP2 = true
			s.StartTLS()
			return s
		}, func(*http.Transport) {}},
	} {
		t.Run(name, func(t *testing.T) {
			server := c.start(dependency(t))
			ask := func(w *world) (all []answer) {
				client := w.client(c.change)
				for _, r := range requestsOfAllKinds {
					all = append(all, fetch(t, client, r[0], server.URL+r[1], r[2]))
				}
				return all
			}
			var want []answer
			exchanges := record(t, []*httptest.Server{server}, func(w *world) { want = ask(w) })
			server.Close()
			m := start(t, exchanges)
			got := ask(&m.world)
			for i, r := range requestsOfAllKinds {
				if diff := cmp.Diff(want[i], got[i], cmp.AllowUnexported(answer{}), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s %s (-recorded +mocked):\n%s", r[0], r[1], diff)
				}
			}
			if r := m.Receipt(); r.Served != int64(len(requestsOfAllKinds)) || r.Missed != 0 || r.NeverUsed != 0 || r.Escaped != 0 {
				t.Errorf("receipt %+v", r)
			}
		})
	}
}

func TestMissIsNoSuccessAndIsExplained(t *testing.T) {
	m := start(t, []*recording.Exchange{
		exchange(0, "POST", "http://dep.example/orders", `{"item":"apple","count":1}`, 201, "created"),
		exchange(time.Second, "GET", "https://other.example/a", "", 200, "a"),
	})
	c := m.client()
	a := fetch(t, c, "POST", "http://dep.example/orders", `{"item":"pear","count":1}`, "Content-Type", "application/json")
	if a.status != http.StatusNotImplemented || a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Tapedeck-Match") != "MISS" {
		t.Errorf("%d %v", a.status, a.header)
	}
	var miss Miss
	if err := json.Unmarshal([]byte(a.body), &miss); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
	if miss.Code != "no_match" || miss.Explanation == nil || miss.Explanation.Nearest == nil || len(miss.Explanation.Nearest.List) != 1 {
		t.Fatalf("%s", a.body)
	}
	if d := miss.Explanation.Nearest.List[0]; d.Place != "body:$.item" || d.Recorded != "apple" || d.Live != "pear" {
		t.Errorf("%+v", d)
	}
	for url, want := range map[string]string{
		"http://dep.example/customers": "no_endpoint",
		"http://unknown.example/":      "no_host",
		"https://unknown.example/":     "no_host",
	} {
		a := fetch(t, c, "GET", url, "", "Accept", "application/json")
		if err := json.Unmarshal([]byte(a.body), &miss); err != nil || miss.Code != want {
			t.Errorf("%s: %s, %v: %s", url, miss.Code, err, a.body)
		}
	}
	// A client that asks for HTML gets readable text.
	a = fetch(t, c, "GET", "http://dep.example/orders", "", "Accept", "text/html")
	if !strings.HasPrefix(a.body, "tapedeck: MISS: GET dep.example/orders: ") || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Errorf("%s: %s", a.header.Get("Content-Type"), a.body)
	}
	if r := m.Receipt(); r.Missed != 5 || r.Served != 0 || r.NeverUsed != 2 || len(r.Misses) != 4 || r.Misses[0].Count != 1 {
		t.Errorf("receipt %s", &r)
	}
	if strings.Count(m.log.String(), "msg=miss") != 4 {
		t.Errorf("log %s", m.log)
	}
	fetch(t, c, "GET", "http://dep.example/orders", "") // logged once, and counted
	if strings.Count(m.log.String(), "msg=miss") != 4 {
		t.Errorf("log %s", m.log)
	}
	// Paths that look like one resource share one miss, which has the first path and the total count.
	for _, id := range []string{"17", "18", "19"} {
		fetch(t, c, "GET", "http://dep.example/prices/"+id, "")
	}
	r, sum := m.Receipt(), int64(0)
	for _, miss := range r.Misses {
		sum += miss.Count
	}
	if last := r.Misses[len(r.Misses)-1]; last.Path != "/prices/17" || last.Count != 3 || sum != r.Missed {
		t.Errorf("%+v; %d counted of %d", last, sum, r.Missed)
	}
}
