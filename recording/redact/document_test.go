package redact

import (
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// redactDocument redacts the body of a request with this media type. In the result, R replaces each
// token, and 8000 each number.
func redactDocument(mediaType, body string) (got, places string) {
	e := &recording.Exchange{HTTP: &recording.HTTP{Req: recording.HTTPRequest{Body: []byte(body), Headers: recording.Headers{{Name: "Content-Type", Value: mediaType}}}}}
	New(recording.Discard{}, Options{}).Write(e)
	return numberTokens.ReplaceAllString(tokens.ReplaceAllString(string(e.HTTP.Req.Body), "R"), "8000"), e.Tags.Get(recording.TagRedacted)
}

const multipartBody = "--x\r\nContent-Disposition: form-data; name=\"user\"\r\n\r\njoe\r\n" +
	"--x\r\nContent-Disposition: form-data; name=\"password\"\r\n\r\nhush\r\n" +
	"--x\r\nContent-Disposition: form-data; name=\"meta\"\r\nContent-Type: application/json\r\n\r\n{\"token\":\"hush\"}\r\n" +
	"--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"password.txt\"\r\nContent-Type: text/plain\r\n\r\napi_key=hush\r\n--x--\r\n"

func TestDocuments(t *testing.T) {
	for _, c := range []struct{ mediaType, body, want, places string }{
		{"application/x-www-form-urlencoded", "user=joe&password=hu%73h+hush&x=1", "user=joe&password=R&x=1", "req.body.password"},
		{"application/x-www-form-urlencoded", "u%73er%5Bpassword%5D=hush", "u%73er%5Bpassword%5D=R", `req.body."user[password]"`},
		{"application/x-www-form-urlencoded", "payload=%7B%22token%22%3A%22hush%22%7D", "payload=%7B%22token%22%3A%22R%22%7D", "req.body.payload"},
		{"application/x-www-form-urlencoded", "u=root&p=hush", "u=root&p=R", "req.body.p"},
		{"application/x-www-form-urlencoded", "grant_type=password&scope=a+b&code_challenge_method=S256", "grant_type=password&scope=a+b&code_challenge_method=S256", ""},
		{"", "grant_type=client_credentials&client_secret=hush", "grant_type=client_credentials&client_secret=R", "req.body.client_secret"},
		{"multipart/form-data; boundary=x", multipartBody, strings.ReplaceAll(multipartBody, "hush", "R"), "req.body.f.api_key,req.body.meta.token,req.body.password"},
		{"", multipartBody, strings.ReplaceAll(multipartBody, "hush", "R"), "req.body.f.api_key,req.body.meta.token,req.body.password"},
		{"application/xml", `<login><user>joe</user><password>hush</password></login>`, `<login><user>joe</user><password>R</password></login>`, "req.body.login.password"},
		{"", `<a:Envelope><wsse:Password Type="x">hu&#115;h</wsse:Password></a:Envelope>`, `<a:Envelope><wsse:Password Type="x">R</wsse:Password></a:Envelope>`, "req.body.Envelope.Password"},
		{"text/xml", `<c password="hush" name='x'><![CDATA[api_token=hush]]></c>`, `<c password="R" name='x'><![CDATA[api_token=R]]></c>`, "req.body.c,req.body.c.@password"},
		{"text/xml", `<property name="db.password" value="hush"/><property value="hush" name="api-key"/><entry key="token">hush</entry>`, `<property name="db.password" value="R"/><property value="R" name="api-key"/><entry key="token">R</entry>`, "req.body.entry,req.body.property.@value"},
		{"text/xml", `<credentials><user>joe</user><type>basic</type><x><y>hush</y></x></credentials><z>z</z>`, `<credentials><user>R</user><type>basic</type><x><y>R</y></x></credentials><z>z</z>`, "req.body.credentials.user,req.body.credentials.x.y"},
		{"text/xml", `<password>hush`, `<password>R`, "req.body.password"},
		{"text/xml", `<dict><key>password</key><string>hush</string><key>user</key><string>joe</string></dict>`, `<dict><key>password</key><string>R</string><key>user</key><string>joe</string></dict>`, "req.body.dict.string"},
		{"text/xml", `<member><name>password</name><value><string>hush</string></value></member>`, `<member><name>password</name><value><string>R</string></value></member>`, "req.body.member.value.string"},
		{"text/html", `<form><input type="password" name="x" value="hush"><input name=csrf_token value=hush><input type=hidden id=csrf value=hush><p>Password</p></form>`, `<form><input type="password" name="x" value="R"><input name=csrf_token value=R><input type=hidden id=csrf value=R><p>Password</p></form>`, "req.body.form.input.@value"},
		{"text/html", `<meta name="csrf-token" content="hush"><script>window.x={"csrfToken":"hush"};a=b?token=c:d</script>`, `<meta name="csrf-token" content="R"><script>window.x={"csrfToken":"R"};a=b?token=c:d</script>`, "req.body.meta.@content,req.body.script"},
		{"application/graphql", `mutation { login(user: "joe", password: "hush", pin: 1234, n: 1234) { token } }`, `mutation { login(user: "joe", password: "R", pin: 8000, n: 1234) { token } }`, "req.body.password,req.body.pin"},
		{"application/graphql", "mutation { login(password # of joe\n : \"hush\") { id } }", "mutation { login(password # of joe\n : \"R\") { id } }", "req.body.password"},
		{"application/json", `{"query":"mutation { login(password: \"hush\") { token } }","variables":{"password":"hush"}}`, `{"query":"mutation { login(password: \"R\") { token } }","variables":{"password":"R"}}`, "req.body.query,req.body.variables.password"},
		{"application/json", `{"query":"{ login(password: \"hush\", credentials: {a: \"hush\"}) { token } }"}`, `{"query":"{ login(password: \"R\", credentials: {a: \"R\"}) { token } }"}`, "req.body.query"},
		{"application/json", `{"query":"mutation($u: String!, $p: String!) { login(user: $u, password: $p) { id } }","variables":{"u":"joe","p":"hush"}}`, `{"query":"mutation($u: String!, $p: String!) { login(user: $u, password: $p) { id } }","variables":{"u":"joe","p":"R"}}`, "req.body.variables.p"},
		{"application/json", `[{"operationName":"A","variables":{"a":"hush","in":{"x":["hush"]}},"query":"mutation A($a: String, $in: B) { login(input: {user: \"joe\", password: $a}, credentials: {y: $in}) { id } }"},{"p":"stays","variables":{"b":"stays"}}]`, `[{"operationName":"A","variables":{"a":"R","in":{"x":["R"]}},"query":"mutation A($a: String, $in: B) { login(input: {user: \"joe\", password: $a}, credentials: {y: $in}) { id } }"},{"p":"stays","variables":{"b":"stays"}}]`, "req.body[].variables.a,req.body[].variables.in.x[]"},
		{"text/event-stream", "event: x\ndata: {\"token\":\"hush\"}\n\ndata: {\"token\":\ndata: \"hush\"}\n\n", "event: x\ndata: {\"token\":\"R\"}\n\ndata: {\"token\":\ndata: \"R\"}\n\n", "req.body.token"},
		{"text/plain", "a\npassword: hush\nAuthorization: Bearer hush\nPassword: must have 8 characters\n", "a\npassword: R\nAuthorization: Bearer R\nPassword: must have 8 characters\n", "req.body.Authorization,req.body.password"},
		{"text/plain", "see https://u:hush@h/ and -----BEGIN PRIVATE KEY-----\nhush\n-----END PRIVATE KEY-----\nb", "see https://R@h/ and R\nb", "req.body"},
		{"application/yaml", "a: b\npassword: my hush\ntoken: |\n  hush\n  hush\nc: d\n", "a: b\npassword: R\ntoken: |\n  R\n  R\nc: d\n", "req.body,req.body.password"},
		{"application/yaml", "password:\n  value: my hush\n  type: x\n  old:\n    - hush\nuser: joe\n", "password:\n  value: R\n  type: x\n  old:\n    - R\nuser: joe\n", "req.body,req.body.value"},
		{"application/yaml", "password:\n  a: |\n    hush\n  b: hush\n  c:\n  - hush\nd: e\n", "password:\n  a: |\n    R\n  b: R\n  c:\n  - R\nd: e\n", "req.body,req.body.b"},
		{"application/yaml", "passwords:\n- hush\n- \"hush\"\nusers:\n- joe\n", "passwords:\n- R\n- \"R\"\nusers:\n- joe\n", "req.body"},
		{"application/yaml", "env:\n- name: DB_PASSWORD\n  value: hush\n- name: LEVEL\n  value: debug\n", "env:\n- name: DB_PASSWORD\n  value: R\n- name: LEVEL\n  value: debug\n", "req.body.value"},
		{"application/yaml", "- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef:\n      name: db\n      key: password\n", "- name: DB_PASSWORD\n  valueFrom:\n    secretKeyRef:\n      name: db\n      key: password\n", ""},
		{"application/yaml", "password:\n  type: string\n  description: The password\n  minLength: 8\nb: c\n", "password:\n  type: string\n  description: The password\n  minLength: 8\nb: c\n", ""},
		{"text/plain", "Password:\n  must have 8 characters\n", "Password:\n  must have 8 characters\n", ""},
		{"text/javascript", `var a={"password":"hush"};token=b.c;url="https://h/?api_key=hush0123456789"`, `var a={"password":"R"};token=b.c;url="https://h/?api_key=R"`, "req.body"},
		{"text/javascript", `var c={apiKey:"hush0A1b2C3d4E5f",authDomain:"hush0A1b2C3d4E5f"};window.API_TOKEN = 'hush0A1b2C3d4E5f';token="tokenExpired";key=next();c.password==""`, `var c={apiKey:"R",authDomain:"hush0A1b2C3d4E5f"};window.API_TOKEN = 'R';token="tokenExpired";key=next();c.password==""`, "req.body"},
		{"text/html", `<script>var csrfToken = "hush0A1b2C3d4E5f";</script>`, `<script>var csrfToken = "R";</script>`, "req.body.script"},
		{"text/plain", `42["login",{"password":"hush"}]`, `42["login",{"password":"R"}]`, "req.body[].password"},
		{"", "\ufeff{\"password\":\"hush\"}", "\ufeff{\"password\":\"R\"}", "req.body.password"},
		{"application/octet-stream", "\x00\x01eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.hushhushhushhush\x00", "\x00\x01R----------------------------\x00", "req.body"},
		{"application/json", `<login><password>hush</password></login>`, `<login><password>R</password></login>`, "req.body.login.password"},
		{"application/toml", "[db]\npassword = \"hush\"\n[[a.b]]\n", "[db]\npassword = \"R\"\n[[a.b]]\n", "req.body.password"},
		{"", "[2026-11-22 20:15:00] [info] login\npassword=hush\n", "[2026-11-22 20:15:00] [info] login\npassword=R\n", "req.body.password"},
		{"multipart/form-data; boundary=other", multipartBody, strings.ReplaceAll(multipartBody, "hush", "R"), "req.body.f.api_key,req.body.meta.token,req.body.password"},
		{"text/plain; version=0.0.4", `http_requests_total{code="200",method="get",key="a"} 1027`, `http_requests_total{code="200",method="get",key="a"} 1027`, ""},
		{"multipart/mixed; boundary=x", "--x\r\nContent-Type: application/http\r\n\r\nGET /a?token=hush HTTP/1.1\r\nAuthorization: Bearer hush\r\n\r\n--x--", "--x\r\nContent-Type: application/http\r\n\r\nGET /a?token=R HTTP/1.1\r\nAuthorization: Bearer R\r\n\r\n--x--", "req.body,req.body.Authorization"},
	} {
		got, places := redactDocument(c.mediaType, c.body)
		if got != c.want || places != c.places {
			t.Errorf("%s: %s\n became %s\n want   %s\n places %s, want %s", c.mediaType, c.body, got, c.want, places, c.places)
		}
	}
}

// Compressed data may begin like a document, and may have two slashes or a colon before an @.
func TestBinaryDataIsNoDocument(t *testing.T) {
	const noise = "\x8d\x01\xb2\x12\xd8\x85+\xc9\xc5:Wd\x15\xb0+g\xac%Zgd5\xb0\x1bwRK\xf5\xee\xc8\x1a@8d/\xd3"
	for _, start := range []string{"{", "[", "<", "{\"", "//", "a=", ""} {
		body := start + strings.Repeat(noise, 20)
		if got, places := redactDocument("", body); got != body {
			t.Errorf("%q became %q at %s", start, got, places)
		}
	}
}

// Text may be in an encoding that isn't UTF-8, and may have a control character in it.
func TestTextInOddBytes(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{"{\"\xc4\xe3\xba\xc3\":\"\xca\xc0\xbd\xe7\",\"password\":\"hush\"}", "{\"\xc4\xe3\xba\xc3\":\"\xca\xc0\xbd\xe7\",\"password\":\"R\"}"}, // GBK
		{"\xc4\xe3\xba\xc3\xca\xc0\xbd\xe7\npassword: hush\n", "\xc4\xe3\xba\xc3\xca\xc0\xbd\xe7\npassword: R\n"},
		{"{\"name\":\"a\x01b\",\"password\":\"hush\",\"id\":1}", "{\"name\":\"a\x01b\",\"password\":\"R\",\"id\":1}"},
		{"{\"arguments\":[{\"password\":\"hush\"}],\"target\":\"Send\",\"type\":1}\x1e", "{\"arguments\":[{\"password\":\"R\"}],\"target\":\"Send\",\"type\":1}\x1e"}, // SignalR
		{"CONNECT\nlogin:joe\npasscode:hush\n\n\x00", "CONNECT\nlogin:joe\npasscode:R\n\n\x00"},                                                                       // STOMP
	} {
		if got, _ := redactDocument("", c.body); got != c.want {
			t.Errorf("%q became %q, want %q", c.body, got, c.want)
		}
	}
}

// Binary data may begin with numbers that look like characters of UTF-16.
func TestBinaryDataThatBeginsAsUTF16(t *testing.T) {
	for _, start := range []string{"\x00\x01\x00\x02", "\x01\x00\x02\x00", "\xff\xfe\x00\x00"} {
		body := start + "Bearer hush0123456789hush0123456789"
		if got, _ := redactDocument("", body); got != start+"Bearer R---" {
			t.Errorf("%q became %q", body, got)
		}
	}
}

// A document in UTF-16 remains in UTF-16.
func TestUTF16(t *testing.T) {
	wide := func(s string, low int) string {
		b := make([]byte, 2*len(s))
		for i := range len(s) {
			b[2*i+low] = s[i]
		}
		return string(b)
	}
	for low := range 2 {
		got, _ := redactDocument("application/json", wide(`{"password":"hush"}`, low))
		if !strings.HasPrefix(got, wide(`{"password":"REDACTED-`, low)) || !strings.HasSuffix(got, wide(`"}`, low)) {
			t.Errorf("%q", got)
		}
	}
}
