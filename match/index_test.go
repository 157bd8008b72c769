package match_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/match"
	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
)

// get is a request of a.example with a response.
func get(uri string, at time.Time, body string) *recording.Exchange {
	e := &recording.Exchange{TS: at, HTTP: &recording.HTTP{}}
	e.HTTP.Req.Method, e.HTTP.Req.Host, e.HTTP.Req.URI = "GET", "a.example", uri
	e.HTTP.Req.URL, _, _ = strings.Cut(uri, "?")
	e.HTTP.Res.StatusCode, e.HTTP.Res.Body = 200, []byte(body)
	return e
}

func post(uri string, at time.Time, body string) *recording.Exchange {
	e := get(uri, at, "")
	e.HTTP.Req.Method, e.HTTP.Req.Body = "POST", []byte(body)
	e.HTTP.Req.Headers = recording.Headers{{Name: "Content-Type", Value: "application/json"}}
	return e
}

// TestRepeatedRequestsKeepTheirOrder: sequences never mix across endpoints, as they do in
// Hoverfly, in whatever order exchanges are added.
func TestRepeatedRequestsKeepTheirOrder(t *testing.T) {
	for range 5 {
		m, err := match.New(match.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b := m.NewBuilder()
		var wg sync.WaitGroup
		for _, i := range rand.Perm(300) {
			wg.Go(func() {
				uri := fmt.Sprintf("/%d?x=%d", i%3, i%2)
				b.Add(match.Recorded{Exchange: get(uri, captured.Add(time.Duration(i/6)*time.Second), ""), Ref: match.Ref(i)})
			})
		}
		wg.Wait()
		x, err := b.Build(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		sequences := map[uint64]bool{}
		for endpoint := range 3 {
			for parameter := range 2 {
				res := x.Lookup(m.Request(get(fmt.Sprintf("/%d?x=%d", endpoint, parameter), replayed, "")), nil)
				var want []match.Ref
				for i := range 300 {
					if i%3 == endpoint && i%2 == parameter {
						want = append(want, match.Ref(i))
					}
				}
				if diff := cmp.Diff(want, refs(x, res)); diff != "" || res.How != match.Exact {
					t.Errorf("/%d?x=%d: %v (-want +got):\n%s", endpoint, parameter, res.How, diff)
				}
				sequences[res.Sequence] = true
			}
		}
		if len(sequences) != 6 {
			t.Errorf("%d sequences, want 6", len(sequences))
		}
	}
}

// TestSecretsAreComparedByToken: with the key, a redacted place equals only the secret that was
// replaced there. Explanations don't show secrets.
func TestSecretsAreComparedByToken(t *testing.T) {
	with := func(key string) func(*recording.Exchange) {
		s := redact.New(recording.Discard{}, redact.Options{Key: []byte(key)})
		return func(e *recording.Exchange) { s.Write(e) }
	}
	const key, other = "a key of the cluster's own", "another key"
	recorded := func() []*recording.Exchange {
		all := []*recording.Exchange{
			get("/a?api_key=hunter2&q=1", captured, "one"),
			get("/a?api_key=hunter3&q=1", captured.Add(1), "two"),
		}
		for _, e := range all {
			with(key)(e)
			if strings.Contains(e.HTTP.Req.URI, "hunter") {
				t.Fatalf("not redacted: %s", e.HTTP.Req.URI)
			}
		}
		return all
	}
	for _, c := range []struct {
		name    string
		redact  func(*recording.Exchange)
		foreign bool
		secret  string
		how     match.How
		want    []match.Ref
	}{
		{"the key, a known secret", with(key), false, "hunter3", match.Exact, []match.Ref{1}},
		{"the key, an unknown secret", with(key), false, "hunter4", match.None, nil},
		{"another key", with(other), true, "hunter3", match.Masked, []match.Ref{0, 1}},
		{"a token that the mock had handed out", with(other), true, recorded()[1].HTTP.Req.URI[len("/a?api_key=") : len("/a?api_key=")+25], match.Exact, []match.Ref{1}},
	} {
		m, err := match.New(match.Options{Redact: c.redact})
		if err != nil {
			t.Fatal(err)
		}
		all := recorded()
		b := m.NewBuilder()
		for i, e := range all {
			b.Add(match.Recorded{Exchange: e, Ref: match.Ref(i), ForeignTokens: c.foreign})
		}
		x, err := b.Build(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		r := m.Request(get("/a?q=1&api_key="+c.secret, replayed, ""))
		res := x.Lookup(r, nil)
		if res.How != c.how || !slices.Equal(refs(x, res), c.want) {
			t.Errorf("%s: %v %v, want %v %v", c.name, res.How, refs(x, res), c.how, c.want)
		}
		if res.How == match.Masked && (len(res.Masks) != 1 || res.Masks[0].Why != match.ByRedaction) {
			t.Errorf("%s: masked %+v", c.name, res.Masks)
		}
		var text strings.Builder
		ex := x.Explain(r, res, func(r match.Ref) (*recording.Exchange, error) { return all[r], nil })
		ex.Text(&text)
		if structured, _ := json.Marshal(ex); strings.Contains(text.String()+string(structured), "hunter") {
			t.Errorf("%s: the explanation shows the secret:\n%s", c.name, text.String())
		}
	}
}

// TestTheNearestIsFoundAmongMany changes one value in one of 5,000 requests. The explanation names
// that request and the value after comparing at most 50 requests.
func TestTheNearestIsFoundAmongMany(t *testing.T) {
	var recorded []*recording.Exchange
	body := func(i int, note string) string {
		return fmt.Sprintf(`{"customer":%d,"item":"item %d","address":{"street":"street %d","city":"city %d"},"note":%q}`, i, i%97, i, i%13, note)
	}
	for i := range 5000 {
		recorded = append(recorded, post("/orders", captured.Add(time.Duration(i)*time.Second), body(i, "")))
	}
	m, x := indexOf(t, match.Options{}, recorded...)
	loaded := 0
	load := func(r match.Ref) (*recording.Exchange, error) { loaded++; return recorded[r], nil }
	for _, i := range []int{0, 77, 2500, 4999} {
		loaded = 0
		r := m.Request(post("/orders", replayed, body(i, "changed")))
		ex := x.Explain(r, x.Lookup(r, nil), load)
		want := []match.Difference{{Place: "body:$.note", Kind: match.ValueChanged, Recorded: "", Live: "changed"}}
		if ex.Nearest == nil || ex.Nearest.Ref != match.Ref(i) || !cmp.Equal(ex.Nearest.List, want) {
			t.Errorf("%d: %+v", i, ex.Nearest)
			continue
		}
		if ex.Nearest.Of != 5000 || ex.Nearest.Considered > match.MaxNearest || loaded > match.MaxNearest {
			t.Errorf("%d: looked at %d of %d, read %d", i, ex.Nearest.Considered, ex.Nearest.Of, loaded)
		}
	}
}

// TestARareValueDoesNotHideTheNearest has five recorded requests that share only one rare value
// with the live request, and twenty others that differ only in that value.
func TestARareValueDoesNotHideTheNearest(t *testing.T) {
	body := func(common, note string) string {
		text := `{"note":"` + note + `"`
		for i := range 20 {
			text += fmt.Sprintf(`,"field%d":"%s"`, i, common)
		}
		return text + "}"
	}
	var recorded []*recording.Exchange
	for i := range 5 {
		recorded = append(recorded, post("/orders", captured.Add(time.Duration(i)*time.Second), body(fmt.Sprint("other", i), "rare")))
	}
	for i := range 20 {
		recorded = append(recorded, post("/orders", captured.Add(time.Minute), body("common", fmt.Sprint("note", i))))
	}
	m, x := indexOf(t, match.Options{}, recorded...)
	r := m.Request(post("/orders", replayed, body("common", "rare")))
	ex := x.Explain(r, x.Lookup(r, nil), func(r match.Ref) (*recording.Exchange, error) { return recorded[r], nil })
	if ex.Nearest == nil || len(ex.Nearest.List) != 1 || ex.Nearest.List[0].Place != "body:$.note" {
		t.Errorf("%+v", ex.Nearest)
	}
}

// TestBodiesThatWereCut finds bodies by their beginning and their size.
func TestBodiesThatWereCut(t *testing.T) {
	long := strings.Repeat("0123456789", 100)
	e := post("/upload", captured, long[:300])
	e.HTTP.Req.Headers[0].Value = "application/octet-stream"
	e.Tags.Set(recording.TagRequestBodySize, "1000")
	m, x := indexOf(t, match.Options{}, e)
	for body, want := range map[string]match.How{long: match.Exact, long + "0": match.None, "x" + long[1:]: match.None, long[:300]: match.None} {
		live := post("/upload", replayed, body)
		live.HTTP.Req.Headers[0].Value = "application/octet-stream"
		if res := x.Lookup(m.Request(live), nil); res.How != want {
			t.Errorf("%.10s… of %d: %v, want %v", body, len(body), res.How, want)
		}
	}
}

func TestMessagesThatWereCut(t *testing.T) {
	long := fields(1, strings.Repeat("a", 500))
	cut := client(long[:100])
	cut.Size = int64(len(long))
	m, x := indexOf(t, match.Options{}, call("/s/M", captured, cut))
	if res := x.Lookup(m.Request(call("/s/M", replayed, client(long))), nil); res.How != match.Exact {
		t.Errorf("the whole message: %v", res.How)
	}
	if res := x.Lookup(m.Request(call("/s/M", replayed, client(fields(1, strings.Repeat("a", 501))))), nil); res.How != match.None {
		t.Errorf("another message: %v", res.How)
	}
	whole := client(fields(1, "a", 2, "b"))
	whole.Size = int64(len(whole.Data))
	m, x = indexOf(t, match.Options{}, call("/s/M", captured, whole))
	if res := x.Lookup(m.Request(call("/s/M", replayed, client(fields(2, "b", 1, "a")))), nil); res.How != match.Exact {
		t.Errorf("fields in another order, of a message whose size is known: %v", res.How)
	}
}

// TestLookupsAreConcurrent runs under the race detector.
func TestLookupsAreConcurrent(t *testing.T) {
	var recorded []*recording.Exchange
	for i := range 100 {
		recorded = append(recorded, post("/orders", captured.Add(time.Duration(i)*time.Second), fmt.Sprintf(`{"n":%d,"requestId":"%08x-1c9d-4b49-b5ab-7ac4db2f4a0e"}`, i, i)))
	}
	m, x := indexOf(t, match.Options{}, recorded...)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				r := m.Request(post("/orders", replayed, fmt.Sprintf(`{"n":%d,"requestId":"%08x-1c9d-4b49-b5ab-7ac4db2f4a0f"}`, i, g)))
				if res := x.Lookup(r, nil); res.How != match.Masked || !slices.Equal(refs(x, res), []match.Ref{match.Ref(i)}) {
					t.Errorf("%d: %v %v", i, res.How, refs(x, res))
				}
				m.Release(r)
			}
		})
	}
	wg.Wait()
}

func TestBind(t *testing.T) {
	m, err := match.New(match.Options{})
	if err != nil {
		t.Fatal(err)
	}
	recorded := m.Request(post("/a?ts=1781276645", captured, `{"id":"6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e","n":1,"list":["2026-06-12T15:04:05Z"]}`))
	live := m.Request(post("/a?ts=1795167000", replayed, `{"list":["2026-11-20T09:30:00Z"],"n":2,"id":"00000000-1c9d-4b49-b5ab-7ac4db2f4a0e"}`))
	want := []match.Binding{
		{Place: "query:ts", Class: "epoch-s", Recorded: "1781276645", Live: "1795167000"},
		{Place: "body:$.list[0]", Class: "datetime", Recorded: "2026-06-12T15:04:05Z", Live: "2026-11-20T09:30:00Z"},
		{Place: "body:$.id", Class: "uuid", Recorded: "6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e", Live: "00000000-1c9d-4b49-b5ab-7ac4db2f4a0e"},
	}
	if diff := cmp.Diff(want, m.Bind(recorded, live)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// FuzzRequest checks that no exchange makes a lookup fail, and that each request finds itself.
func FuzzRequest(f *testing.F) {
	f.Add("POST", "h:80", "/a/6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e?x=1", "application/json", []byte(`{"a":[1,{"b":"2026-06-12T15:04:05Z"}]}`), int64(0))
	f.Add("GET", "", "http://h/%zz?%=&{", "text/xml", []byte(`<a b="1">x</a>`), int64(1))
	f.Add("POST", "[::1]:8080", "*", "multipart/form-data; boundary=x", []byte("--x\r\n\r\n\r\n--x--"), int64(2))
	f.Add("POST", "h", "/graphql", "application/json", []byte(`{"query":"{a}"}`), int64(3))
	f.Fuzz(func(t *testing.T, method, host, uri, contentType string, body []byte, ns int64) {
		make := func() *recording.Exchange {
			e := &recording.Exchange{TS: captured.Add(time.Duration(ns)), HTTP: &recording.HTTP{}}
			e.HTTP.Req = recording.HTTPRequest{Method: method, Host: host, URI: uri, Headers: recording.Headers{{Name: "Content-Type", Value: contentType}}, Body: bytes.Clone(body)}
			e.HTTP.Req.URL, _, _ = strings.Cut(uri, "?")
			e.HTTP.Res.StatusCode = 200
			e.HTTP.Res.Headers = e.HTTP.Req.Headers
			e.HTTP.Res.Body = bytes.Clone(body)
			return e
		}
		changed := make()
		changed.HTTP.Req.Body = append(changed.HTTP.Req.Body, '1')
		m, x := indexOf(&testing.T{}, match.Options{}, make(), changed)
		r := m.Request(make())
		res := x.Lookup(r, nil)
		if res.How != match.Exact || !slices.Contains(refs(x, res), 0) {
			t.Fatalf("%v %v", res.How, refs(x, res))
		}
		load := func(ref match.Ref) (*recording.Exchange, error) { return make(), nil }
		x.Explain(r, res, load).Text(&strings.Builder{})
		x.Explain(r, match.Result{}, load).Text(&strings.Builder{})
		if d := m.Diff(make(), make(), false); len(d.List) > 0 {
			t.Fatalf("an exchange differs from itself: %v", d.List)
		}
		m.Diff(make(), changed, false)
		m.Bind(m.Request(make()), m.Request(changed))
	})
}

// TestInboundIdentifiersRefer: a client that asks about an identifier from an inbound exchange did
// not make it up, so another value means another thing.
func TestInboundIdentifiersRefer(t *testing.T) {
	const id, other = "6f1f7e5a-1c9d-4b49-b5ab-7ac4db2f4a0e", "00000000-1c9d-4b49-b5ab-7ac4db2f4a0e"
	for witnessed, want := range map[bool]match.How{true: match.None, false: match.Masked} {
		m, err := match.New(match.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b := m.NewBuilder()
		if witnessed {
			b.Witness(get("/users/"+id, captured, ""))
		}
		b.Add(match.Recorded{Exchange: post("/charge", captured.Add(time.Second), `{"user":"`+id+`"}`)})
		x, err := b.Build(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if res := x.Lookup(m.Request(post("/charge", replayed, `{"user":"`+other+`"}`)), nil); res.How != want {
			t.Errorf("witnessed %v: %v, want %v", witnessed, res.How, want)
		}
		if x.Len() != 1 {
			t.Errorf("%d exchanges", x.Len())
		}
	}
}
