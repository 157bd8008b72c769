package convert_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/convert"
	"github.com/tapedeck/tapedeck/recording"
)

func post(host, target, body string, headers ...recording.Header) *recording.Exchange {
	return &recording.Exchange{UUID: recording.UUID{1}, TS: time.Unix(1, 0), HTTP: &recording.HTTP{Req: recording.HTTPRequest{
		Method: "POST", Host: host, URI: target, Body: []byte(body), Headers: headers,
	}}}
}

// create writes exchanges in a format, and returns the file and the reported losses.
func create(t *testing.T, format string, all ...*recording.Exchange) (string, []string) {
	t.Helper()
	f, err := convert.Find(format)
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	var said []string
	w := f.Create(&b, "v1")
	for _, e := range all {
		losses, err := w.Write(e)
		if said = append(said, losses...); err != nil {
			said = append(said, err.Error())
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), said
}

// A real shell and a real curl send any recorded request as it was, and nothing else happens.
func TestScriptSendsWhatWasRecorded(t *testing.T) {
	for _, program := range []string{"sh", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("there is no %s here", program)
		}
	}
	var mu sync.Mutex
	type sent struct{ method, target, host, x, body string }
	var got []sent
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		got = append(got, sent{r.Method, r.RequestURI, r.Host, strings.Join(r.Header.Values("X-A"), "|"), string(body)})
	}))
	defer server.Close()
	host := server.Listener.Addr().(*net.TCPAddr).String()
	dir := t.TempDir()
	for name, text := range map[string]string{"secret": "secret", ".curlrc": "header = \"X-A: from a configuration\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	bodies := []string{"@secret", "@-", "<secret", "it's $(touch made) `touch made` \\ \"q\" ; touch made #", "a\nb\r\n\n", "'\n; touch made\n'", "--next", "%41&é", "héllo 🐵"}
	var all []*recording.Exchange
	var want []sent
	for _, body := range bodies {
		all = append(all, post(host, "/a/../b{1,2}[1-3]?q='$(touch%20made)'&x=%00", body, recording.Header{Name: "X-A", Value: body}, recording.Header{Name: "Content-Type", Value: "text/plain"}, recording.Header{Name: "Content-Length", Value: "7"}))
		x := strings.TrimSpace(body)
		if strings.ContainsAny(body, "\r\n") {
			x = ""
		}
		want = append(want, sent{"POST", "/a/../b{1,2}[1-3]?q='$(touch%20made)'&x=%00", host, x, body})
	}
	head := post(host, "/", "")
	head.HTTP.Req.Method = "HEAD"
	all, want = append(all, head), append(want, sent{"HEAD", "/", host, "", ""})
	text, _ := create(t, "curl", all...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-e")
	cmd.Dir, cmd.Stdin, cmd.Env = dir, strings.NewReader(text), []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s\n%s", err, out, text)
	}
	if len(got) != len(want) {
		t.Fatalf("%d requests, want %d:\n%s", len(got), len(want), text)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("sent %q, want %q", got[i], want[i])
		}
	}
	if files, _ := os.ReadDir(dir); len(files) != 2 {
		t.Errorf("the script made files: %v", files)
	}
}

// A script leaves out what it can't show. Nothing in it hides what it does.
func TestScriptLeavesOut(t *testing.T) {
	for name, c := range map[string]struct {
		e    *recording.Exchange
		said string
	}{
		"a binary body":                 {post("a", "/", "a\x00b"), "a binary body"},
		"a body with an escape":         {post("a", "/", "\x1b[2K"), "a binary body"},
		"a body that is not UTF-8":      {post("a", "/", "\xffabc"), "a binary body"},
		"a field that turns around":     {post("a", "/", "", recording.Header{Name: "A", Value: "\u202eabc"}), "not visible"},
		"a long body":                   {post("a", "/", strings.Repeat("a", 200<<10)), "a command holds"},
		"a field with an escape":        {post("a", "/", "", recording.Header{Name: "A", Value: "\x1b"}), "not visible"},
		"a field that smuggles another": {post("a", "/", "", recording.Header{Name: "A", Value: "b\r\nc: d"}), "can't have"},
		"a name that is a file's":       {post("a", "/", "", recording.Header{Name: "@secret", Value: ""}), "can't have"},
		"a URL with a line":             {post("a", "/\n touch x", ""), "a URL that HTTP can't have"},
		"another protocol":              {post("a", "x", ""), ""},
		"a host that is a user's":       {post("u@a", "/", ""), "not an HTTP request with a URL"},
		"no HTTP":                       {&recording.Exchange{}, "not an HTTP request with a URL"},
		"an invalid method":             {func() *recording.Exchange { e := post("a", "/", ""); e.HTTP.Req.Method = "A B"; return e }(), "a method or a URL"},
	} {
		text, said := create(t, "curl", c.e)
		if words := strings.Join(said, "; "); !strings.Contains(words, c.said) {
			t.Errorf("%s: said %q, want %q", name, words, c.said)
		}
		if strings.ContainsAny(text, "\x00\x1b\u202e") || strings.Contains(text, "c: d") || strings.Contains(text, "@secret") {
			t.Errorf("%s: %q", name, text)
		}
	}
}

// Targets leave out the headers that belong to a connection, and those that the field Connection
// names.
func TestTargetsLeaveOutTheConnection(t *testing.T) {
	var headers recording.Headers
	for _, name := range []string{"Connection", "X-Hop", "Keep-Alive", "Te", "X-A"} {
		headers = append(headers, recording.Header{Name: name, Value: "x-hop, close"})
	}
	text, said := create(t, "vegeta", post("shop", "/", "", headers...))
	if !strings.Contains(text, `"header":{"X-A":["x-hop, close"]}`) || len(said) > 0 {
		t.Errorf("%s, %v", text, said)
	}
}

// A target has the request as vegeta sends it, with the body.
func TestTargets(t *testing.T) {
	text, said := create(t, "vegeta", post("shop", "/a?b", "a\x00b", recording.Header{Name: "X-A", Value: "1"}, recording.Header{Name: "X-A", Value: "2"}, recording.Header{Name: "Transfer-Encoding", Value: "chunked"}), &recording.Exchange{})
	var got struct {
		Method, URL, Body string
		Header            map[string][]string
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || strings.Count(text, "\n") != 1 || len(said) != 1 {
		t.Fatalf("%q: %v; %v", text, err, said)
	}
	body, _ := base64.StdEncoding.DecodeString(got.Body)
	if got.Method != "POST" || got.URL != "http://shop/a?b" || string(body) != "a\x00b" || len(got.Header) != 1 || len(got.Header["X-A"]) != 2 {
		t.Errorf("%+v", got)
	}
}

// vegeta parses URLs as Go does, and counts a request whose URL it can't parse as failed.
func TestTargetsHaveURLsThatVegetaParses(t *testing.T) {
	file, said := create(t, "vegeta", post("shop", "/a?b=%zz", ""), post("shop", "/%zz", ""), post("{}", "/", ""))
	if strings.Count(file, "\n") != 1 || !strings.Contains(file, `"url":"http://shop/a?b=%zz"`) {
		t.Errorf("wrote %s", file)
	}
	if words := strings.Join(said, "; "); strings.Count(words, "a URL that vegeta can't parse") != 2 {
		t.Errorf("said %q", words)
	}
}
