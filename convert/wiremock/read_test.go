package wiremock_test

import (
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/tapedeck/tapedeck/convert/internal/formattest"
	"github.com/tapedeck/tapedeck/convert/wiremock"
	"github.com/tapedeck/tapedeck/recording"
)

var files = fstest.MapFS{"__files/a/b.bin": {Data: []byte{0, 255}}, "secret": {Data: []byte("secret")}}

func open(name string) (io.ReadCloser, error) { return files.Open(name) }

// read returns the exchanges, and the losses and errors as texts.
func read(text string) (all []*recording.Exchange, said []string) {
	return formattest.Read(wiremock.NewReader(strings.NewReader(text), open))
}

// mapping returns an exact mapping, to whose request and response members are added.
func mapping(request, response string) string {
	return `{"request":{"method":"GET","host":{"equalTo":"shop"}` + request + `},"response":{"status":200` + response + `}}`
}

func TestMappings(t *testing.T) {
	const url = `,"url":"/a?b=1"`
	for _, c := range []struct {
		name, text string
		n          int
		want       string // parts of the JSON, with blanks between them
		said       string // a part of what is said
	}{
		{"an exact one", mapping(url, `,"body":"hi"`), 1, `"direction":"OUT" "host":"shop" "uri":"/a?b=1" "statusCode":200 "bodyBase64":"aGk=" "network_address":"shop:80"`, ""},
		{"a port and a scheme", mapping(url+`,"port":8443,"scheme":"https"`, ""), 1, `"network_address":"shop:8443" "isTls":true`, ""},
		{"an identity", strings.Replace(mapping(url, ""), "{", `{"id":"59179b2b-ce01-49cf-8381-280dcd559484",`, 1), 1, `"uuid":"WRebK84BSc+DgSgNzVWUhA=="`, ""},
		{"parameters, fields and cookies", mapping(`,"urlPath":"/a","queryParameters":{"q":{"equalTo":"x y"}},"headers":{"accept":{"equalTo":"*/*"}},"cookies":{"c":"1"},"basicAuthCredentials":{"username":"u","password":"p"}`, ""), 1,
			`"uri":"/a?q=x+y" "Accept":["*/*"] "Cookie":["c=1"] "Authorization":["Basic dTpw"]`, ""},
		{"a body that a request must have", mapping(url+`,"bodyPatterns":[{"equalToJson":{"a":1}}]`, ""), 1, `"bodyBase64":"eyJhIjoxfQ=="`, ""},
		{"a pattern that is a text", mapping(`,"urlPattern":"/a\\.b\\?c"`, ""), 1, `"uri":"/a.b?c"`, ""},
		{"a pattern", mapping(`,"urlPattern":"/a.*"`, ""), 1, `"uri":"/a.*"`, "request.urlPattern: a pattern"},
		{"a template", mapping(`,"urlPathTemplate":"/a/{id}"`, ""), 1, `"uri":"/a/{id}"`, "a template"},
		{"a template with exact parameters", mapping(`,"urlPathTemplate":"/a/{id}/{x}","pathParameters":{"id":{"equalTo":"1/2"},"x":{"equalTo":"y"}}`, ""), 1, `"uri":"/a/1%2F2/y"`, ""},
		{"a template with a pattern", mapping(`,"urlPathTemplate":"/a/{id}","pathParameters":{"id":{"matches":"[0-9]+"}}`, ""), 1, `"uri":"/a/{id}"`, "request.pathParameters.id.matches: matches many values, not kept; request.urlPathTemplate: a template"},
		{"cookies", mapping(url+`,"cookies":{"a":{"equalTo":"1"},"b":{"equalTo":"2"}}`, ""), 1, `"Cookie":["a=1; b=2"]`, ""},
		{"no host and any method", `{"request":{"method":"ANY","url":"/"},"response":{}}`, 1, `"host":"localhost" "method":"GET" "statusCode":200`, "request.host: any; localhost replaces it"},
		{"JSON with numbers as they stand", mapping(url, `,"jsonBody":{"n": 12345678901234567890.10}`), 1, `"bodyBase64":"eyJuIjoxMjM0NTY3ODkwMTIzNDU2Nzg5MC4xMH0="`, ""},
		{"base64", mapping(url, `,"base64Body":"AP8="`), 1, `"bodyBase64":"AP8="`, ""},
		{"a file", mapping(url, `,"bodyFileName":"a/b.bin"`), 1, `"bodyBase64":"AP8="`, ""},
		{"a file that isn't there", mapping(url, `,"bodyFileName":"none"`), 1, `"truncated":"true"`, "is not in __files"},
		{"a file elsewhere", mapping(url, `,"bodyFileName":"../secret"`), 1, `"truncated":"true"`, "is outside __files"},
		{"a file at the root", mapping(url, `,"bodyFileName":"/secret"`), 1, `"truncated":"true"`, "is outside __files"},
		{"several fields of a name", mapping(url, `,"headers":{"x-a":["1","2"],"Content-Type":"text/plain"}`), 1, `"X-A":["1","2"] "contentType":"text/plain"`, ""},
		{"a delay", mapping(url, `,"fixedDelayMilliseconds":500`), 1, `"duration":500 "responseStartUs":"500000"`, ""},
		{"a fault", mapping(url, `,"fault":"EMPTY_RESPONSE"`), 1, `"uri"`, "response.fault: not kept"},
		{"a scenario", strings.Replace(mapping(url, ""), "{", `{"scenarioName":"s","requiredScenarioState":"Started","newScenarioState":"t",`, 1), 1, `"wiremock":{"scenarioName":"s","requiredScenarioState":"Started","newScenarioState":"t"}`, "in the order of the file"},
		{"several in a file", `{"mappings":[` + mapping(url, "") + "," + mapping(url, "") + `],"meta":{"total":2}}`, 2, `"uri"`, ""},
		{"one that asks another server", mapping(url, `,"proxyBaseUrl":"http://x"`), 0, "", "mapping 1: the mapping forwards to another server and has no answer"},
		{"one for messages", `{"trigger":{},"actions":[]}`, 0, "", "a stub for WebSocket messages"},
		{"a wrong one among others", `{"mappings":[{"request":{}},7,` + mapping(url, "") + `]}`, 1, `"uri"`, "mapping 2: found \"7\""},
		{"an absurd number", mapping(url, `,"fixedDelayMilliseconds":1e99`), 0, "", "want a number from 0"},
		{"an absurd status", `{"request":{},"response":{"status":99999999999999999999}}`, 0, "", "want a number from 100 to 999"},
		{"a member that stands twice", mapping(url+`,"url":"/c"`, ""), 1, `"uri":"/c"`, "request.url: occurs more than once"},
		{"too deep", mapping(url+`,"x":`+strings.Repeat("[", 20000)+strings.Repeat("]", 20000), ""), 0, "", "exceeded max depth"},
		{"cut", mapping(url, "")[:50], 0, "", "torn"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, said := read(c.text)
			words := strings.Join(said, "; ")
			if len(got) != c.n || c.said == "" && len(said) > 0 || !strings.Contains(words, c.said) {
				t.Fatalf("%d exchanges, said %q, want %d and %q", len(got), words, c.n, c.said)
			}
			if c.n == 0 {
				return
			}
			text := string(got[0].AppendJSON(nil))
			for part := range strings.SplitSeq(c.want, " \"") {
				if part = strings.TrimPrefix(part, `"`); !strings.Contains(text, part) {
					t.Errorf("%s\nhas no %s", text, part)
				}
			}
		})
	}
}

// Times order mappings by their priorities, across files as well.
func TestPriorities(t *testing.T) {
	const url = `,"url":"/"`
	with := func(priority string) string {
		return strings.Replace(mapping(url, ""), "{", `{"priority":`+priority+`,`, 1)
	}
	all, said := read(`{"mappings":[` + mapping(url, "") + "," + with("9") + "," + with("1") + "," + with("null") + "," + with("5") + "," + with("-7") + "," + with("99999999999") + "," + with(`"x"`) + `]}`)
	one, _ := read(with("2"))
	all = append(all, one...)
	var order []string
	for _, e := range slices.SortedFunc(slices.Values(all), func(a, b *recording.Exchange) int { return a.TS.Compare(b.TS) }) {
		order = append(order, fmt.Sprint(slices.Index(all, e)+1))
	}
	if got := strings.Join(order, " "); got != "6 3 9 1 4 5 7 8 2" {
		t.Errorf("order %s", got)
	}
	if want := "priority: is not a number; 5 replaces it"; !strings.Contains(strings.Join(said, "; "), want) {
		t.Errorf("said %q, want %q", said, want)
	}
}

// A record that was read from any file can be written and read again.
func FuzzRead(f *testing.F) {
	f.Add(mapping(`,"url":"/a"`, `,"jsonBody":{"a":1},"bodyFileName":"a/b.bin"`))
	f.Add(`{"mappings":[` + mapping(`,"urlPattern":"/a.*","bodyPatterns":[{"contains":"x"}]`, `,"headers":{"A":["1"]}`) + `]}`)
	f.Fuzz(func(t *testing.T, text string) {
		all, _ := read(text)
		for _, e := range all {
			var d recording.Decoder
			if err := d.Decode(e.AppendJSON(nil), new(recording.Exchange)); err != nil {
				t.Fatalf("%s: %v", e.AppendJSON(nil), err)
			}
		}
	})
}

func ExampleReader() {
	r := wiremock.NewReader(strings.NewReader(mapping(`,"url":"/cart"`, `,"body":"hi"`)), func(string) (io.ReadCloser, error) { return nil, fs.ErrNotExist })
	var e recording.Exchange
	losses, err := r.Next(&e)
	fmt.Printf("%s %s %s %s %v %v\n", e.Command, e.Location, e.Status, e.HTTP.Res.Body, losses, err)
	// Output: GET /cart 200 hi [] <nil>
}
