package redact

import (
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// redactBody returns a body after redaction, with R for each token and 8000 for each number.
func redactBody(body string, answer bool) (got, places string) {
	e := &recording.Exchange{HTTP: &recording.HTTP{}}
	b := &e.HTTP.Req.Body
	if answer {
		b = &e.HTTP.Res.Body
	}
	*b = []byte(body)
	New(recording.Discard{}, Options{}).Write(e)
	return numberTokens.ReplaceAllString(tokens.ReplaceAllString(string(*b), "R"), "8000"), e.Tags.Get(recording.TagRedacted)
}

func TestJSON(t *testing.T) {
	for _, c := range []struct{ body, want, places string }{
		{`{"password":"hush"}`, `{"password":"R"}`, "req.body.password"},
		{`{"p\u0061ssword" : "hush"}`, `{"p\u0061ssword" : "R"}`, "req.body.password"},
		{`{"user":{"name":"joe","password":"hush"},"x":1}`, `{"user":{"name":"joe","password":"R"},"x":1}`, "req.body.user.password"},
		{`{"password" /* of joe */ : // old
"hush", "a": /*x*/ 1}`, `{"password" /* of joe */ : // old
"R", "a": /*x*/ 1}`, "req.body.password"},
		{`[{"cvv":123},{"cvv":456}]`, `[{"cvv":8000},{"cvv":8000}]`, "req.body[].cvv"},
		{`{"pin":12,"code":404,"token":1234}`, `{"pin":12,"code":404,"token":1234}`, ""},
		{`{"password":null,"a":{"b":true}}`, `{"password":null,"a":{"b":true}}`, ""},
		{`{"credentials":{"user":"joe","what":["hush",1,{"x":"hush","type":"basic"}]},"x":"y"}`, `{"credentials":{"user":"R","what":["R",1,{"x":"R","type":"basic"}]},"x":"y"}`, "req.body.credentials.user,req.body.credentials.what[],req.body.credentials.what[].x"},
		{`{"password":{"type":"string","format":"password"}}`, `{"password":{"type":"string","format":"password"}}`, ""},
		{`{"env":[{"name":"DB_PASSWORD","value":"hush"},{"name":"DB_HOST","value":"db"}]}`, `{"env":[{"name":"DB_PASSWORD","value":"R"},{"name":"DB_HOST","value":"db"}]}`, "req.body.env[].value"},
		{`[{"value":"hush","name":"password"},{"value":"x","id":1,"name":"color"}]`, `[{"value":"R","name":"password"},{"value":"x","id":1,"name":"color"}]`, "req.body[].value"},
		{`[{"op":"replace","path":"/user/password","value":"hush"}]`, `[{"op":"replace","path":"/user/password","value":"R"}]`, "req.body[].value"},
		{`{"a":"{\"password\":\"hush\"}"}`, `{"a":"{\"password\":\"R\"}"}`, "req.body.a"},
		{`{"a":"{\"b\":\"{\\\"password\\\":\\\"hush\\\"}\"}"}`, `{"a":"{\"b\":\"{\\\"password\\\":\\\"R\\\"}\"}"}`, "req.body.a"},
		{`{"url":"https://u:hush@h/?a=b&token=hush#x"}`, `{"url":"https://R@h/?a=b&token=R#x"}`, "req.body.url"},
		{`{"headers":{"Authorization":"Bearer hush","Cookie":"a=hush; b=hush"}}`, `{"headers":{"Authorization":"Bearer R","Cookie":"a=R; b=R"}}`, "req.body.headers.Authorization,req.body.headers.Cookie"},
		{`{"a":4111111111111111,"b":"4111 1111 1111 1111","id":4111111111111111}`, `{"a":8000,"b":"R","id":4111111111111111}`, "req.body.a,req.body.b"},
		{`{"a":"x\ny -----BEGIN PRIVATE KEY-----\nMIIhush\n-----END PRIVATE KEY-----\nz"}`, `{"a":"x\ny R\nz"}`, "req.body.a"},
		{`{"password":"hush`, `{"password":"R`, "req.body.password"},
		{`[{"value":"x","name":"color"},{"value":"hush`, `[{"value":"x","name":"color"},{"value":"R`, "req.body[].value"}, // cut before the name
		{`[{"value":"hush}`, `[{"value":"R`, "req.body[].value"},
		{`[{"value" : "hush" , "id":1`, `[{"value" : "R" , "id":1`, "req.body[].value"},
		{`[{"value":"hush","name":"passw`, `[{"value":"R","name":"passw`, "req.body[].value"},
		{`[{"value":"hush","name"`, `[{"value":"R","name"`, "req.body[].value"},
		{`[{"value":1234`, `[{"value":8000`, "req.body[].value"},
		{`[{"name":"color","value":"red`, `[{"name":"color","value":"red`, ""},
		{`[{"content":"several words`, `[{"content":"several words`, ""},
		{`[{"value":"red"},{"a":"b`, `[{"value":"red"},{"a":"b`, ""},
		{`{"kind":"Secret","metadata":{"name":"db"},"data":{"a":"aHVzaA==","url":"aHVzaA=="},"type":"Opaque"}`, `{"kind":"Secret","metadata":{"name":"db"},"data":{"a":"R","url":"R"},"type":"Opaque"}`, "req.body.data.a,req.body.data.url"},
		{`{"data":{"a":"aHVzaA=="},"kind":"Secret","stringData":{"b":"hush"}}`, `{"data":{"a":"R"},"kind":"Secret","stringData":{"b":"R"}}`, "req.body.data.a,req.body.stringData.b"},
		{`{"kind":"SecretList","items":[{"data":{"a":"aHVzaA=="}}]}`, `{"kind":"SecretList","items":[{"data":{"a":"R"}}]}`, "req.body.items[].data.a"},
		{`{"kind":"ConfigMap","data":{"a":"b","url":"c"}}`, `{"kind":"ConfigMap","data":{"a":"b","url":"c"}}`, ""},
		{`{"kind":"ExternalSecret","data":[{"remoteRef":{"kind":"Secret","property":"a"}}]}`, `{"kind":"ExternalSecret","data":[{"remoteRef":{"kind":"Secret","property":"a"}}]}`, ""},
		{`{"ｐａｓｓｗｏｒｄ":"hush","Ａ":"b"}`, `{"ｐａｓｓｗｏｒｄ":"R","Ａ":"b"}`, "req.body.ｐａｓｓｗｏｒｄ"},
		{`{"tokens":{"access":"0A1b2C3d4E5f6G7h"},"list":{"tokens":["0A1b2C3d4E5f6G7h"]}}`, `{"tokens":{"access":"R"},"list":{"tokens":["R"]}}`, "req.body.list.tokens[],req.body.tokens.access"},
		{`{"recovery_tokens":["abcd-efgh"],"deviceTokens":["a:b"],"password_reset_tokens":"hush"}`, `{"recovery_tokens":["R"],"deviceTokens":["R"],"password_reset_tokens":"R"}`, "req.body.deviceTokens[],req.body.password_reset_tokens,req.body.recovery_tokens[]"},
		{`{"tokens":["hello","2nd"],"stop_tokens":["end"],"ratelimit_reset_tokens":"6m0s"}`, `{"tokens":["hello","2nd"],"stop_tokens":["end"],"ratelimit_reset_tokens":"6m0s"}`, ""},
		{`{"cvv":123`, `{"cvv":8000`, "req.body.cvv"},
		{`{"sessions":{"ghp_0123456789abcdefABCDEF":{"token":"hush"}}}`, `{"sessions":{"R":{"token":"R"}}}`, "req.body.sessions.*,req.body.sessions.*.token"},
		{"{\"token\":\"hush\"}\n{\"token\":\"hush\"}\n", "{\"token\":\"R\"}\n{\"token\":\"R\"}\n", "req.body.token"},
		{`{password: 'hush', "a": 1}`, `{password: 'R', "a": 1}`, "req.body"},
		{`{password: "hush", a: 1}`, `{password: "R", a: 1}`, "req.body.password"},
		{`cb({"token":"hush"});`, `cb({"token":"R"});`, "req.body.token"},
		{`{"password":hush}`, `{"password":"R"}`, "req.body.password"},
		{`{"key":"color","value":"red"}`, `{"key":"color","value":"red"}`, ""},
		{`{"api_key":"hush","key":"5f1c0a6e9d7e4e0b8a534f6c2c7d9b10","sort_key":"5f1c0a6e9d7e4e0b8a534f6c2c7d9b10"}`, `{"api_key":"R","key":"R","sort_key":"5f1c0a6e9d7e4e0b8a534f6c2c7d9b10"}`, "req.body.api_key,req.body.key"},
		{`{"code":"123456"}`, `{"code":"R"}`, "req.body.code"},
		{`{"auths":{"reg.example":{"auth":"dXNlcjpwYXNz"}},"auth":"basic"}`, `{"auths":{"reg.example":{"auth":"R"}},"auth":"basic"}`, `req.body.auths."reg.example".auth`},
		{strings.Repeat(`{"a":[`, 2000) + `{"password":"hush"}`, strings.Repeat(`{"a":[`, 2000) + `{"password":"R"}`, "req.body" + strings.Repeat(".a[]", 16) + ".**"},
	} {
		got, places := redactBody(c.body, false)
		if got != c.want || places != c.places {
			t.Errorf("%.200s\n became %.300s\n want   %.300s\n places %s, want %s", c.body, got, c.want, places, c.places)
		}
	}
}
