package redact

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

const canary = "Kanari0815Vogel"

// samples have the canary in all places where a body of their kind may have a secret.
var samples = []struct{ mediaType, body string }{
	{"application/json", `{"user":{"name":"joe","password":"` + canary + `"},"list":[{"token":["` + canary + `",{"a":"` + canary + `"}]}],"p\u0061sswd":"` + canary + `","inner":"{\"token\":\"` + canary + `\"}","url":"https://u:` + canary + `@h/?api_key=` + canary + `&a=b","kv":[{"name":"DB_PASSWORD","value":"` + canary + `"},{"value":"` + canary + `","name":"DB_PASSWORD"}],"auth":"Bearer ` + canary + `"}`},
	{"application/json", `{"kind":"Secret","apiVersion":"v1","data":{"a":"` + canary + `"}}`},
	{"application/x-www-form-urlencoded", "user=joe&password=" + canary + "&payload=%7B%22token%22%3A%22" + canary + "%22%7D&x=1&u%73er%5Bsecret%5D=" + canary},
	{"multipart/form-data; boundary=x", strings.ReplaceAll(multipartBody, "hush", canary)},
	{"text/xml", `<a xmlns="b"><password>` + canary + `</password><c token="` + canary + `"/><d><![CDATA[api_key=` + canary + `]]></d><property name="secret" value="` + canary + `"/><key>password</key><string>` + canary + `</string></a>`},
	{"application/graphql", `mutation($a: String = "b") { login(user: "joe", password: "` + canary + `", tokens: ["` + canary + `"], secret: """` + canary + `""") { id } }`},
	{"text/event-stream", "event: a\ndata: {\"token\":\"" + canary + "\"}\n\ndata: {\"b\":1,\ndata: \"password\":\"" + canary + "\"}\n\n"},
	{"application/yaml", "a: b\npassword: " + canary + "\ntoken: |\n  " + canary + "\nexport SECRET_KEY=" + canary + "\n"},
	{"text/plain", "the key\n-----BEGIN PRIVATE KEY-----\n" + canary + "\n-----END PRIVATE KEY-----\nghp_" + canary + canary + " https://h/?token=" + canary + "\n"},
	{"text/javascript", `x={"password":"` + canary + `"};y="https://u:` + canary + `@h/a"`},
}

// document redacts a text.
func document(r *Sink, text, mediaType string) string {
	var found places
	q := search{r: r, places: &found, at: "req.body", request: true, max: DefaultMaxBody}
	if out := q.settled(text, mediaType); out != nil {
		return string(out)
	}
	return text
}

func TestSamplesLoseTheirCanaries(t *testing.T) {
	r := New(recording.Discard{}, Options{})
	for _, s := range samples {
		if got := document(r, s.body, s.mediaType); strings.Contains(got, canary) {
			t.Errorf("%s: %s", s.mediaType, got)
		}
	}
}

// A body that is cut, or that looks like another kind from some point on, keeps at most a part of a
// secret that is too short to be recognized.
func TestCutBodiesKeepNoSecrets(t *testing.T) {
	const most = 5
	r := New(recording.Discard{}, Options{})
	for _, s := range samples {
		for _, mediaType := range []string{s.mediaType, ""} {
			for cut := range len(s.body) {
				if got := document(r, s.body[:cut], mediaType); strings.Contains(got, canary[:most+1]) && !ghp(got) {
					t.Fatalf("%q, cut at %d:\n%s\nbecame %s", mediaType, cut, s.body[:cut], got)
				}
			}
		}
	}
}

// ghp reports whether the canary remains only in a token that is too short to be recognized by its
// prefix.
func ghp(s string) bool {
	_, rest, ok := strings.Cut(s, "ghp_")
	return ok && strings.Count(s, canary[:6]) == 1 && len(rest) < 16
}

func FuzzDocument(f *testing.F) {
	for _, s := range samples {
		f.Add(s.mediaType, s.body)
	}
	for name := range hostile {
		f.Add("", repeated(name, hostile[name], 200))
	}
	r := New(recording.Discard{}, Options{Key: []byte("a key for tests")})
	f.Fuzz(func(t *testing.T, mediaType, body string) {
		got := document(r, body, mediaType)
		if json.Valid([]byte(body)) && (mediaType == "application/json" || strings.HasPrefix(body, "{")) && !json.Valid([]byte(got)) {
			t.Errorf("JSON %q\nbecame %q", body, got)
		}
	})
}

// A password doesn't survive, wherever it is in JSON and whatever is next to it.
func FuzzJSON(f *testing.F) {
	f.Add("a", "b", `[1,2]`, true)
	f.Add(`\u0041`, `{"a":`, `"x"`, false)
	r := New(recording.Discard{}, Options{})
	f.Fuzz(func(t *testing.T, name, text, value string, last bool) {
		if strings.Contains(name+text+value, canary[:4]) {
			return
		}
		quoted, _ := json.Marshal(name)
		spoken, _ := json.Marshal(text)
		if !json.Valid([]byte(value)) {
			value = "null"
		}
		members := []string{string(quoted) + ":" + value, `"text":` + string(spoken), `"password":"` + canary + `"`}
		if last {
			members[0], members[2] = members[2], members[0]
		}
		body := `{"x":[{` + strings.Join(members, ",") + "}]}"
		got := document(r, body, "application/json")
		if strings.Contains(got, canary) || !json.Valid([]byte(got)) {
			t.Errorf("%s\nbecame %s", body, got)
		}
	})
}

// The prescan skips nothing in which a full search finds a secret.
func FuzzGlance(f *testing.F) {
	for _, s := range samples {
		f.Add(s.body)
	}
	for name := range hostile {
		f.Add(`{"a":"` + repeated(name, hostile[name], 100) + `","password":"hush"}`)
	}
	f.Add(benchOrder)
	f.Add(benchOrdered)
	f.Add(`{"name":"password","a":{"name":"x"},"value":"hush","b":{"value":"hush","name":"password"},"c":{"name":"color","value":"x"}}`)
	f.Add(`{"data":{"a":"x"},"kind":"Secret","b":[{"value":"x","id":17,"name":"password"},{"value":"x"`)
	f.Add(`{"a":["x","4111 1111 1111 1111",{"token":{"a":"hush"}},"Bearer abcdefgh1"],"id":4111111111111111,"b":4111111111111111,c:'x',"errors":{"pin":"x y"}}`)
	r := New(recording.Discard{}, Options{})
	f.Fuzz(func(t *testing.T, body string) {
		var found, all places
		q := search{r: r, places: &found, at: "req.body", request: true, max: DefaultMaxBody}
		got := q.json(body)
		q.places, q.variables = &all, nil
		j := jsonScan{prescan: prescan{search: q, s: body}}
		for known := -1; known < len(j.variables); {
			known = len(j.variables)
			j = jsonScan{prescan: prescan{search: j.search, s: body, telling: kindsIn(r, body)}, draft: draft{src: body, max: q.max}}
			j.scan(nothingPlain)
		}
		want := j.bytes()
		if json.Valid([]byte(body)) && (string(got) != string(want) || found.list() != all.list()) || want != nil && got == nil {
			t.Errorf("%q\nbecame %q,\nwant   %q", body, got, want)
		}
	})
}

// kindsIn reports whether a body has a Kubernetes Secret.
func kindsIn(r *Sink, body string) says {
	d := json.NewDecoder(strings.NewReader(body))
	for name := ""; ; {
		token, err := d.Token()
		if err != nil {
			return 0
		}
		text, _ := token.(string)
		if r.names.lookUp(name).says&isKind != 0 && (text == "Secret" || text == "SecretList") {
			return isKindData
		}
		name = text
	}
}

// Cards and well-known secrets are found one after another, and none is found twice.
func FuzzKnown(f *testing.F) {
	f.Add("a 4111 1111 1111 1111, ghp_0123456789abcdefABCDEF Bearer abcdefgh1")
	f.Fuzz(func(t *testing.T, s string) {
		for _, found := range [][]span{knownIn(nil, s, false), knownIn(nil, s, true), cards(nil, s)} {
			end := 0
			for _, f := range found {
				if f.from < end || f.to <= f.from || f.to > len(s) {
					t.Fatalf("%q: %v", s, found)
				}
				end = f.to
			}
		}
		if len(s) >= minKnown && (len(knownIn(nil, s, false)) > 0 || len(cards(nil, s)) > 0) && !New(recording.Discard{}, Options{}).suspicious(s) {
			t.Errorf("%q is not suspicious", s)
		}
	})
}

// A second redaction changes nothing.
func FuzzTwice(f *testing.F) {
	for _, s := range samples {
		f.Add(s.mediaType, s.body)
	}
	f.Add("text/xml", "<secret-->:<") // which becomes a comment
	f.Add("application/json", `"{\"token\0:\"00000000\0!Bearer 00000000"`)
	f.Add("application/octet-stream", "\x00\x01\x02Bearer hush0123456789hush0123456789")
	r := New(recording.Discard{}, Options{Key: []byte("a key for tests")})
	f.Fuzz(func(t *testing.T, mediaType, body string) {
		once := document(r, body, mediaType)
		if twice := document(r, once, mediaType); twice != once {
			t.Errorf("%q: %q\nbecame %q\nand    %q", mediaType, body, once, twice)
		}
	})
}
