package redact

import (
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
)

// TestPlainBodiesStay has bodies as services send them, with names that sound like secrets but are not.
// They remain unchanged, byte for byte, in requests and in answers.
func TestPlainBodiesStay(t *testing.T) {
	for _, line := range strings.Split(strings.TrimSpace(`
application/json {"code":404,"message":"not found","error":{"code":"not_found","status":404}}
application/json {"apiVersion":"v1","kind":"Pod","metadata":{"name":"web-7d4b9-x2x","uid":"5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10","resourceVersion":"4711"},"spec":{"automountServiceAccountToken":true,"containers":[{"name":"web","env":[{"name":"MODE","value":"production"},{"name":"DB_PASSWORD","valueFrom":{"secretKeyRef":{"name":"db","key":"pw"}}}],"volumeMounts":[{"name":"token","mountPath":"/var/run/secrets/tokens","readOnly":true}]}],"imagePullSecrets":[{"name":"regcred"}],"volumes":[{"name":"tls","secret":{"secretName":"web-tls","defaultMode":420}},{"name":"token","projected":{"sources":[{"serviceAccountToken":{"path":"token","expirationSeconds":3607,"audience":"api"}}]}}]}}
application/json {"id":1296269,"node_id":"MDEwOlJlcG9zaXRvcnkxMjk2MjY5","full_name":"octo/hello","private":false,"owner":{"login":"octo","type":"User"},"keys_url":"https://api.github.com/repos/octo/hello/keys{/key_id}","sha":"7fd1a60b01f91b314f59955a4e4d4e80d8edf11d","license":{"key":"mit","name":"MIT License","spdx_id":"MIT"},"default_branch":"main"}
application/json {"id":"cus_NffrFeUfNV2Hib","object":"customer","created":1680893993,"currency":null,"invoice_prefix":"0759376C","livemode":false,"next_invoice_sequence":1,"payment_method":{"card":{"brand":"visa","last4":"4242","exp_month":8,"exp_year":2027,"fingerprint":"Xt5EWLLDS7FJjR1c","checks":{"cvc_check":"pass"}}}}
application/json {"token_type":"Bearer","expires_in":3600,"scope":"read write","grant_types_supported":["password","client_credentials"],"token_endpoint":"https://login.example/oauth/token","code_challenge_methods_supported":["S256"],"token_endpoint_auth_methods_supported":["client_secret_basic"]}
application/json {"took":5,"timed_out":false,"hits":{"total":{"value":1000,"relation":"gte"},"hits":[{"_index":"logs","_id":"x1","_score":1.0,"_source":{"level":"info","message":"user logged in"}}]},"aggregations":{"by_host":{"buckets":[{"key":"nginx-1.example","doc_count":17},{"key":1732305300000,"key_as_string":"2026-11-22T20:15:00.000Z","doc_count":3}]}}}
application/json {"data":{"__schema":{"types":[{"kind":"INPUT_OBJECT","name":"LoginInput","inputFields":[{"name":"password","type":{"kind":"NON_NULL","name":null,"ofType":{"kind":"SCALAR","name":"String"}}},{"name":"token","defaultValue":null}]}]}}}
application/json {"openapi":"3.1.0","paths":{"/oauth/token":{"post":{"tags":["auth"],"summary":"Issue an access token","operationId":"issueToken"}}},"components":{"schemas":{"Login":{"required":["user","password"],"properties":{"user":{"type":"string"},"password":{"type":"string","format":"password","minLength":8,"description":"At least eight characters"}}}},"securitySchemes":{"bearerAuth":{"type":"http","scheme":"bearer","bearerFormat":"JWT"},"apiKey":{"type":"apiKey","name":"X-Api-Key","in":"header"}}}}
application/json {"items":[1,2,3],"nextPageToken":"CAUQAA","next_token":"eyJ2IjoyLCJjIjoiYWJjIn0=","continuationToken":"abc","page":{"size":20,"totalElements":100}}
application/json {"usage":{"prompt_tokens":17,"completion_tokens":42,"total_tokens":59},"max_tokens":100,"temperature":0.7}
application/json {"session":{"id":17,"title":"Morning session","speaker":"Jane Doe"},"sessionCount":3}
application/json {"author":"Jane","authority":"north","authored":true,"design":"flat","signal":4,"passenger":"Joe","compass":"NE","keyboard":"de","monkey":1,"tokenizer":"bpe","secretary":"Ann","pinned":true,"hotkey":"ctrl+k"}
application/json {"sort_key":"price","primaryKey":"id","publicKey":"MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE","key":"PROJ-1234","i18nKey":"cart.empty","objectKey":"images/2026/11/22/photo_17.png","cacheKey":"item-1"}
application/json {"auth":"basic","oauth":true,"authentication":"required","mfa":false,"state":"open","pass":true,"pin":7,"sid":17,"sign":"+","ticket":"SUP-17","status":"ok"}
application/json {"created":1732305300,"createdMs":1732305300123,"micros":1732305300123456,"nanos":1732305300123456789,"lat":52.520008,"lon":13.404954,"ean":"4006381333931","id":4111111111111111}
application/json {"email":"joe@shop.example","url":"https://shop.example:8080/items/17?page=2&sort=price#top","time":"12:30","ratio":"16:9","urn":"urn:isbn:0451450523","host":"api.nasa.gov","uuid":"5b1c0a6e-9d7e-4e0b-8a53-4f6c2c7d9b10"}
application/json {"a":1.5e10,"b":-0.0,"c":[[],{},null,true],"d":"\u00e9\n\t\/","e":""}
application/json {"choices":[{"text":" cat sat","logprobs":{"tokens":[" cat"," sat","</s>","<|endoftext|>"],"token_logprobs":[-0.1,-0.2,-0.3]}}]}
application/json {"map_pin":"red","mapPin":1234,"location_pin":{"lat":52.520008,"lon":13.404954}}
application/json {"jsonrpc":"2.0","method":"tokens/list","params":{"limit":10},"id":1}
application/json {"errors":{"password":["is too short","can't be blank"],"pin":["must have four digits"]}}
application/x-www-form-urlencoded q=a+b&page=2&sort=price&grant_type=password&response_type=code&scope=read+write
application/xml <?xml version="1.0"?><items><item id="1" type="mug"><name>Mug</name><price currency="EUR">8.99</price></item><code>404</code></items>
text/xml <project><groupId>org.example</groupId><version>1.0</version><properties><java.version>21</java.version></properties></project>
text/html <!doctype html><html><head><meta name="viewport" content="width=device-width"><title>Login</title></head><body><label for="password">Password</label><input type="password" name="password" placeholder="Password"><a href="/password/reset">Forgot your password?</a></body></html>
text/javascript function login(token){var key=token.key,auth=a?token:b;return fetch("/oauth/token?x=1",{headers:{Authorization:"Bearer "+token}})}
text/css .token{color:red}.password:after{content:"*"}a[href="?key=1"]{margin:0}
text/plain The password: it must have 8 characters, at 12:30. See https://shop.example/a?b=c
text/plain # HELP http_requests_total Requests.
application/yaml password_policy: strong
application/graphql query Items($first: Int = 10) { items(first: $first, sort: "price") { id name token } }
text/event-stream data: {"delta":"Hello","code":200}
`), "\n") {
		mediaType, body, _ := strings.Cut(line, " ")
		for _, answer := range []bool{false, true} {
			e := &recording.Exchange{HTTP: &recording.HTTP{}}
			b := &e.HTTP.Req.Body
			if answer {
				b = &e.HTTP.Res.Body
				e.HTTP.Res.ContentType = mediaType
			}
			e.HTTP.Req.Headers = recording.Headers{{Name: "Content-Type", Value: mediaType}}
			*b = []byte(body)
			New(recording.Discard{}, Options{}).Write(e)
			if string(*b) != body {
				t.Errorf("answer %v, %s: %s\nbecame %s", answer, mediaType, body, *b)
			}
		}
	}
	for _, body := range []string{
		`{"login":{"password":"Password","password_placeholder":"Your password","forgotPassword":"Forgot your password?","token":"Token","pin":"PIN","secret_label":"Secret"}}`,
		`{"password":"Passwort","passwordRepeat":"Passwort wiederholen","invalidToken":"Invalid token","sessionExpired":"Your session has expired"}`,
	} {
		if got, _ := redactBody(body, true); got != body {
			t.Errorf("%s\nbecame %s", body, got)
		}
	}
}

var bodies = regexp.MustCompile(`"bodyBase64":"([A-Za-z0-9+/=]+)"`)

// TestTrafficKeepsPlainBodies redacts bodies in traffic that other tools recorded. Only members
// whose names are listed are redacted there.
func TestTrafficKeepsPlainBodies(t *testing.T) {
	redacted, all := redactedMembers(t, "testdata/traffic")
	if want := "access_token password"; strings.Join(redacted, " ") != want || all != 4 {
		t.Errorf("%v are redacted in %d bodies, want %s in 4", redacted, all, want)
	}
}

func TestCorpusKeepsPlainBodies(t *testing.T) {
	if _, err := os.Stat(corpus); err != nil {
		t.Skipf("no corpus of traffic: %v", err)
	}
	secret := strings.Fields("password token access_token refresh_token ssn session_jwt card source_uri") // the last one has a login
	redacted, all := redactedMembers(t, corpus+"/rrpair")
	for _, name := range redacted {
		if !slices.Contains(secret, name) {
			t.Errorf("%s is redacted, but is not a secret", name)
		}
	}
	if all < 20 {
		t.Errorf("read %d bodies, want at least 20", all)
	}
}

// redactedMembers returns the names of the members that are redacted in the bodies of a folder of
// RRPairs, in order, and how many bodies there are.
func redactedMembers(t *testing.T, dir string) (names []string, all int) {
	t.Helper()
	r := New(recording.Discard{}, Options{})
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		for _, m := range bodies.FindAllSubmatch(text, -1) {
			body, err := base64.StdEncoding.DecodeString(string(m[1]))
			if err != nil {
				continue
			}
			all++
			var found places
			q := search{r: r, places: &found, at: "res.body", max: DefaultMaxBody}
			q.document(string(body), "")
			for _, place := range found.paths {
				names = append(names, place[strings.LastIndexByte(place, '.')+1:])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return slices.Compact(names), all
}
