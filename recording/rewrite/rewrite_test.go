package rewrite

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
)

// stand returns fixed tokens: R for text, 8000 for a number.
type stand struct{}

func (stand) Of(string) string         { return "R" }
func (stand) OfNumber(string) string   { return "8000" }
func (stand) Sized(text string) string { return strings.Repeat("R", len(text)) }

func parse(t testing.TB, text string) []Rule {
	t.Helper()
	rules, err := Parse([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return rules
}

// do applies the rules to an exchange.
func do(t testing.TB, rules string, e *recording.Exchange) (keep bool, r Report) {
	t.Helper()
	w := New(parse(t, rules), stand{})
	defer w.Close()
	keep = w.Rewrite(e)
	return keep, w.Report()
}

func request(contentType, body string) *recording.Exchange {
	e := &recording.Exchange{
		MsgType: recording.MsgType, TS: time.Unix(0, 0).UTC(), Direction: recording.In, Command: "POST", Location: "/login",
		HTTP: &recording.HTTP{Req: recording.HTTPRequest{Method: "POST", Host: "shop", URL: "/login", URI: "/login?email=jane%40x.org&b=1", Body: []byte(body)}},
	}
	if contentType != "" {
		e.HTTP.Req.Headers = recording.Headers{{Name: "Content-Type", Value: contentType}}
	}
	return e
}

func TestPlacesInBodies(t *testing.T) {
	const form, part = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
	for _, c := range []struct {
		rule, contentType, body, want, redacted string
	}{
		{"{do: redact, at: [req.body.user.email]}", "", `{"user": {"email": "jane@x.org", "id": 1}}`, `{"user": {"email": "R", "id": 1}}`, "req.body.user.email"},
		{"{do: redact, at: req.body.user}", "", `{"user":{"email":"j","id":17,"ok":true,"none":null,"empty":"","list":["a",{"b":2}]},"x":1}`, `{"user":{"email":"R","id":8000,"ok":null,"none":null,"empty":"","list":["R",{"b":8000}]},"x":1}`,
			"req.body.user.email,req.body.user.id,req.body.user.list[],req.body.user.list[].b,req.body.user.ok"},
		{"{do: redact, at: ['req.body.items[].card']}", "", `{"items":[{"card":"1"},{"card":"2","x":"card"}]}`, `{"items":[{"card":"R"},{"card":"R","x":"card"}]}`, "req.body.items[].card"},
		{"{do: redact, at: ['req.body.*.secret']}", "", `{"a":{"secret":"1"},"secret":"2"}`, `{"a":{"secret":"R"},"secret":"2"}`, "req.body.a.secret"},
		{"{do: redact, at: ['req.body.a.**']}", "", `{"a":{"b":["1"]},"c":"2"}`, `{"a":{"b":["R"]},"c":"2"}`, "req.body.a.b[]"},
		{`{do: redact, at: ['req.body."a.b"']}`, "", `{"a.b":"1","a":{"b":"2"}}`, `{"a.b":"R","a":{"b":"2"}}`, `req.body."a.b"`},
		{"{do: redact, at: [req.body.a]}", "", `{"\u0061":"\"1\""}`, `{"\u0061":"R"}`, "req.body.a"},
		{"{do: redact, at: [req.body]}", "", `"all of it"`, `"R"`, "req.body"},
		{"{do: redact, at: [req.body]}", "text/plain", `all of it`, `R`, "req.body"},
		{"{do: redact, at: [req.body.a]}", "text/plain", `a`, `a`, ""},
		{"{do: redact, at: [req.body.a]}", "", `{"a":"cut off in the mid`, `{"a":"R`, "req.body.a"},
		{"{do: redact, at: [req.body.a]}", "", "{\"a\":\"1\"}\n{\"a\":\"2\"}\n", "{\"a\":\"R\"}\n{\"a\":\"R\"}\n", "req.body.a"},
		{"{do: redact, at: [req.body.a]}", "", `{"a":1]}"b{`, `{"a":8000]}"b{`, "req.body.a"},
		{"{do: redact, at: [req.body.a]}", "", "[,,\x00\xff{]}\"\\,", "[,,\x00\xff{]}\"\\,", ""},
		{"{do: replace, with: XX, at: [req.body.a]}", "", `{"a":"1","b":[1]}`, `{"a":"XX","b":[1]}`, "req.body.a"},
		{"{do: replace, with: '7', at: [req.body.a]}", "", `{"a":1}`, `{"a":7}`, "req.body.a"},
		{"{do: replace, with: seven, at: [req.body.a]}", "", `{"a":1}`, `{"a":"seven"}`, "req.body.a"},
		{"{do: drop, at: [req.body.a]}", "", `{"a":{"x":[1,2]},"b":1}`, `{"b":1}`, ""},
		{"{do: drop, at: [req.body.b]}", "", `{ "a": 1, "b": 2 }`, `{ "a": 1 }`, ""},
		{"{do: drop, at: [req.body.a]}", "", `{"a":1}`, `{}`, ""},
		{"{do: drop, at: ['req.body[]']}", "", `[1,{"a":2},3]`, `[]`, ""},
		{"{do: drop, at: ['req.body[].a']}", "", `[{"a":2,"b":3},{"b":4,"a":5}]`, `[{"b":3},{"b":4}]`, ""},
		{"{do: drop, at: [req.body]}", "", `{"a":1}`, ``, ""},
		{"{do: redact, at: [req.body.email]}", form, `email=jane%40x.org&a=1&email=&b`, `email=R&a=1&email=R&b`, "req.body.email"},
		{"{do: drop, at: [req.body.email]}", form, `email=jane%40x.org&a=1`, `a=1`, ""},
		{"{do: replace, with: 'a b', at: ['req.body.\"user[mail]\"']}", form, `user%5Bmail%5D=x`, `user%5Bmail%5D=a+b`, `req.body."user[mail]"`},
		{"{do: redact, at: [req.body.mail, req.body.meta.id]}", part,
			"--b\r\nContent-Disposition: form-data; name=\"mail\"\r\n\r\njane@x.org\r\n--b\r\nContent-Disposition: form-data; name=meta\r\nContent-Type: application/json\r\n\r\n{\"id\":\"1\"}\r\n--b--\r\n",
			"--b\r\nContent-Disposition: form-data; name=\"mail\"\r\n\r\nR\r\n--b\r\nContent-Disposition: form-data; name=meta\r\nContent-Type: application/json\r\n\r\n{\"id\":\"R\"}\r\n--b--\r\n",
			"req.body.mail,req.body.meta.id"},
		{"{do: drop, at: [req.body.mail]}", part,
			"--b\r\nContent-Disposition: form-data; name=\"mail\"\r\n\r\njane\r\n--b\r\nContent-Disposition: form-data; name=x\r\n\r\ny\r\n--b--\r\n",
			"--b\r\nContent-Disposition: form-data; name=x\r\n\r\ny\r\n--b--\r\n", ""},
		{"{do: redact, at: [req.body.Envelope.Body.login.password, 'req.body.Envelope.Body.login.\"@user\"']}", "application/soap+xml",
			`<s:Envelope xmlns:s="x"><s:Body><login user='joe' id="1"><password>hush &amp; go</password><x/>tail</login></s:Body></s:Envelope>`,
			`<s:Envelope xmlns:s="x"><s:Body><login user="R" id="1"><password>R</password><x/>tail</login></s:Body></s:Envelope>`,
			"req.body.Envelope.Body.login.@user,req.body.Envelope.Body.login.password"},
		{"{do: drop, at: [req.body.a.b, 'req.body.a.\"@c\"']}", "text/xml", `<a c="1" d="2"><b><x>1</x></b> <e>2</e><b/></a>`, `<a d="2"> <e>2</e></a>`, ""},
		{"{do: redact, at: [req.body]}", "", `<?xml version="1.0"?><!-- hush --><a b="1"> <![CDATA[hush]]></a>`, `<a b="R"> R</a>`, "req.body,req.body.a,req.body.a.@b"},
		{"{do: redact, at: [req.body.a.b]}", "text/xml", `<a><c>1</c><b>hush`, `<a><c>1</c><b>R`, "req.body.a.b"},
		{"{do: redact, at: [req.body.a.b]}", "text/xml", `<a><c>1</c><b x="hush`, `<a><c>1</c>`, "req.body"},
		{"{do: redact, at: [req.body.token]}", "text/event-stream", "event: a\ndata: {\"token\":\"hush\",\"x\":1}\n\ndata: [DONE]\n\n", "event: a\ndata: {\"token\":\"R\",\"x\":1}\n\ndata: [DONE]\n\n", "req.body.token"},
		{"{do: redact, at: [req.body]}", "text/event-stream", "id: 7\ndata: hush\n\n", "id: 7\ndata: R\n\n", "req.body"},
	} {
		e := request(c.contentType, c.body)
		_, r := do(t, "rules: ["+c.rule+"]", e)
		if got := string(e.HTTP.Req.Body); got != c.want || e.Tags.Get(recording.TagRedacted) != c.redacted {
			t.Errorf("%s\n%s became\n%s, want\n%s\nredacted %s, want %s", c.rule, c.body, got, c.want, e.Tags.Get(recording.TagRedacted), c.redacted)
		}
		if changed := c.body != c.want; (r.Changed == 1) != changed || r.Rules[0].Idle() == changed {
			t.Errorf("%s: %s: %+v", c.rule, c.body, r)
		}
	}
}

func TestHeadersAndParameters(t *testing.T) {
	e := request("text/plain", "x")
	e.HTTP.Req.Headers = append(e.HTTP.Req.Headers, recording.Header{Name: "X-User", Value: "jane"}, recording.Header{Name: "X-User", Value: "joe"}, recording.Header{Name: "X-Debug", Value: "1"})
	e.HTTP.Res.Headers = recording.Headers{{Name: "X-User", Value: "jane"}}
	_, r := do(t, `rules:
- {do: redact, at: [req.header.x-user, req.query.email]}
- {do: drop, at: [req.header.X-Debug, req.query.b]}
- {do: replace, with: nobody, at: res.header.X-User}`, e)
	want := recording.Headers{{Name: "Content-Type", Value: "text/plain"}, {Name: "X-User", Value: "R"}, {Name: "X-User", Value: "R"}}
	if diff := cmp.Diff(want, e.HTTP.Req.Headers); diff != "" {
		t.Error(diff)
	}
	if e.HTTP.Req.URI != "/login?email=R" || e.HTTP.Res.Headers[0].Value != "nobody" {
		t.Errorf("%s, %v", e.HTTP.Req.URI, e.HTTP.Res.Headers)
	}
	if got := e.Tags.Get(recording.TagRedacted); got != "req.header.X-User,req.query.email,res.header.X-User" {
		t.Error(got)
	}
	if diff := cmp.Diff(map[string]int64{"req.header.X-User": 2, "req.query.email": 1}, r.Rules[0].Places); diff != "" {
		t.Error(diff)
	}
}

func TestWhatRulesAreForIsDecidedByExchange(t *testing.T) {
	for _, c := range []struct {
		rules string
		keep  bool
	}{
		{"rules: [{do: remove, where: in path=/login}]", false},
		{"rules: [{do: remove, where: out}]", true},
		{"rules: [{do: remove, contains: JANE@x.org}]", false},
		{"rules: [{do: remove, contains: joe@x.org}]", true},
		{"rules: [{do: remove, contains: jane@x.org, where: out}]", true},
		{"rules: [{do: remove, containsSHA256: " + hash("jane@x.org") + "}]", false},
		{"rules: [{do: drop, at: req.query.email}, {do: remove, contains: jane@x.org}]", true}, // rules apply one after another
	} {
		keep, r := do(t, c.rules, request("", ""))
		if keep != c.keep || (r.Removed == 1) == c.keep || r.Read != 1 {
			t.Errorf("%s: keep %v, %+v", c.rules, keep, r)
		}
	}
}

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// everywhere is an exchange that has the value in every text that a record can have.
func everywhere(value string) map[string]*recording.Exchange {
	jsonBody := func(v string) string { return `{"a":[{"mail":"` + v + `"}],"b":1}` }
	talk := func(kind string, messages ...recording.Message) *recording.Exchange {
		e := request("", "")
		e.HTTP.Req.URI = "/"
		c := &recording.Conversation{Part: 1, Last: true, Messages: messages}
		switch kind {
		case "grpc":
			e.GRPC = c
		case "websocket":
			e.WebSocket = c
		default:
			e.TCP = c
		}
		return e
	}
	say := func(from, text string) recording.Message { return recording.Message{From: from, Data: []byte(text)} }
	all := map[string]*recording.Exchange{
		"gRPC":                talk("grpc", say(recording.Client, "\x0a\x14"+value+"\x10\xff\x01"), say(recording.Server, "x")),
		"gRPC, server":        talk("grpc", say(recording.Server, "\x0a\x14"+value+"\x10\xff\x01")),
		"WebSocket, JSON":     talk("websocket", say(recording.Client, jsonBody(value))),
		"WebSocket, text":     talk("websocket", say(recording.Server, "hello "+value)),
		"TCP, in two pieces":  talk("tcp", say(recording.Client, value[:5]), say(recording.Server, "x"), say(recording.Client, value[5:]+"\n")),
		"WebSocket, frames":   talk("websocket", recording.Message{From: recording.Client, Type: "text", More: true, Data: []byte(`{"m":"` + value[:4])}, recording.Message{From: recording.Client, Type: "ping"}, recording.Message{From: recording.Client, Type: "continuation", Data: []byte(value[4:] + `"}`)}),
		"WebSocket, deflated": talk("websocket", deflatedFrames("hello, I am "+value, "I said I am "+value)...),
	}
	packedGRPC := talk("grpc", recording.Message{From: recording.Client, Compressed: true, Data: packed("\x0a\x14" + value)})
	packedGRPC.HTTP.Req.Headers = recording.Headers{{Name: "Grpc-Encoding", Value: "gzip"}}
	all["gRPC, packed"] = packedGRPC
	add := func(name string, change func(e *recording.Exchange)) {
		e := request("", "")
		e.HTTP.Req.URI = "/"
		change(e)
		all[name] = e
	}
	add("location", func(e *recording.Exchange) {
		e.Location = "/users/" + value
		e.HTTP.Req.URL, e.HTTP.Req.URI = e.Location, e.Location+"?a=b"
	})
	add("query, escaped", func(e *recording.Exchange) { e.HTTP.Req.URI = "/a/b?x=1&c=" + percent(value, "%%%02X") + "&d=e" })
	add("query", func(e *recording.Exchange) { e.HTTP.Req.URI = "/?a=" + value })
	add("host", func(e *recording.Exchange) { e.HTTP.Req.Host, e.NetworkAddress = value, value })
	add("header", func(e *recording.Exchange) {
		e.HTTP.Req.Headers = recording.Headers{{Name: "X-A", Value: "b " + value}}
	})
	add("header's name", func(e *recording.Exchange) { e.HTTP.Res.Headers = recording.Headers{{Name: value, Value: "x"}} })
	add("basic authentication", func(e *recording.Exchange) {
		e.HTTP.Req.Headers = recording.Headers{{Name: "Authorization", Value: "Basic " + base64.StdEncoding.EncodeToString([]byte(value+":secret"))}}
	})
	add("tag", func(e *recording.Exchange) { e.Tags.Set("peer", value) })
	add("tag's name", func(e *recording.Exchange) { e.Tags.Set(value, "x") })
	add("service", func(e *recording.Exchange) { e.Service, e.Resource = value, value })
	add("connection", func(e *recording.Exchange) {
		e.NetInfo = &recording.NetInfo{Upstream: recording.Endpoint{Hostname: value}}
	})
	add("signature", func(e *recording.Exchange) { e.Signature = map[string][]byte{"http:url": []byte("/" + value)} })
	add("foreign member", func(e *recording.Exchange) {
		text, _ := json.Marshal(map[string]any{"user": value})
		e.Extra = []recording.Member{{Name: "postgres", Value: text}}
	})
	add("status message", func(e *recording.Exchange) { e.HTTP.Res.StatusMessage = "404 no " + value })
	add("JSON", func(e *recording.Exchange) { e.HTTP.Req.Body = []byte(jsonBody(value)) })
	add("name in JSON", func(e *recording.Exchange) { e.HTTP.Req.Body = []byte(`{"` + value + `":1}`) })
	add("escaped JSON", func(e *recording.Exchange) { e.HTTP.Req.Body = []byte(jsonBody(escaped(value))) })
	add("packed JSON", func(e *recording.Exchange) {
		e.HTTP.Req.Headers = recording.Headers{{Name: "Content-Encoding", Value: "gzip"}}
		e.HTTP.Req.Body = packed(jsonBody(value))
	})
	add("form", func(e *recording.Exchange) {
		e.HTTP.Req.Headers = recording.Headers{{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}}
		e.HTTP.Req.Body = []byte("a=1&mail=" + percent(value, "%%%02x"))
	})
	add("name in a form", func(e *recording.Exchange) {
		e.HTTP.Req.Headers = recording.Headers{{Name: "Content-Type", Value: "application/x-www-form-urlencoded"}}
		e.HTTP.Req.Body = []byte("a=1&" + value + "=x")
	})
	add("multipart", func(e *recording.Exchange) {
		e.HTTP.Req.Headers = recording.Headers{{Name: "Content-Type", Value: "multipart/form-data; boundary=b"}}
		e.HTTP.Req.Body = []byte("--b\r\nContent-Disposition: form-data; name=\"m\"; filename=\"" + value + "\"\r\n\r\nx " + value + "\r\n--b--\r\n")
	})
	add("XML", func(e *recording.Exchange) { e.HTTP.Res.Body = []byte(`<a mail="` + each(value, "&#%d;") + `"/>`) })
	add("text", func(e *recording.Exchange) { e.HTTP.Res.Body = []byte("Dear " + value + ",\n") })
	add("binary", func(e *recording.Exchange) { e.HTTP.Res.Body = []byte("\xff\x00\x14" + value + "\xfe") })
	add("cut JSON", func(e *recording.Exchange) { e.HTTP.Res.Body = []byte(`{"a":"` + value) })
	add("cut, packed", func(e *recording.Exchange) {
		e.HTTP.Res.Headers = recording.Headers{{Name: "Content-Encoding", Value: "gzip"}}
		p := packed(jsonBody(value) + strings.Repeat("and so on ", 1000))
		e.HTTP.Res.Body = p[:len(p)-9]
		e.Tags.Set(recording.TagResponseBodySize, "99999")
	})
	add("unknown coding", func(e *recording.Exchange) {
		e.HTTP.Res.Headers = recording.Headers{{Name: "Content-Encoding", Value: "aws-chunked"}}
		e.HTTP.Res.Body = []byte("20;chunk\r\n" + value)
	})
	return all
}

func deflatedFrames(texts ...string) (frames []recording.Message) {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, 9)
	for _, text := range texts {
		b.Reset()
		w.Write([]byte(text))
		w.Flush()
		frames = append(frames, recording.Message{From: recording.Client, Type: "text", Compressed: true, Data: bytes.TrimSuffix(bytes.Clone(b.Bytes()), []byte("\x00\x00\xff\xff"))})
	}
	return frames
}

// A person's data is found wherever it is in a record. After redaction, the new record doesn't have it
// anywhere.
func TestAPersonsDataIsErasedWhereverItIs(t *testing.T) {
	const value = "jane.doe@example.com"
	find := newFinder([]string{value}, nil)
	for name, e := range everywhere(value) {
		t.Run(name, func(t *testing.T) {
			if keep, _ := do(t, "rules: [{do: remove, contains: "+value+"}]", e); keep {
				t.Fatal("the data is not found")
			}
			before := e.AppendJSON(nil)
			if keep, _ := do(t, "rules: [{do: remove, contains: someone@example.com}]", e); !keep || !bytes.Equal(before, e.AppendJSON(nil)) {
				t.Error("another person's data is found, or the record was changed")
			}
			keep, r := do(t, "rules: [{do: redact, contains: "+value+"}]", e)
			if !keep || r.Changed != 1 || r.Tokens == 0 || r.Rules[0].Changed() == 0 {
				t.Errorf("%v, %+v", keep, r)
			}
			after := e.AppendJSON(nil)
			d := &draft{w: New(nil, stand{}), e: e}
			if d.contains(find) || find.in(string(after)) {
				t.Errorf("the data is still there: %s", after)
			}
			var again recording.Exchange
			if err := json.Unmarshal(after, &again); err != nil {
				t.Errorf("%v: %s", err, after)
			}
			if name := r.Rules[0].Places; strings.Contains(fmt.Sprint(name), "jane") {
				t.Errorf("the report shows the data: %v", name)
			}
			if e.Tags.Get(recording.TagRedacted) == "" && r.Rules[0].Places["record"] == 0 {
				t.Error("the record does not say that it was redacted")
			}
		})
	}
}

// fill puts the value into the n-th of all texts that a record can have, and another value into the
// others. It returns n minus the number of texts that it has set.
func fill(v reflect.Value, n int, value string) int {
	text := "-"
	if n == 0 {
		text = value
	}
	switch {
	case v.Type() == reflect.TypeFor[time.Time](), v.Type() == reflect.TypeFor[recording.UUID]():
		return n
	case v.Type() == reflect.TypeFor[json.RawMessage]():
		v.SetBytes([]byte(`"` + text + `"`))
		return n - 1
	case v.Type() == reflect.TypeFor[map[string][]byte]():
		name := "-"
		if n == 1 {
			name = value
		}
		v.Set(reflect.ValueOf(map[string][]byte{name: []byte(text)}))
		return n - 2
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
		return n - 1
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		return fill(v.Elem(), n, value)
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte(text))
			return n - 1
		}
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		return fill(v.Index(0), n, value)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				n = fill(v.Field(i), n, value)
			}
		}
	}
	return n
}

// Every text of a record is searched, even texts that no recorder writes.
func TestEveryFieldOfARecordIsSearched(t *testing.T) {
	const value = "jane.doe@example.com"
	find := newFinder([]string{value}, nil)
	all := -fill(reflect.ValueOf(new(recording.Exchange)).Elem(), 0, value)
	for n := range all {
		for _, keep := range []bool{false, true} {
			var e recording.Exchange
			fill(reflect.ValueOf(&e).Elem(), n, value)
			e.MsgType = recording.MsgType
			e.WebSocket.Messages = append(e.WebSocket.Messages, recording.Message{From: recording.Client, Type: "text", Data: []byte("-")})
			before := string(e.AppendJSON(nil))
			if !find.in(before) {
				continue // it isn't written
			}
			rule := "rules: [{do: remove, contains: " + value + "}]"
			if keep {
				rule = "rules: [{do: redact, contains: " + value + "}]"
			}
			if kept, _ := do(t, rule, &e); kept != keep {
				t.Errorf("not found in text %d: %s", n, before)
			} else if after := string(e.AppendJSON(nil)); keep && find.in(after) {
				t.Errorf("text %d: %s\nbecame %s", n, before, after)
			}
		}
	}
	if all < 50 {
		t.Errorf("%d texts", all)
	}
}

func TestNamesInTheListOfRedactedPlacesAreSearched(t *testing.T) {
	for list, want := range map[string]string{
		`req.body."jane.doe@example.com".token,req.header.Cookie`: "req.body.*.token,req.header.Cookie",
		`not a list: jane.doe@example.com`:                        "**",
	} {
		e := request("", `{}`)
		e.Tags.Set(recording.TagRedacted, list)
		if keep, _ := do(t, "rules: [{do: redact, contains: jane.doe@example.com}]", e); !keep || e.Tags.Get(recording.TagRedacted) != want {
			t.Errorf("%s became %s, want %s", list, e.Tags.Get(recording.TagRedacted), want)
		}
		e.Tags.Set(recording.TagRedacted, list)
		if keep, _ := do(t, "rules: [{do: remove, contains: jane.doe@example.com}]", e); keep {
			t.Errorf("%s is not found", list)
		}
	}
}

// Redaction of a value in one place doesn't change anything else.
func TestRedactionLeavesTheRestAlone(t *testing.T) {
	const value = "jane.doe@example.com"
	all := everywhere(value)
	for name, want := range map[string]string{
		"JSON":                 `{"a":[{"mail":"R"}],"b":1}`,
		"escaped JSON":         `{"a":[{"mail":"R"}],"b":1}`,
		"packed JSON":          `{"a":[{"mail":"R"}],"b":1}`,
		"name in JSON":         `{"R":1}`,
		"form":                 "a=1&mail=R",
		"name in a form":       "a=1&R=x",
		"text":                 "Dear R,\n",
		"binary":               "\xff\x00\x14" + strings.Repeat("R", len(value)) + "\xfe",
		"cut JSON":             `{"a":"R`,
		"XML":                  "R",
		"unknown coding":       "20;chunk\r\nR",
		"gRPC":                 "\x0a\x14" + strings.Repeat("R", len(value)) + "\x10\xff\x01",
		"WebSocket, text":      "hello R",
		"WebSocket, JSON":      `{"a":[{"mail":"R"}],"b":1}`,
		"WebSocket, frames":    `{"m":"R"}`,
		"TCP, in two pieces":   "RRRRR|x|" + strings.Repeat("R", len(value)-5) + "\n",
		"WebSocket, deflated":  "hello, I am R|I said I am R",
		"query, escaped":       "/a/b?x=1&c=R&d=e",
		"location":             "/users/R?a=b",
		"header":               "b R",
		"basic authentication": "R",
	} {
		e := all[name]
		do(t, "rules: [{do: redact, contains: "+value+"}]", e)
		got := string(e.HTTP.Req.Body) + string(e.HTTP.Res.Body)
		if c := e.Conversation(); c != nil {
			var texts []string
			for _, m := range c.Messages {
				if m.Compressed {
					t.Errorf("%s: still compressed", name)
				}
				if len(m.Data) > 0 {
					texts = append(texts, string(m.Data))
				}
			}
			got = strings.Join(texts, "|")
			if name == "gRPC" {
				got = texts[0]
			}
		}
		if got == "" && strings.HasPrefix(e.HTTP.Req.URI, "/a") || name == "location" {
			got = e.HTTP.Req.URI
		}
		if got == "" && len(e.HTTP.Req.Headers) > 0 {
			got = e.HTTP.Req.Headers[0].Value
		}
		if got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
		if strings.HasPrefix(name, "packed") && (!e.Request().Decoded() || e.Tags.Get(recording.TagDecoded) != "request") {
			t.Errorf("%s: no tag says that the body is decoded: %v", name, e.Tags)
		}
	}
}

// The size of a body as it was sent remains known when the body changes.
func TestABodyThatChangesKeepsItsSize(t *testing.T) {
	e := request("", `{"a":"1"}`)
	do(t, "rules: [{do: replace, with: much longer, at: req.body.a}]", e)
	if got := e.Request().Size(); got != int64(len(`{"a":"1"}`)) {
		t.Errorf("%d bytes; %v", got, e.Tags)
	}
	do(t, "rules: [{do: drop, at: req.body}]", e)
	if got := e.Request().Size(); got != int64(len(`{"a":"1"}`)) || e.HTTP.Req.Body != nil {
		t.Errorf("%d bytes; %v", got, e.Tags)
	}
}

func TestDroppedMessagesKeepTheirSizes(t *testing.T) {
	for name, e := range everywhere("jane.doe@example.com") {
		c := e.Conversation()
		if c == nil {
			continue
		}
		do(t, "rules: [{do: drop, at: [client.message, server.message]}]", e)
		for _, m := range c.Messages {
			if len(m.Data) > 0 || m.Size == 0 && m.Type != "ping" && m.Type != "continuation" {
				t.Errorf("%s: %+v", name, m)
			}
		}
	}
}

func TestTheTagOfRedactedPlacesIsBoundedAndKeepsOthers(t *testing.T) {
	e := request("", `{"a":1}`)
	e.Tags.Set(recording.TagRedacted, "req.header.Authorization")
	do(t, "rules: [{do: redact, at: req.body.a}]", e)
	if got := e.Tags.Get(recording.TagRedacted); got != "req.body.a,req.header.Authorization" {
		t.Error(got)
	}
	var members []string
	for i := range 100 {
		members = append(members, fmt.Sprintf(`"m%d":1`, i))
	}
	e = request("", "{"+strings.Join(members, ",")+"}")
	do(t, "rules: [{do: redact, at: req.body}]", e)
	if got := strings.Split(e.Tags.Get(recording.TagRedacted), ","); len(got) != maxRedacted+1 || got[maxRedacted] != "**" {
		t.Error(got)
	}
}

func TestAValueThatIsANameIsNotListed(t *testing.T) {
	e := request("", `{"jane.doe@example.com":{"mail":"jane.doe@example.com"}}`)
	do(t, "rules: [{do: redact, contains: jane.doe@example.com}]", e)
	if got := e.Tags.Get(recording.TagRedacted); strings.Contains(got, "jane") || got != "req.body.R.mail" && !strings.Contains(got, "*") {
		t.Error(got)
	}
}

func TestDeepJSONIsNoJSON(t *testing.T) {
	body := strings.Repeat(`{"a":`, maxDepth+10) + `"jane.doe@example.com"`
	e := request("", body)
	do(t, "rules: [{do: redact, contains: jane.doe@example.com}]", e)
	if got := string(e.HTTP.Req.Body); strings.Contains(got, "jane") || !strings.HasPrefix(got, `{"a":`) {
		t.Errorf("%.80s", got)
	}
}

func FuzzRewrite(f *testing.F) {
	const value = "jane.doe@example.com"
	for _, e := range everywhere(value) {
		f.Add(e.AppendJSON(nil))
	}
	redact := parse(f, "rules: [{do: redact, contains: "+value+"}]")
	places := parse(f, "rules: [{do: drop, at: ['req.body.a', 'res.body.*', client.message.m]}, {do: redact, at: [req.body, res.body, req.query.a]}]")
	find := newFinder([]string{value}, nil)
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, rules := range [][]Rule{redact, places} {
			var e recording.Exchange
			if json.Unmarshal(text, &e) != nil {
				return
			}
			before := e.AppendJSON(nil)
			w := New(rules, stand{})
			w.Rewrite(&e)
			w.Close()
			if r := w.Report(); r.Changed == 0 && !bytes.Equal(before, e.AppendJSON(nil)) || r.Changed == 1 && r.Rules[0].Changed()+r.Rules[len(r.Rules)-1].Changed() == 0 {
				t.Errorf("%s became %s: %+v", before, e.AppendJSON(nil), r)
			}
			d := &draft{w: New(nil, stand{}), e: &e}
			if rules[0].find != nil && d.contains(find) {
				t.Errorf("the data is still there: %s", e.AppendJSON(nil))
			}
			var again recording.Exchange
			if err := json.Unmarshal(e.AppendJSON(nil), &again); err != nil {
				t.Errorf("%v: %s", err, e.AppendJSON(nil))
			}
		}
	})
}
