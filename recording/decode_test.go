package recording

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

var ignorePrepared = cmpopts.IgnoreUnexported(NetInfo{})

// fill gives every field of a struct a value other than zero.
func fill(v reflect.Value) {
	switch to := v.Addr().Interface().(type) {
	case *time.Time:
		*to = time.Date(2026, 2, 28, 23, 59, 58, 123456700, time.UTC)
		return
	case *UUID:
		*to = UUID{1, 2, 3}
		return
	case *Tags:
		*to = Tags{{"a", "1"}, {"b", "\u00e9\n"}}
		return
	case *Headers:
		*to = Headers{{"A", "1"}, {"A", `2"`}, {"B", "\u65e5"}}
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text\twith \"marks\"")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt(-4711)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem())
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Tag.Get("json") != "-" {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0))
		fill(v.Index(1))
	case reflect.Uint8:
		v.SetUint(200)
	case reflect.Map:
		v.Set(reflect.ValueOf(map[string][]byte{"x": {1}, "y": nil}))
	}
}

// canonical needs a line for each new field of Exchange, in the same place as in Encoder. Without it,
// reading is ten times slower.
func TestDecodeKnowsEveryField(t *testing.T) {
	var e Exchange
	fill(reflect.ValueOf(&e).Elem())
	e.MsgType = MsgType
	for name, e := range map[string]*Exchange{"full": full(), "every field": &e, "least": {MsgType: MsgType}, "empty objects": {MsgType: MsgType, HTTP: &HTTP{}, TCP: &Conversation{}, NetInfo: &NetInfo{}}} {
		for range 2 { // the second time from the cache
			sameDecoded(t, name, e.AppendJSON(nil), true)
		}
	}
}

var shared Decoder // has the cache of everything that was decoded

// sameDecoded tests that all ways to decode agree.
func sameDecoded(t *testing.T, name string, text []byte, must bool) {
	t.Helper()
	var want Exchange
	var slow Decoder
	wantErr := slow.foreign(text, &want)
	for _, light := range []bool{false, true} {
		if light {
			want.Lighten()
		}
		for memory, p := range map[string]*canonical{"none": {}, "much": &shared.own, "all": &shared.own} {
			var got Exchange
			if memory == "all" { // the previous exchange is overwritten
				got = Exchange{Tags: Tags{{"old", "1"}, {"tags", "2"}}, HTTP: &HTTP{Req: HTTPRequest{URL: "/old", BodyLeft: 9}}, GRPC: &Conversation{}}
			}
			if !p.exchange(text, &got, light, memory == "all") {
				if must {
					t.Errorf("%s: light %v, memory %s: not recognized as Encoder's output, from %q on", name, light, memory, text[p.i:])
				}
				continue
			}
			if light && strings.Count(string(text), `"http"`) > 1 {
				continue // the second one is not read
			}
			if light && wantErr != nil && strings.Contains(string(text), `"netinfo"`) {
				continue // errors in netinfo are not noticed
			}
			if wantErr != nil {
				t.Errorf("%s: light %v, memory %s: read, although %v: %q", name, light, memory, wantErr, text)
				continue
			}
			if diff := cmp.Diff(&want, &got, ignorePrepared); diff != "" {
				t.Errorf("%s: light %v, memory %s: with encoding/json (-) without (+):\n%s\n%q", name, light, memory, diff, text)
			}
			if !light {
				var plain Exchange
				if err := json.Unmarshal(text, &plain); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if diff := cmp.Diff(&plain, &got, ignorePrepared); diff != "" {
					t.Errorf("%s: json.Unmarshal (-) Decoder (+):\n%s\n%q", name, diff, text)
				}
			}
		}
	}
}

// variants returns texts that are close to Encoder's output.
func variants() []string {
	line := string(full().AppendJSON(nil))
	all := []string{line, line[:len(line)/2], line + "x", " " + line, line + " ", strings.Replace(line, `":`, `": `, 1)}
	for _, change := range [][2]string{
		{`"duration":17`, `"duration":012`}, {`"duration":17`, `"duration":-0`}, {`"duration":17`, `"duration":1e3`}, {`"duration":17`, `"duration":9223372036854775807`}, {`"duration":17`, `"duration":99999999999999999999`}, {`"duration":17`, `"duration":9223372036854775808`}, {`"duration":17`, `"duration":-`}, {`"duration":17`, `"duration":`},
		{`Z","isTls"`, `+01:00","isTls"`}, {`2026-11-22T`, `2026-11-31T`}, {`2026-11-22T`, `2026-13-01T`}, {`2026-11-22T`, `2028-02-29T`}, {`2026-11-22T`, `2026-02-29T`},
		{`20:15:`, `24:15:`}, {`20:15:`, `20:60:`}, {`:00.123456789Z`, `:60.123456789Z`}, {`:00.123456789Z`, `:00.1234567891Z`}, {`:00.123456789Z`, `:00.Z`}, {`:00.123456789Z`, `:00.10Z`}, {`:00.123456789Z`, `:00Z`},
		{`"isTls":true`, `"isTls":false`}, {`"isTls":true`, `"isTls":null`}, {`"location":"`, `"location":"\ud83d\ude00\ud83d\u0041\udc00\`}, {`"location":"`, `"location":"\u00e9\/\b\x`}, {`"location":"`, "\"location\":\"\xff"}, {`"location":"`, "\"location\":\"\x01"},
		{`"location":"`, `"location":"\u12`}, {`"location":"`, `"location":"\"`}, {`"tags":{`, `"tags":{"a":"1","a":"2",`}, {`"tags":{`, `"tags":{"a":null,`}, {`"headers":{`, `"headers":{"A":["\x"],`}, {`"headers":{`, `"headers":{"A":[],`}, {`"headers":{`, `"headers":{"A":null,`}, {`"headers":{`, `"headers":{"A":["1"],"A":["2"],`},
		{`"bodyBase64":"`, `"bodyBase64":"=`}, {`"bodyBase64":"`, `"bodyBase64":"AA==`}, {`"bodyBase64":"`, `"bodyBase64":"\n\n\n\n`}, {`"bodyBase64":"`, `"bodyBase64":"----`}, {`"direction":`, `"Direction":`}, {`"part":1`, `"part":1.5`}, {`"part":1`, `"part":"1"`},
		{`"netinfo":{`, `"netinfo":{"more":{"a":[1]},`}, {`"msgType":"rrpair"`, `"msgType":"other"`}, {`"msgType":"rrpair",`, ``}, {`"http":{`, `"http":{"more":1,`}, {`"http":{`, `"http":[{`}, {`"uuid":"`, `"uuid":"A`},
	} {
		changed := strings.Replace(line, change[0], change[1], 1)
		if changed == line {
			panic("nothing to change: " + change[0])
		}
		all = append(all, changed)
	}
	return all
}

// The fast decoder reads the smallest and the largest values, and as many tags, headers and
// signature values as a record may have.
func TestDecodeReadsTheLimits(t *testing.T) {
	at := func(ts time.Time) *Exchange { return &Exchange{TS: ts} }
	took := func(ms int64) *Exchange { return &Exchange{Duration: ms} }
	many := &Exchange{HTTP: &HTTP{}, Signature: map[string][]byte{}}
	for i := range MaxTags {
		many.Tags = append(many.Tags, Tag{fmt.Sprint("tag ", i), "1"})
	}
	for i := range MaxHeaders {
		many.HTTP.Req.Headers = append(many.HTTP.Req.Headers, Header{"A", fmt.Sprint(i)})
	}
	for i := range MaxMembers {
		many.Signature[fmt.Sprint(i)] = nil
	}
	for name, e := range map[string]*Exchange{
		"the first time": at(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)), "the last time": at(time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC)),
		"no duration": took(0), "one of nine": took(9), "the longest one": took(math.MaxInt64), "a negative one": took(-math.MaxInt64), "one of 19 digits": took(1e18),
		"as many as may be": many,
	} {
		e.MsgType = MsgType
		sameDecoded(t, name, e.AppendJSON(nil), true)
	}
}

// No prefix of a record is a record, and the decoder does not read past its end.
func TestNoPrefixOfARecordIsRead(t *testing.T) {
	line := full().AppendJSON(nil)
	var d Decoder
	for n := range line {
		var e Exchange
		if part := line[:n:n]; d.Canonical(part, &e) || d.Decode(part, &e) == nil {
			t.Fatalf("%q is read", part)
		}
	}
	if !d.Canonical(line, new(Exchange)) {
		t.Error("the whole record can't be read")
	}
}

// Canonical checks each digit of a body, although light reading leaves the body out.
func TestCanonicalRejectsInvalidBase64(t *testing.T) {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	read := func(text string) bool {
		var d Decoder
		return d.Canonical([]byte(`{"msgType":"rrpair","ts":"2026-11-22T20:15:00Z","duration":1,"uuid":"AQIDAAAAAAAAAAAAAAAAAA==","direction":"IN","http":{"req":{"bodyBase64":"`+text+`"},"res":{}}}`), new(Exchange))
	}
	for c := range 256 {
		if c == '"' || c == '=' {
			continue
		}
		for _, n := range []int{4, 8, 12, 20} {
			for at := range n {
				text := strings.Repeat("A", at) + string([]byte{byte(c)}) + strings.Repeat("A", n-at-1)
				if want := strings.IndexByte(digits, byte(c)) >= 0; read(text) != want {
					t.Fatalf("%q is read: %v", text, !want)
				}
			}
		}
	}
	for text, want := range map[string]bool{
		"": true, "A": false, "AAA": false, "AA==": true, "AAA=": true, "A===": false, "====": false, "AAAAAAA=": true, "AAAAAAAA-AA=": false, "AAAAAAAAA-==": false, "AA=A": false,
	} {
		if read(text) != want {
			t.Errorf("%q is read: %v", text, !want)
		}
	}
}

// Decoding a record allocates little if it has most in common with earlier records.
func TestDecodingSimilarRecordsAllocatesLittle(t *testing.T) {
	var texts [][]byte
	for i := range 100 {
		e := Exchange{MsgType: MsgType, TS: time.Date(2026, 11, 22, 20, 15, i%60, 0, time.UTC), L7Protocol: HTTP1, Resource: strings.Repeat("r", 200), Location: fmt.Sprintf("/orders/%04d", i)}
		for n := range 12 {
			e.Tags.Set(fmt.Sprint("tag ", n), strings.Repeat("v", 200))
		}
		e.Tags.Set(TagSequence, fmt.Sprint(1000+i))
		e.HTTP = &HTTP{Req: HTTPRequest{Method: "GET", Headers: Headers{{"Accept", "*/*"}, {strings.Repeat("X", 200), "1"}}}, Res: HTTPResponse{StatusCode: 200, Headers: Headers{{"Server", "a"}}, Body: []byte("hello")}}
		texts = append(texts, e.AppendJSON(nil))
	}
	for _, c := range []struct {
		name string
		d    Decoder
		want float64
	}{
		{"light, and reused", Decoder{Light: true, Reuse: true}, 0},
		{"light", Decoder{Light: true}, 2},  // the tags, and HTTP
		{"reused", Decoder{Reuse: true}, 5}, // a text and a list of headers for each side, and the response's body
	} {
		var e Exchange
		i := 0
		if got := testing.AllocsPerRun(500, func() {
			if err := c.d.Decode(texts[i%len(texts)], &e); err != nil {
				t.Fatal(err)
			}
			i++
		}); got > c.want {
			t.Errorf("%s: %v allocations for each, want at most %v", c.name, got, c.want)
		}
	}
}

func TestCommonPrefix(t *testing.T) {
	text := []byte("a text of thirty bytes, or so.")
	for n := range text {
		other := bytes.Clone(text)
		other[n] ^= 1
		if got := commonPrefix(text, other); got != n {
			t.Errorf("%d bytes, want %d", got, n)
		}
		if got := commonPrefix(text, text[:n]); got != n {
			t.Errorf("%d bytes of %d", got, n)
		}
	}
}

// Decode reads the same as encoding/json, or leaves the text to it if Encoder would have written it
// differently.
func TestDecodeIsThatOfEncodingJSON(t *testing.T) {
	for _, text := range variants() {
		sameDecoded(t, "variant", []byte(text), false)
	}
}

// A glance sees the members before the request's fields. It decides only about records of plain
// HTTP whose members are in Encoder's order.
func TestAGlanceLeavesRecordsOut(t *testing.T) {
	netinfo := &NetInfo{ID: "1"}
	record := func(protocol, status string, h *HTTP) string {
		return string((&Exchange{MsgType: MsgType, L7Protocol: protocol, Status: status, HTTP: h, NetInfo: netinfo}).AppendJSON(nil))
	}
	h := &HTTP{Req: HTTPRequest{Host: "shop", Headers: Headers{{"A", "1"}}}, Res: HTTPResponse{StatusCode: 200, Body: []byte("x")}}
	good, bad, grpc := record(HTTP1, "200", h), record(HTTPS, "503", h), record(GRPC, "200", h)
	for _, c := range []struct {
		name, text string
		asked      int
		want       string // the exchanges that are returned, by protocol
	}{
		{"what is wanted", bad, 1, "https"},
		{"what isn't", good, 1, ""},
		{"what isn't, and is malformed after that", strings.Replace(good, `"A":["1"]`, `"A":[1`, 1), 1, ""},
		{"a conversation", grpc, 0, "grpc"},
		{"a record without NetInfo", string((&Exchange{MsgType: MsgType, L7Protocol: HTTP1, HTTP: h}).AppendJSON(nil)), 1, ""},
		{"a record that continues", strings.TrimSuffix(good, "}") + `,"status":"503"}`, 0, "http"},
		{"a record in another order", `{"status":"200",` + good[1:], 0, "http"},
		{"an indented one", strings.Replace(good, ",", ",\n", 1), 0, "http"},
	} {
		asked := 0
		r, err := NewReader(strings.NewReader(strings.ReplaceAll(c.text, `\n`, "\n") + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		r.Decoder = &Decoder{Light: true, Glance: func(e *Exchange) bool {
			asked++
			return e.Status == "503" && e.Host() == "shop"
		}}
		var e Exchange
		got := ""
		for r.Next(&e) == nil {
			got += e.L7Protocol
		}
		if got != c.want || asked != c.asked {
			t.Errorf("%s: %q, asked %d times; want %q, %d", c.name, got, asked, c.want, c.asked)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, text := range variants() {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { sameDecoded(t, "text", text, false) })
}

// A decoded exchange doesn't change when its text or an earlier exchange changes.
func TestDecodedExchangesAreIndependent(t *testing.T) {
	var d Decoder
	text := full().AppendJSON(nil)
	var first, second Exchange
	for _, e := range []*Exchange{&first, &second} {
		if err := d.Decode(text, e); err != nil {
			t.Fatal(err)
		}
	}
	var want Exchange
	if err := json.Unmarshal(text, &want); err != nil {
		t.Fatal(err)
	}
	clear(text)
	second.Tags.Set(second.Tags[0].Name, "other")
	second.HTTP.Req.Headers[0].Value = "other"
	second.HTTP.Res.Body[0]++
	if diff := cmp.Diff(&want, &first, ignorePrepared); diff != "" {
		t.Error(diff)
	}
	third := Exchange{}
	if err := d.Decode(full().AppendJSON(nil), &third); err != nil || third.Tags[0].Value == "other" {
		t.Errorf("%v, %v", third.Tags, err)
	}
}

// Decode keeps members that other tools write and Exchange has no field for, or names their loss.
func TestForeignMembers(t *testing.T) {
	const text = `{"postgres":{ "request" : {"ssl":{}}, "n":[1, 2] },"msgType":"rrpair","ts":"2025-12-15T21:09:50+01:00","duration":null,
		"dlpModified":false,"http":{"req":{"queryParams":{"a":["1"]},"body":"hello","bodyBase64":"aGVsbG8=","url":"/"},"res":{"body":"text \u00e9"},"more":1},
		"netinfo":{"downstream":{"color":"red"},"startTime":"2025-12-15T21:09:50Z"},"grpc":{"messages":[{"from":"client","x":1},{"x":2}]},
		"location":"/1","location":"/2","streamSeqNum":"3","streamSeqNum":"4"}`
	var d Decoder
	var e Exchange
	if err := d.Decode([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	got := string(e.AppendJSON(nil))
	for _, want := range []string{`"postgres":{"request":{"ssl":{}},"n":[1,2]}`, `"dlpModified":false`, `"streamSeqNum":"4"`, `"queryParams":{"a":["1"]}`, `"bodyBase64":"aGVsbG8="`, `"location":"/2"`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s is not in %s", want, got)
		}
	}
	if strings.Contains(got, `"body":`) || string(e.HTTP.Res.Body) != "text é" || string(e.HTTP.Req.Body) != "hello" {
		t.Errorf("bodies: %s", got)
	}
	want := []string{"http.more: not kept", "netinfo.downstream.color: not kept", "grpc.messages[].x: not kept",
		"location: occurs more than once; the last one is kept", "streamSeqNum: occurs more than once; the last one is kept"}
	if diff := cmp.Diff(want, d.Losses()); diff != "" {
		t.Error(diff)
	}
	var again Exchange
	if err := d.Decode([]byte(got), &again); err != nil || len(d.Losses()) > 0 {
		t.Errorf("%v, %v", err, d.Losses())
	}
	if diff := cmp.Diff(&e, &again, ignorePrepared, cmp.Comparer(time.Time.Equal)); diff != "" {
		t.Errorf("read (-) written and read (+):\n%s", diff)
	}
}

// A body is kept both as bytes and as text if only the text was changed.
func TestForeignBodyThatDiffers(t *testing.T) {
	var d Decoder
	var e Exchange
	const text = `{"http":{"req":{"bodyBase64":"aGVsbG8=","body":"other"},"res":{"body":17}}}`
	if err := d.Decode([]byte(text), &e); err != nil {
		t.Fatal(err)
	}
	if got := string(e.AppendJSON(nil)); !strings.Contains(got, `"bodyBase64":"aGVsbG8=","body":"other"`) || !strings.Contains(got, `"res":{"body":17}`) {
		t.Error(got)
	}
}

func TestDecodeErrorsNameTheMember(t *testing.T) {
	many := func(n int, s string) string { return strings.TrimSuffix(strings.Repeat(s+",", n), ",") }
	for _, c := range []struct{ text, want string }{
		{`{"duration":"1"}`, "duration: json: cannot unmarshal string"},
		{`{"http":{"req":{"headers":7}}}`, "http.req.headers: found "},
		{`{"netinfo":{"upstream":{"bytesSent":7}}}`, "netinfo.upstream.bytesSent: json: cannot unmarshal number"},
		{`{"netinfo":[]}`, "netinfo: found "},
		{`{"uuid":"short"}`, `uuid "short": want 32 hexadecimal digits`},
		{`{"grpc":{"messages":[{"at":"x"}]}}`, "grpc.messages[].at: json: cannot unmarshal string"},
		{`{"location":"/"`, "unexpected end of JSON input"},
		{`{"location":"/"} {}`, "after top-level value"},
		{`[]`, "want a JSON object"},
		{`{"a":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, "exceeded max depth"},
		{`{"ts":"9999-12-31T23:59:59-23:59"}`, "ts: the year is 10000"},
		{`{"netinfo":{"startTime":"0000-01-01T00:00:00+23:59"}}`, "netinfo.startTime: the year is -1"},
		{`{` + many(MaxMembers+1, `"a":1`) + `}`, "a JSON object has more than 1000"},
		{`{"netinfo":{` + many(MaxMembers+1, `"a":1`) + `}}`, "netinfo: a JSON object has more than 1000"},
		{`{"signature":{` + many(MaxMembers+1, `"a":""`) + `}}`, "signature: a JSON object has more than 1000"},
		{`{"tags":{` + many(MaxTags+1, `"a":""`) + `}}`, "tags: a JSON object has more than 1000"},
		{`{"http":{"res":{"headers":{` + many(MaxHeaders+1, `"A":[]`) + `}}}}`, "http.res.headers: a JSON object has more than 4000"},
		{`{"tcp":{"messages":[` + many(MaxMessages+1, `{}`) + `]}}`, "tcp.messages: a JSON array has more than 100000"},
		{`{"http":{"req":{"headers":{` + many(MaxHeaders+1, `"A":["1"]`) + `}}}}`, "a JSON object has more than 4000"},
		{`{"http":{"req":{"headers":{"A":[` + many(3000, `"1"`) + `],"B":[` + many(1001, `"1"`) + `]}}}}`, "a JSON array has more than 1000"},
		{`{"http":{"req":{"headers":{"A":[` + many(MaxHeaders+1, `"1"`) + `]}}}}`, "a JSON array has more than 4000"},
	} {
		var d Decoder
		if err := d.Decode([]byte(c.text), new(Exchange)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.60s: %v, want %s", c.text, err, c.want)
		}
	}
	tags := make(Tags, MaxTags+1)
	for i := range tags {
		tags[i] = Tag{strings.Repeat("a", i), "1"}
	}
	var d Decoder
	if err := d.Decode((&Exchange{MsgType: MsgType, Tags: tags}).AppendJSON(nil), new(Exchange)); err == nil || !strings.Contains(err.Error(), "more than 1000") {
		t.Error(err)
	}
}

// A small upload may have a line of any size, and the collector has one pod's memory for all uploads.
func TestHostileRecordsCostNoMemory(t *testing.T) {
	many := func(s string) string { return strings.Repeat(s+",", 4<<20/len(s)) }
	names := func(value string) string {
		var b strings.Builder
		for i := 0; b.Len() < 4<<20; i++ {
			fmt.Fprintf(&b, `"%x":%s,`, i, value)
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"members":        `{` + names("1") + `"a":1}`,
		"members within": `{"netinfo":{` + names("1") + `"a":1}}`,
		"values":         `{"http":{"req":{"headers":{"A":[` + many(`""`) + `""]}}}}`,
		"names":          `{"http":{"req":{"headers":{` + names("[]") + `"A":[]}}}}`,
		"messages":       `{"tcp":{"messages":[` + many(`{}`) + `{}]}}`,
		"tags":           `{"tags":{` + names(`""`) + `"a":""}}`,
		"signature":      `{"signature":{` + names(`""`) + `"a":""}}`,
		"a long value":   `{"http":{"req":{"headers":{"A":["` + strings.Repeat("a", 4<<20) + `"]}}}}`,
		"a long member":  `{"other":"` + strings.Repeat("a", 4<<20) + `"}`,
		"white space":    strings.Repeat(" ", 4<<20) + `{"http":{"req":{"headers":{"A":["a"` + strings.Repeat(" ", 4<<20) + `]}}}}`,
	} {
		var d Decoder
		var err error
		in := []byte(text)
		if took, most := spent(func() { err = d.Decode(in, new(Exchange)) }), uint64(8*len(text)); took > most {
			t.Errorf("%s: %v, with %d MiB for %d MiB of JSON", name, err, took>>20, len(text)>>20)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	e := full()
	e.Signature, e.GRPC, e.WebSocket, e.TCP = nil, nil, nil, nil
	e.HTTP.Res.Body = []byte(strings.Repeat(`{"a":1},`, 128))
	text := e.AppendJSON(nil)
	for name, decode := range map[string]func([]byte, *Exchange) error{
		"whole": new(Decoder).Decode,
		"light": (&Decoder{Light: true}).Decode,
		"json":  func(text []byte, e *Exchange) error { return json.Unmarshal(text, e) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if err := decode(text, e); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
