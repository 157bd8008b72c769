package carry_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/redact"
	"github.com/tapedeck/tapedeck/replay/carry"
)

// recorder is an HTTP client that records what it sends and receives, as a sidecar would.
type recorder struct {
	target string
	conn   string
	all    *[]*recording.Exchange
}

// send sends a request and records it. The answer's body can still be read.
func (c *recorder) send(r *http.Request, body []byte) *http.Response {
	started := time.Now()
	r.URL.Scheme, r.URL.Host, r.Host = "http", strings.TrimPrefix(c.target, "http://"), "shop.example.com"
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	res, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		panic(err)
	}
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		panic(err)
	}
	res.Body.Close()
	res.Body = io.NopCloser(bytes.NewReader(answer))
	*c.all = append(*c.all, &recording.Exchange{
		TS: started.UTC(), Duration: time.Since(started).Milliseconds(), Direction: recording.In, Command: r.Method, Location: r.URL.Path,
		HTTP: &recording.HTTP{
			Req: recording.HTTPRequest{Method: r.Method, URI: r.URL.RequestURI(), URL: r.URL.Path, Host: r.Host, Version: "1.1", Headers: fields(r.Header), Body: body},
			Res: recording.HTTPResponse{StatusCode: res.StatusCode, ContentType: res.Header.Get("Content-Type"), Headers: fields(res.Header), Body: answer},
		},
	})
	return res
}

func fields(h http.Header) (all recording.Headers) {
	for name, values := range h {
		for _, v := range values {
			all = append(all, recording.Header{Name: name, Value: v})
		}
	}
	slices.SortStableFunc(all, func(a, b recording.Header) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// client is one user of the shop.
type client struct {
	recorder
	name    string
	cookies map[string]string
	bearer  string
	next    func() // lets the other clients continue
}

// do sends a request; fields are names and values of headers.
func (c *client) do(method, target, body string, headers ...string) (answer string, h http.Header) {
	c.next()
	r, err := http.NewRequest(method, "http://shop"+target, nil)
	if err != nil {
		panic(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	var pairs []string
	for name, value := range c.cookies {
		pairs = append(pairs, name+"="+value)
	}
	slices.Sort(pairs)
	if len(pairs) > 0 {
		r.Header.Set("Cookie", strings.Join(pairs, "; "))
	}
	if c.bearer != "" {
		r.Header.Set("Authorization", "Bearer "+c.bearer)
	}
	res := c.send(r, []byte(body))
	for _, cookie := range res.Cookies() {
		c.cookies[cookie.Name] = cookie.Value
	}
	b, _ := io.ReadAll(res.Body)
	return string(b), res.Header
}

// get returns the first group of a pattern in a string.
func get(pattern, text string) string {
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if m == nil {
		panic(fmt.Sprintf("%s is not in %s", pattern, text))
	}
	return m[1]
}

const formType = "application/x-www-form-urlencoded"

// flows are the things that clients do.
var flows = map[string]func(c *client){
	"cookies and CSRF": func(c *client) {
		page, _ := c.do("GET", "/login", "")
		c.do("POST", "/login", url.Values{"user": {c.name}, "password": {"correct horse"}, "lang": {"en-US"}, "csrf_token": {get(`csrf_token" value="(.*?)"`, page)}}.Encode(), "Content-Type", formType)
		page, _ = c.do("GET", "/account", "")
		c.do("POST", "/account/email", `{"mail":"`+c.name+`@example.com"}`, "X-Csrf-Token", get(`csrf-token" content="(.*?)"`, page), "Content-Type", "application/json")
	},
	"OAuth with refresh": func(c *client) { c.oauth(); c.refresh(); c.refresh() },
	"what must not be carried": func(c *client) {
		c.oauth()
		config, _ := c.do("GET", "/api/config", "")
		// The client has these values from elsewhere, although the shop of the recording happens
		// to answer with the same ones.
		q := url.Values{"apiHost": {"api1201.example.com"}, "version": {"2.1201.0-rc1"}, "build": {"v1201.4.2"}, "price": {"1201.00"}, "amount": {"1201"}, "quantity": {"1201"}, "page": {"1201"},
			"from": {"2029-09-10T20:26:40Z"}, "day": {"2029-09-10"}, "locale": {"de-DE-x-1201"}, "status": {"PENDING_1201_DAYS"}, "media": {"application/vnd.shop.v1201+json"}, "ip": {"10.0.101.17"},
			"phone": {"+49-30-12120156"}, "mail": {"info1201@example.com"}, "agent": {"shop/1.1201.0"}, "plan": {"TEAM_2024_PLUS"}, "ok": {"true"}, "at": {"1780001201"}, "price2": {"EUR 1201.50"}}
		if strings.Contains(config, "api1201") { // the shop of the recording
			for name, values := range q {
				if !strings.Contains(config, values[0]) && name != "plan" {
					panic(name + " is not what the shop has: " + config)
				}
			}
		}
		c.do("GET", "/api/search?"+q.Encode(), "")
		c.do("GET", "/api/products/1201", "")
		c.do("GET", "/api/products/1202?quantity=1201", "", "X-Api-Version", "2.1201.0-rc1", "X-Region", "api1201.example.com")
	},
	"created ids": func(c *client) {
		c.oauth()
		for range 2 {
			order, h := c.do("POST", "/api/orders", `{"qty": 2, "sku": "blue-shirt"}`, "Content-Type", "application/json")
			id := get(`"id":(\d+)`, order)
			c.do("GET", h.Get("Location"), "")
			line, _ := c.do("POST", "/api/orders/"+id+"/lines", `{ "orderId" : `+id+`, "qty":2 }`, "Content-Type", "application/json")
			c.do("DELETE", "/api/orders/"+id+"/lines/"+get(`"id":(\d+)`, line), "")
		}
	},
	"cursors": func(c *client) {
		page, h := c.do("GET", "/api/items?limit=1", "")
		page, h = c.do("GET", get(`"next":"https://[^/]*(.*?)"`, strings.ReplaceAll(page, `\u0026`, "&")), "")
		_ = page
		page, _ = c.do("GET", get(`<(.*?)>; rel="next"`, h.Get("Link")), "")
		c.do("GET", get(`"next":"https://[^/]*(.*?)"`, strings.ReplaceAll(page, `\u0026`, "&")), "")
		events, _ := c.do("GET", "/api/events", "")
		c.do("GET", "/api/events?after="+get(`nextPageToken":"(.*?)"`, events), "")
	},
	"documents with ETags": func(c *client) {
		doc, h := c.do("POST", "/api/docs", `{"title":"a"}`, "Content-Type", "application/json")
		id := get(`"id":"(.*?)"`, doc)
		c.do("PUT", "/api/docs/"+id, `{"title":"é/\u00e9","id":"`+id+`"}`, "If-Match", h.Get("Etag"))
		_, h = c.do("GET", "/api/docs/"+id, "")
		c.do("PUT", "/api/docs/"+id, `{"title":"c","id":"`+id+`"}`, "If-Match", h.Get("Etag"))
		c.do("GET", "/api/docs/"+id, "", "If-None-Match", h.Get("Etag"))
	},
	"uploads": func(c *client) {
		upload, _ := c.do("POST", "/uploads", "")
		var v struct {
			UploadID string
			URLs     []string
		}
		json.Unmarshal([]byte(upload), &v)
		var etags []string
		for i, u := range v.URLs {
			_, target, _ := strings.Cut(u, "shop.example.com")
			_, h := c.do("PUT", target, strings.Repeat("data", i+1), "Content-Type", "application/octet-stream")
			etags = append(etags, strings.Trim(h.Get("Etag"), `"`))
		}
		c.do("POST", "/uploads/"+v.UploadID+"/complete", `{"parts":[{"n":1,"etag":"`+etags[0]+`"},{"n":2,"etag":"`+etags[1]+`"}]}`, "Content-Type", "application/json")
		c.do("POST", "/uploads/attach", "--B\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\nhello\r\n--B\r\nContent-Disposition: form-data; name=\"upload_id\"\r\n\r\n"+v.UploadID+"\r\n--B--\r\n",
			"Content-Type", "multipart/form-data; boundary=B")
	},
	"XML": func(c *client) {
		login, _ := c.do("POST", "/soap", `<?xml version="1.0"?><e:Envelope xmlns:e="urn:e"><e:Body><Login user="`+c.name+`"/></e:Body></e:Envelope>`, "Content-Type", "text/xml")
		ticket, ref := get(`<ticket>(.*?)</ticket>`, login), get(`caseRef="(.*?)"`, login)
		c.do("POST", "/soap", `<?xml version="1.0"?><e:Envelope xmlns:e="urn:e"><e:Body><List ticket='`+ticket+`'><caseRef> `+ref+` </caseRef><page>1</page></List></e:Body></e:Envelope>`, "Content-Type", "text/xml")
	},
	"keys after Basic": func(c *client) {
		key, _ := c.do("POST", "/keys", "")
		r, _ := http.NewRequest("GET", "/", nil)
		r.SetBasicAuth(get(`keyId":"(.*?)"`, key), get(`secret":"(.*?)"`, key))
		c.do("GET", "/secure", "", "Authorization", r.Header.Get("Authorization"))
	},
}

func (c *client) oauth() {
	_, h := c.do("GET", "/oauth/authorize?client_id=web&state=st"+c.name+"&login_hint="+c.name, "")
	u, _ := url.Parse(h.Get("Location"))
	c.tokens("grant_type=authorization_code&code=" + u.Query().Get("code") + "&client_id=web")
}

func (c *client) tokens(form string) {
	tokens, _ := c.do("POST", "/oauth/token", form, "Content-Type", formType)
	c.bearer = get(`access_token":"(.*?)"`, tokens)
	c.cookies["refresh"] = get(`refresh_token":"(.*?)"`, tokens)
	me, _ := c.do("GET", "/api/me", "")
	c.do("GET", "/api/users/"+get(`userId":(\d+)`, me), "")
}

func (c *client) refresh() {
	c.tokens("grant_type=refresh_token&refresh_token=" + c.cookies["refresh"])
}

// record lets several clients go through a flow, taking turns, and returns the exchanges.
func record(t *testing.T, flow func(c *client), seed uint64, clients int) (all []*recording.Exchange) {
	server := httptest.NewServer(newShop(seed))
	defer server.Close()
	var turns []func() (struct{}, bool)
	for n := range clients {
		next, stop := iter.Pull(func(yield func(struct{}) bool) {
			flow(&client{recorder{server.URL, "", &all}, fmt.Sprintf("user%c", 'a'+n), map[string]string{}, "", func() { yield(struct{}{}) }})
		})
		defer stop()
		turns = append(turns, next)
	}
	for going := true; going; {
		going = false
		for _, next := range turns {
			_, ok := next()
			going = going || ok
		}
	}
	return all
}

// copyOf returns a copy that can be changed.
func copyOf(e *recording.Exchange) *recording.Exchange {
	c, h := *e, *e.HTTP
	c.Tags, c.HTTP = slices.Clone(e.Tags), &h
	return &c
}

// replay sends recorded requests one after another and returns the exchanges.
func replay(t *testing.T, recorded []*recording.Exchange, s *carry.State, seed uint64) (all []*recording.Exchange) {
	server := httptest.NewServer(newShop(seed))
	defer server.Close()
	c := recorder{server.URL, "", &all}
	for step, e := range recorded {
		sent := copyOf(e)
		s.Apply(step, sent)
		r, err := http.NewRequest(sent.Command, "http://shop"+sent.HTTP.Req.URI, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range sent.HTTP.Req.Headers {
			r.Header.Add(h.Name, h.Value)
		}
		c.send(r, sent.HTTP.Req.Body)
		s.Answered(step, e, all[step])
	}
	return all
}

// Three clients go through a flow at a shop. Their requests are replayed against another shop, which
// issues other values. Byte for byte, they must be the requests that clients make there, and be
// answered as in the recording.
func TestReplay(t *testing.T) {
	for name, flow := range flows {
		t.Run(name, func(t *testing.T) {
			recorded, there := record(t, flow, 1, 3), record(t, flow, 2, 3)
			f := carry.NewFinder(carry.Options{})
			for _, e := range recorded {
				f.Add(e)
			}
			g := f.Finish()
			s := g.NewState(carry.StateOptions{})
			replayed := replay(t, recorded, s, 2)
			for i, e := range replayed {
				want := there[i]
				if diff := cmp.Diff(want.HTTP.Req, e.HTTP.Req); diff != "" {
					t.Errorf("step %d, %s %s (-the client's own +replayed):\n%s", i, e.Command, e.Location, diff)
				}
				if e.HTTP.Res.StatusCode != recorded[i].HTTP.Res.StatusCode || e.HTTP.Res.StatusCode >= 400 {
					t.Errorf("step %d: %s %s: %d, recorded %d: %s", i, e.Command, e.Location, e.HTTP.Res.StatusCode, recorded[i].HTTP.Res.StatusCode, e.HTTP.Res.Body)
				}
			}
			for _, u := range s.Report() {
				if u.Fired != u.Edges || u.Missing != 0 {
					t.Errorf("%d of %d fired: %+v", u.Fired, u.Edges, u)
				}
			}
			if t.Failed() {
				for e := range g.Edges() {
					t.Logf("%+v", e)
				}
				for _, a := range g.Ambiguous() {
					t.Logf("%+v", a)
				}
			}
		})
	}
}

// redacted returns a recording as capture stores it: with tokens instead of secrets.
func redacted(t *testing.T, all []*recording.Exchange) []*recording.Exchange {
	t.Helper()
	var sink collected
	r := redact.New(&sink, redact.Options{Key: []byte("key")})
	for _, e := range all {
		c := copyOf(e)
		c.HTTP.Req.Headers, c.HTTP.Res.Headers = slices.Clone(e.HTTP.Req.Headers), slices.Clone(e.HTTP.Res.Headers)
		c.HTTP.Req.Body, c.HTTP.Res.Body = slices.Clone(e.HTTP.Req.Body), slices.Clone(e.HTTP.Res.Body)
		if err := r.Write(c); err != nil {
			t.Fatal(err)
		}
	}
	return sink.all
}

type collected struct{ all []*recording.Exchange }

func (c *collected) Write(e *recording.Exchange) error { c.all = append(c.all, e); return nil }
func (c *collected) Flush(context.Context) error       { return nil }
func (c *collected) Close(context.Context) error       { return nil }

// A redacted recording can still be replayed once the secrets that only the clients hold are
// supplied.
func TestReplayOfARedactedRecording(t *testing.T) {
	for name, flow := range flows {
		t.Run(name, func(t *testing.T) {
			recorded, there := redacted(t, record(t, flow, 1, 3)), record(t, flow, 2, 3)
			f := carry.NewFinder(carry.Options{})
			for _, e := range recorded {
				f.Add(e)
			}
			g := f.Finish()
			var o carry.StateOptions
			for _, n := range g.Needs() {
				if !strings.HasPrefix(n.Token, "REDACTED-") {
					t.Errorf("needed: %+v", n)
				}
				switch n.Place {
				case "req.body.password":
					o.Set = append(o.Set, carry.Supply(n, "correct horse"))
				case "req.header.Authorization": // user and password are one secret
					value, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(there[n.Steps[0]].HTTP.Req.Headers.Get("Authorization"), "Basic "))
					o.Set = append(o.Set, carry.Supply(n, string(value)))
				default:
					t.Errorf("needed: %+v", n)
				}
			}
			for i, e := range replay(t, recorded, g.NewState(o), 2) {
				if diff := cmp.Diff(there[i].HTTP.Req, e.HTTP.Req); diff != "" {
					t.Errorf("step %d, %s %s (-the client's own +replayed):\n%s", i, e.Command, e.Location, diff)
				}
			}
		})
	}
}

// A recording of all flows at the same time, each by several clients, is replayed without mixing
// them up.
func TestReplayOfEverythingAtOnce(t *testing.T) {
	names := slices.Sorted(maps.Keys(flows))
	all := func(c *client) { flows[names[int(c.name[4]-'a')%len(names)]](c) }
	recorded, there := record(t, all, 1, 26), record(t, all, 2, 26)
	f := carry.NewFinder(carry.Options{})
	for _, e := range recorded {
		f.Add(e)
	}
	g := f.Finish()
	dependent := 0
	for i, e := range replay(t, recorded, g.NewState(carry.StateOptions{}), 2) {
		if len(g.After(i)) > 0 {
			dependent++
		}
		if diff := cmp.Diff(there[i].HTTP.Req, e.HTTP.Req); diff != "" || e.HTTP.Res.StatusCode != recorded[i].HTTP.Res.StatusCode {
			t.Errorf("step %d, %s %s: %d (-the client's own +replayed):\n%s", i, e.Command, e.Location, e.HTTP.Res.StatusCode, diff)
		}
	}
	if dependent < 60 {
		t.Errorf("%d dependent requests", dependent)
	}
	t.Logf("%d steps, %d of which wait for others", g.Steps(), dependent)
}
