package carry

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/tapedeck/tapedeck/recording"
)

// sent returns the request that a step sends after the earlier steps got these answers.
func sent(t *testing.T, s *State, recorded, answers []*recording.Exchange, step int) *recording.HTTPRequest {
	t.Helper()
	for i, a := range answers {
		s.Answered(i, recorded[i], a)
	}
	e := copied(recorded[step])
	s.Apply(step, e)
	return &e.HTTP.Req
}

func TestLiveValues(t *testing.T) {
	list := func(ids ...string) *recording.Exchange {
		return exchange(0, "GET", "/things", "", 200, `{"things":[{"id":"`+strings.Join(ids, `"},{"id":"`)+`"}]}`)
	}
	third := "11111111-3b7d-4bad-9bdd-2b0d7b3dcb6d"
	for name, c := range map[string]struct {
		answer *recording.Exchange
		want   string
	}{
		"the value of the same element":                  {list("22222222-3b7d-4bad-9bdd-2b0d7b3dcb6d", third), "/things/" + third},
		"the recorded one, if it is still in the list":   {list(third, "22222222-3b7d-4bad-9bdd-2b0d7b3dcb6d", uuid), "/things/" + uuid},
		"the recorded one, if the list is too short":     {list(third), "/things/" + uuid},
		"the recorded one, if there was no answer":       {nil, "/things/" + uuid},
		"the recorded one, if the answer is another one": {exchange(0, "GET", "/things", "", 500, "down"), "/things/" + uuid},
	} {
		t.Run(name, func(t *testing.T) {
			recorded := []*recording.Exchange{list(other, uuid), useOf(9, "/things/"+uuid)}
			s := graphOf(recorded...).NewState(StateOptions{})
			if got := sent(t, s, recorded, []*recording.Exchange{c.answer}, 1).URI; got != c.want {
				t.Errorf("sent %s, want %s", got, c.want)
			}
		})
	}
}

// A client keeps a cookie that the live response does not set again.
func TestCookiesStay(t *testing.T) {
	recorded := []*recording.Exchange{
		issueOf(0, "", "<Set-Cookie", "sid=a"), useOf(5, "/", "Cookie", "sid=a", "<Set-Cookie", "sid=b"), useOf(9, "/", "Cookie", "sid=b"),
	}
	s := graphOf(recorded...).NewState(StateOptions{})
	r := sent(t, s, recorded, []*recording.Exchange{issueOf(0, "", "<Set-Cookie", "sid=live"), issueOf(0, "")}, 2)
	if got := r.Headers.Get("Cookie"); got != "sid=live" {
		t.Errorf("sent the cookie %s, want sid=live", got)
	}
}

// Sessions run side by side.
func TestConcurrentSessions(t *testing.T) {
	var recorded []*recording.Exchange
	id := func(session int) string { return fmt.Sprintf("%08d-5717-4562-b3fc-2c963f66afa6", session) }
	const sessions = 50
	for i := range sessions {
		recorded = append(recorded, issueOf(20*i, `{"id":"`+id(i)+`"}`), useOf(20*i+5, "/things/"+id(i)))
	}
	s := graphOf(recorded...).NewState(StateOptions{})
	var all sync.WaitGroup
	for i := range sessions {
		all.Go(func() {
			s.Answered(2*i, recorded[2*i], issueOf(0, `{"id":"`+id(i+1000)+`"}`))
			e := copied(recorded[2*i+1])
			if s.Apply(2*i+1, e); e.HTTP.Req.URI != "/things/"+id(i+1000) {
				t.Errorf("session %d asked for %s", i, e.HTTP.Req.URI)
			}
			s.Report()
		})
	}
	all.Wait()
}

// The report counts the values that were written, and those that were missing in the live answer.
func TestReport(t *testing.T) {
	recorded := []*recording.Exchange{issueOf(0, `{"token":"`+token+`","id":"`+uuid+`"}`), useOf(5, "/things/"+uuid, "Authorization", "Bearer "+token), useOf(9, "/things/"+uuid, "Authorization", "Bearer "+token)}
	g := graphOf(recorded...)
	s := g.NewState(StateOptions{})
	if !s.Issues(0) || s.Issues(1) || s.Changes(0) || !s.Changes(1) {
		t.Error("the first step issues, and the second one is changed")
	}
	s.Answered(0, recorded[0], issueOf(0, `{"token":"`+token+`"}`))
	if applied, missing := s.Apply(1, copied(recorded[1])); applied != 1 || missing != 1 {
		t.Errorf("%d written, %d missing, want one of each", applied, missing)
	}
	want := []EdgeUse{
		{From: "GET /issuer", Issuer: "res.body.token", To: "GET /things/{id}", Consumer: "req.header.Authorization", Encoding: "behind the scheme", Class: "random", Edges: 2, Fired: 1},
		{From: "GET /issuer", Issuer: "res.body.id", To: "GET /things/{id}", Consumer: "req.path[1]", Class: "uuid", Edges: 2, Missing: 1},
	}
	if diff := cmp.Diff(want, s.Report()); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
	if u := s.Report()[0]; u.Unfired() != 1 {
		t.Errorf("%d unfired, want 1", u.Unfired())
	}
	s.Apply(2, copied(recorded[2]))
	if len(s.live) != 0 {
		t.Errorf("%d values are kept, though nothing needs them any more", len(s.live))
	}
}

// An encoded body is changed, and stored without its coding.
func TestEncodedBody(t *testing.T) {
	use := posted(9, "/x", "application/json", `{"id":"`+uuid+`"}`)
	use.HTTP.Req.Headers = append(use.HTTP.Req.Headers, recording.Header{Name: "Content-Encoding", Value: "gzip"}, recording.Header{Name: "Content-Length", Value: "63"})
	use.HTTP.Req.Body = gzipped(use.HTTP.Req.Body)
	recorded := []*recording.Exchange{issueOf(0, `{"id":"`+uuid+`"}`), use}
	s := graphOf(recorded...).NewState(StateOptions{})
	s.Answered(0, recorded[0], issueOf(0, `{"id":"`+other+`"}`))
	e := copied(use)
	s.Apply(1, e)
	if got, want := string(e.HTTP.Req.Body), `{"id":"`+other+`"}`; got != want || e.Tags.Get(recording.TagDecoded) != "request" || use.Tags.Get(recording.TagDecoded) != "" {
		t.Errorf("the body is %q, tagged %v, want %q", got, e.Tags, want)
	}
}

// Messages of gRPC and of WebSockets carry values as bodies do.
func TestMessages(t *testing.T) {
	field := func(number protowire.Number, value string) string {
		return string(protowire.AppendString(protowire.AppendTag(nil, number, protowire.BytesType), value))
	}
	call := func(ms int, path, asked, answered string) *recording.Exchange {
		e := exchange(ms, "POST", path, "", 200, "")
		e.GRPC = &recording.Conversation{Part: 1, Last: true, Messages: []recording.Message{{From: recording.Client, Data: []byte(asked)}, {From: recording.Server, Data: []byte(answered)}}}
		return e
	}
	socket := exchange(9, "GET", "/socket", "", 101, "")
	socket.WebSocket = &recording.Conversation{Part: 1, Last: true, Messages: []recording.Message{
		{From: recording.Client, Type: "binary", Data: []byte(uuid)}, {From: recording.Client, Type: "text", Data: []byte(`{"join" : "` + uuid + `"}`)}}}
	number := string(protowire.AppendVarint(protowire.AppendTag(nil, 3, protowire.VarintType), 1<<40))
	recorded := []*recording.Exchange{
		call(0, "/shop.Carts/NewCart", "", field(2, "\x10\x01"+field(1, uuid))),
		call(5, "/shop.Carts/AddItem", number+field(4, "x")+field(4, number+field(1, uuid))+number, ""),
		socket,
	}
	g := graphOf(recorded...)
	if diff := cmp.Diff([]string{"0 server.message[].2.1 -> 1 client.message[].4.1", "0 server.message[].2.1 -> 2 client.message[].join"}, edgesOf(g)); diff != "" {
		t.Errorf("edges (-want +got):\n%s", diff)
	}
	s := g.NewState(StateOptions{})
	long := strings.Repeat("a1", 100)
	s.Answered(0, recorded[0], call(0, "/shop.Carts/NewCart", "", field(2, "\x10\x01"+field(1, long))))
	added, joined := copied(recorded[1]), copied(socket)
	s.Apply(1, added)
	s.Apply(2, joined)
	if got, want := string(added.GRPC.Messages[0].Data), number+field(4, "x")+field(4, number+field(1, long))+number; got != want {
		t.Errorf("sent %q, want %q", got, want)
	}
	if got, want := string(joined.WebSocket.Messages[1].Data), `{"join" : "`+long+`"}`; got != want || string(socket.WebSocket.Messages[1].Data) == got {
		t.Errorf("sent %q, want %q", got, want)
	}
}

// lookup looks up environment variables.
func lookup(name string) (string, bool) {
	v, ok := map[string]string{"TOKEN": "tok_live", "LOGIN": "ann:secret", "EMPTY": ""}[name]
	return v, ok
}

// A setting is written to places that no edge leads to.
func TestSettings(t *testing.T) {
	use := exchange(9, "POST", "/x/"+uuid+"?key=REDACTED-0123456789abcdef", `{"user":"ann","password":"REDACTED-0123456789abcdef","pin":12}`, 200, "",
		"Authorization", "Bearer REDACTED-0123456789abcdef", "X-Api-Key", "REDACTED-1111111111111111", "X-Login", "Basic REDACTED-1111111111111111", "Content-Type", "application/json")
	recorded := []*recording.Exchange{issueOf(0, `{"id":"`+uuid+`"}`), use}
	for setting, want := range map[string]string{
		"header.Authorization=env:TOKEN":     "Authorization: Bearer tok_live",
		"req.header.authorization=Token abc": "Authorization: Token abc",
		"header.X-Api-Key=k":                 "X-Api-Key: k",
		"header.X-Login=env:LOGIN":           "X-Login: Basic YW5uOnNlY3JldA==",
		"query.key=a b&c":                    "/x/" + uuid + "?key=a+b%26c",
		"body.password=a\"b":                 `{"user":"ann","password":"a\"b","pin":12}`,
		"body.pin=34":                        `"pin":34}`,
		"req.path[0]=y":                      "/y/" + uuid,
		"req.path[1]=y":                      "/x/" + uuid, // carried
	} {
		o, err := ParseSetting(setting, lookup)
		if err != nil {
			t.Error(err)
			continue
		}
		s := graphOf(recorded...).NewState(StateOptions{Set: []Setting{o}})
		r := sent(t, s, recorded, []*recording.Exchange{recorded[0]}, 1)
		all := r.URI + "\n" + string(r.Body)
		for _, h := range r.Headers {
			all += "\n" + h.Name + ": " + h.Value
		}
		if !strings.Contains(all, want) {
			t.Errorf("%s: sent %s, want %s in it", setting, all, want)
		}
		if unset := s.Unset(); (len(unset) > 0) != (setting == "req.path[1]=y") {
			t.Errorf("%s: unset %q", setting, unset)
		}
	}
	g := graphOf(recorded...)
	want := []Need{
		{Endpoint: "POST /x/{id}", Place: "req.query.key", Token: "REDACTED-0123456789abcdef", Steps: []int{1}},
		{Endpoint: "POST /x/{id}", Place: "req.header.Authorization", Token: "REDACTED-0123456789abcdef", Steps: []int{1}},
		{Endpoint: "POST /x/{id}", Place: "req.header.X-Api-Key", Token: "REDACTED-1111111111111111", Steps: []int{1}},
		{Endpoint: "POST /x/{id}", Place: "req.header.X-Login", Token: "REDACTED-1111111111111111", Steps: []int{1}},
		{Endpoint: "POST /x/{id}", Place: "req.body.password", Token: "REDACTED-0123456789abcdef", Steps: []int{1}},
	}
	if diff := cmp.Diff(want, g.Needs()); diff != "" {
		t.Errorf("needs (-want +got):\n%s", diff)
	}
	r := sent(t, g.NewState(StateOptions{Set: []Setting{Supply(want[1], "s3cret")}}), recorded, nil, 1)
	if got := r.Headers.Get("Authorization") + r.Headers.Get("X-Api-Key") + string(r.Body) + r.URI; strings.Count(got, "s3cret") != 3 || strings.Contains(got, want[0].Token) {
		t.Errorf("a secret is supplied wherever its token stands: %s", got)
	}
}

// A need is met by a setting for its place, or by a rule for its request.
func TestMissingSecrets(t *testing.T) {
	needs := func(rule string) *Graph {
		rules, err := ParseRules("rules.yaml", []byte(frame+rule), lookup)
		if err != nil {
			t.Fatal(err)
		}
		f := NewFinder(Options{Rules: rules})
		f.Add(useOf(0, "/a", "Authorization", "Bearer REDACTED-0123456789abcdef"))
		f.Add(useOf(5, "/b", "Authorization", "Bearer REDACTED-0123456789abcdef"))
		return f.Finish()
	}
	set := func(text string) []Setting {
		s, err := ParseSetting(text, lookup)
		if err != nil {
			t.Fatal(err)
		}
		return []Setting{s}
	}
	none, some, all := "- {set: req.header.X-Key, value: v}", "- {set: req.header.Authorization, value: v, path: /a}", "- {set: req.header.Authorization, value: v}"
	for _, c := range []struct {
		rule string
		set  []Setting
		want int // steps
	}{
		{none, nil, 2}, {none, set("header.X-Key=v"), 2}, {none, set("header.Authorization=v"), 0}, {some, nil, 1}, {all, nil, 0},
	} {
		n := 0
		for _, need := range needs(c.rule).Missing(c.set) {
			n += len(need.Steps)
		}
		if n != c.want {
			t.Errorf("%s and %v: %d steps need a secret, want %d", c.rule, c.set, n, c.want)
		}
	}
}

func TestMalformedSettings(t *testing.T) {
	for setting, want := range map[string]string{
		"":                     "want a place",
		"header.A":             "want a place",
		"header.A=":            "want a place",
		"header.A=env:NOTHING": "variable NOTHING is missing",
		"header.A=env:EMPTY":   "variable EMPTY is missing",
		"res.header.A=hidden":  "begins with req.path, req.query, req.header, req.cookie, req.body",
		"token=hidden":         "begins with",
		"body..a=hidden":       "want a name",
		"body.a[x]=hidden":     "field path",
	} {
		_, err := ParseSetting(setting, lookup)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%s: %v, want an error with %q and without the value", setting, err, want)
		}
	}
}

const frame = "apiVersion: tapedeck.dev/v1alpha1\nkind: CarryRules\nrules:\n"

func TestRules(t *testing.T) {
	recorded := func() []*recording.Exchange {
		return []*recording.Exchange{
			exchange(0, "POST", "/carts", "", 200, `{"ref":"red","id":"`+uuid+`"}`),
			exchange(5, "GET", "/carts/about", "", 200, `{"ref":"blue"}`),
			exchange(9, "POST", "/orders?cart=red&at=1795946400", `{"note":"`+uuid+`","when":"2026-11-29T10:00:00.50+01:00","day":"2026-11-29"}`, 200, "", "X-Key", "k", "Content-Type", "application/json"),
		}
	}
	answers := []*recording.Exchange{exchange(0, "POST", "/carts", "", 200, `{"ref":"green","id":"`+other+`"}`), exchange(0, "GET", "/carts/about", "", 200, `{"ref":"grey"}`)}
	for name, c := range map[string]struct {
		rules string
		want  []string
		idle  []string
	}{
		"carry": {"- {from: res.body.ref, fromMethod: POST, fromPath: /carts, to: req.query.cart}", []string{"cart=green", `"note":"` + other}, nil},
		"carry for other requests": {"- {from: res.body.ref, fromPath: /carts, to: req.query.cart, path: /other}\n- {name: b, from: res.body.none, to: [req.query.cart]}",
			[]string{"cart=red"}, []string{"rule 1", "b"}},
		"forbid":          {"- forbid: req.body", []string{`"note":"` + uuid}, nil},
		"set":             {"- {set: req.header.X-Key, value: env:TOKEN, method: POST, host: '*.example.com'}", []string{"tok_live"}, nil},
		"set for a token": {"- {set: req.header.X-Key, value: v, token: REDACTED-0123456789abcdef}", []string{"k"}, []string{"rule 1"}},
		"shift":           {"- shift: [req.query.at, req.body]", []string{"at=1795950000", "2026-11-29T11:00:00.50+01:00", `"day":"2026-11-29"`}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			rules, err := ParseRules("rules.yaml", []byte(frame+c.rules), lookup)
			if err != nil {
				t.Fatal(err)
			}
			f := NewFinder(Options{Rules: rules})
			all := recorded()
			for _, e := range all {
				e.HTTP.Req.Host = "shop.example.com:8080"
				f.Add(e)
			}
			r := sent(t, f.Finish().NewState(StateOptions{Shift: time.Hour}), all, answers, 2)
			text := r.URI + string(r.Body) + r.Headers.Get("X-Key")
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("sent %s, want %s in it", text, want)
				}
			}
			if got := rules.Unfired(); !slices.Equal(got, c.idle) {
				t.Errorf("unfired: %q, want %q", got, c.idle)
			}
		})
	}
}

func TestMalformedRules(t *testing.T) {
	for rules, want := range map[string]string{
		"- {from: res.body.a}":                             "want both",
		"- {set: req.body.a}":                              "want both",
		"- {token: a, forbid: req.body}":                   "token without set",
		"- {fromPath: /a, forbid: req.body}":               "without from",
		"- {name: a}":                                      "does nothing",
		"- {from: req.body.a, to: req.body.b}":             "begins with res.header, res.cookie, res.body, or server.message",
		"- {from: res.body.a, to: [res.body.b]}":           "begins with req.path",
		"- {forbid: req.body, also: 1}":                    `unknown key "also"`,
		"- {set: req.body.a, value: env:NOTHING}":          "variable NOTHING is missing",
		"- {from: [res.body.a, res.body.b], to: req.body}": "want a text",
		"- {forbid: []}":                                   "an empty list",
		"- forbid: req.body\n- {name: x}":                  "line 5: x: it does nothing",
	} {
		_, err := ParseRules("rules.yaml", []byte(frame+rules), lookup)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "rules.yaml: line ") {
			t.Errorf("%s: %v, want an error with the file, the line, and %q", rules, err, want)
		}
	}
	if _, err := ParseRules("rules.yaml", []byte("kind: MatchRules"), lookup); err == nil || !strings.Contains(err.Error(), "apiVersion") {
		t.Errorf("another kind: %v", err)
	}
}

func TestShifted(t *testing.T) {
	for text, want := range map[string]string{
		"1795946400": "1796036400", "1795946400123": "1796036400123", "1795946400123456": "1796036400123456", "1795946400123456789": "1796036400123456789",
		"2026-11-29T10:00:00Z": "2026-11-30T11:00:00Z", "2026-11-29T10:00:00.120Z": "2026-11-30T11:00:00.120Z", "2026-11-29 10:00:00": "2026-11-30 11:00:00",
		"2026-11-29T10:00:00+00:00": "2026-11-30T11:00:00+00:00", "2026-11-29T10:00:00.5+0530": "2026-11-30T11:00:00.5+0530", "2026-11-29": "2026-11-30",
		"Sun, 29 Nov 2026 10:00:00 GMT": "Mon, 30 Nov 2026 11:00:00 GMT", "20261129T100000Z": "20261130T110000Z", "2026-11-29T10:00": "2026-11-30T11:00",
	} {
		if got, ok := shifted(text, 25*time.Hour); got != want || !ok {
			t.Errorf("%s: %s, %v; want %s", text, got, ok, want)
		}
	}
	for _, text := range []string{"", "17", "-795946400", "2026-13-29", "2026-11-29T", "next Sunday", uuid, "179594640012"} {
		if got, ok := shifted(text, time.Hour); ok {
			t.Errorf("%s is not a time, but became %s", text, got)
		}
	}
}

// A place that is shown can be parsed again.
func TestPlaces(t *testing.T) {
	at := func(steps ...placeStep) []placeStep { return append([]placeStep{{name: "req"}}, steps...) }
	name := func(s string) placeStep { return placeStep{name: s} }
	for text, c := range map[string]struct {
		is, isNot []placeStep
	}{
		"req.path[2]":           {at(name("path"), placeStep{kind: segment, n: 2}), at(name("path"), placeStep{kind: segment, n: 1})},
		"req.body.items[].id":   {at(name("body"), name("items"), placeStep{kind: element, n: 7}, name("id")), at(name("body"), name("items"), name("id"))},
		"req.body.items[7].id":  {at(name("body"), name("items"), placeStep{kind: element, n: 7}, name("id")), at(name("body"), name("items"), placeStep{kind: element, n: 8}, name("id"))},
		"req.header.x-a":        {at(name("header"), name("X-A")), at(name("header"), name("x-a"))},
		`req.body."a[7].\"b"`:   {at(name("body"), name(`a[7]."b`)), at(name("body"), name("a"))},
		"req.body.*.id":         {at(name("body"), name("x"), name("id")), at(name("body"), placeStep{kind: element}, name("id"))},
		"req.body.a.**":         {at(name("body"), name("a"), name("b"), name("c")), at(name("body"), name("b"))},
		"client.message[].1":    {[]placeStep{{name: "client"}, name("message"), {kind: element}, name("1")}, at(name("message"))},
		"req.body.next.path[1]": {at(name("body"), name("next"), name("path"), placeStep{kind: segment, n: 1}), at(name("body"), name("next"))},
	} {
		p, err := parsePattern(text, "req")
		if err != nil || !p.is(c.is) || p.is(c.isNot) {
			t.Errorf("%s: %v, is %v, is not %v", text, err, p.is(c.is), !p.is(c.isNot))
		}
	}
}
