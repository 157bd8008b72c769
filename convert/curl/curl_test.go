package curl

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
)

// request returns an exchange with a request of an HTTP/1.1 client. headers is a text with one
// field in each line.
func request(line, host, headers, body string) *recording.Exchange {
	e := &recording.Exchange{UUID: recording.UUID{1}, HTTP: new(recording.HTTP)}
	q := &e.HTTP.Req
	q.Method, q.URI, _ = strings.Cut(line, " ")
	q.Host, q.Version, q.Body = host, "1.1", []byte(body)
	for field := range strings.SplitSeq(headers, "\n") {
		if name, value, ok := strings.Cut(field, ": "); ok {
			q.Headers = append(q.Headers, recording.Header{Name: name, Value: value})
		}
	}
	return e
}

// heard is a request as it was sent over the network.
type heard struct {
	Line, Host, Body string
	Headers          []string
}

// listen returns the address of a server that reads one request on each connection, byte for byte,
// and a channel of these requests.
func listen(t *testing.T) (string, <-chan heard) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	all := make(chan heard, 100)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all <- hear(c)
		}
	}()
	return l.Addr().String(), all
}

func hear(c net.Conn) (h heard) {
	defer c.Close()
	r := bufio.NewReader(c)
	line := func() string {
		text, _ := r.ReadString('\n')
		return strings.TrimSuffix(text, "\r\n")
	}
	h.Line = line()
	size := 0
	for text := line(); text != ""; text = line() {
		name, value, _ := strings.Cut(text, ":")
		switch strings.ToLower(name) {
		case "host":
			h.Host = strings.TrimPrefix(value, " ")
		case "content-length":
			for _, digit := range strings.TrimSpace(value) {
				size = 10*size + int(digit-'0')
			}
		default:
			h.Headers = append(h.Headers, text)
		}
	}
	body := make([]byte, size)
	_, _ = io.ReadFull(r, body)
	h.Body = string(body)
	_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	return h
}

// home returns a directory with files that curl must not read.
func home(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"secret": "secret", ".curlrc": "header = \"X-Config: read\"\nproxy = \"http://127.0.0.1:1\"\n", ".netrc": "default login a password b\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run runs a command in a shell.
func run(t *testing.T, shell, dir, command string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell)
	cmd.Dir, cmd.Stdin, cmd.Env = dir, strings.NewReader(command+"\n"), []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LC_ALL=C.UTF-8"}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// shells are those of this machine, each once.
func shells(t *testing.T) (all []string) {
	t.Helper()
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("there is no curl here")
	}
	var found []string
	for _, name := range []string{"sh", "bash", "dash", "zsh"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		if path, err = filepath.EvalSymlinks(path); err == nil && !slices.Contains(found, path) {
			all, found = append(all, name), append(found, path)
		}
	}
	if len(all) == 0 {
		t.Skip("there is no shell here")
	}
	return all
}

// hostile are texts that a shell or curl might interpret.
var hostile = []string{
	"@secret", "@-", "<secret", "-", "--next", "-K secret", "--config=secret", "-o made", "a{1,2}[1-3]", "[", "]", "{}", "it's", `"q"`, "$(touch made)", "`touch made`", "${HOME}", "$HOME", "~", "!!", "!1",
	"%s%n%b", "%HOME%", "%41", `\`, `\\n`, `\c`, `a\`, "a;touch made", "a|touch made", "a&touch made", "a>made", "# no comment", "*", "?", "=a", "héllo 🐵", "❤\ufe0f 👩\u200d🚀", "\u202eturned", " spaces ", "'", "''", "'; touch made; '",
}

// Each hostile text arrives as it was recorded, in any part of a request, and nothing else
// happens.
func TestRealCurlSendsWhatWasRecorded(t *testing.T) {
	address, all := listen(t)
	type testCase struct {
		name string
		e    *recording.Exchange
		want heard
	}
	var cases []testCase
	add := func(name string, e *recording.Exchange, want heard) { cases = append(cases, testCase{name, e, want}) }
	for _, text := range hostile {
		add("a body "+text, request("POST /", address, "Content-Type: text/plain", text), heard{"POST / HTTP/1.1", address, text, []string{"Content-Type: text/plain"}})
		if isVisible(text) {
			add("a value "+text, request("GET /", address, "X-A: "+text, ""), heard{"GET / HTTP/1.1", address, "", []string{"X-A: " + strings.TrimSpace(text)}})
			if !strings.ContainsAny(text, " ") {
				add("a target "+text, request("GET /"+text+"?"+text, address, "", ""), heard{"GET /" + text + "?" + text + " HTTP/1.1", address, "", nil})
			}
		}
	}
	headers := func(all ...string) []string { return all }
	for _, c := range []testCase{
		{"lines", request("POST /", address, "Content-Type: a/b", "a\nb\n\n"), heard{"POST / HTTP/1.1", address, "a\nb\n\n", headers("Content-Type: a/b")}},
		{"carriage returns and tabs", request("POST /", address, "Content-Type: a/b", "--x\r\n\r\na\\r\tb%d\r\n--x--\r\n"), heard{"POST / HTTP/1.1", address, "--x\r\n\r\na\\r\tb%d\r\n--x--\r\n", headers("Content-Type: a/b")}},
		{"no type", request("PUT /", address, "", "a=b"), heard{"PUT / HTTP/1.1", address, "a=b", nil}},
		{"an empty body", request("POST /", address, "Content-Length: 0", ""), heard{"POST / HTTP/1.1", address, "", nil}},
		{"a long body", request("POST /", address, "", strings.Repeat("a", maxArgument)), heard{"POST / HTTP/1.1", address, strings.Repeat("a", maxArgument), nil}},
		{"a body of GET", request("GET /", address, "", "{}"), heard{"GET / HTTP/1.1", address, "{}", nil}},
		{"no body of HEAD", request("HEAD /", address, "", ""), heard{"HEAD / HTTP/1.1", address, "", nil}},
		{"a method that is an option", request("--next /", address, "", ""), heard{"--next / HTTP/1.1", address, "", nil}},
		{"names that are options", request("GET /", address, "-K: secret\n--next: \nX-Empty: ", ""), heard{"GET / HTTP/1.1", address, "", headers("-K: secret", "--next:", "X-Empty:")}},
		{"order, and names that stand twice", request("GET /", address, "B: 1\nUser-Agent: x\nAccept: y\nB: 2\nCookie: a=b\nCookie: c", ""), heard{"GET / HTTP/1.1", address, "", headers("B: 1", "User-Agent: x", "Accept: y", "B: 2", "Cookie: a=b", "Cookie: c")}},
		{"dots and a fragment", request("GET /a/../b/./c#d?e", address, "", ""), heard{"GET /a/../b/./c#d?e HTTP/1.1", address, "", nil}},
		{"the whole server", request("OPTIONS *", address, "", ""), heard{"OPTIONS * HTTP/1.1", address, "", nil}},
		{"another host in the field", request("GET /", address, "Host: shop", ""), heard{"GET / HTTP/1.1", "shop", "", nil}},
		{"an address in another form", request("GET /", strings.Replace(address, "127.0.0.1", "127.1", 1), "", ""), heard{"GET / HTTP/1.1", strings.Replace(address, "127.0.0.1", "127.1", 1), "", nil}},
		{"a request that asks for compression", request("GET /", address, "Accept-Encoding: gzip", ""), heard{"GET / HTTP/1.1", address, "", headers("Accept-Encoding: gzip")}},
		{"HTTP/1.0", func() *recording.Exchange {
			e := request("GET /", address, "", "")
			e.HTTP.Req.Version = "1.0"
			return e
		}(), heard{"GET / HTTP/1.0", address, "", nil}},
	} {
		cases = append(cases, c)
	}
	for _, shell := range shells(t) {
		dir := home(t)
		for _, c := range cases {
			command, losses, err := New(c.e)
			if err != nil || len(losses) > 0 {
				t.Fatalf("%s: %v, losses %q", c.name, err, losses)
			}
			for _, text := range []string{command.Line(), command.Lines()} {
				if out, err := run(t, shell, dir, text); err != nil {
					t.Errorf("%s: %s: %v: %s\n%.300s", shell, c.name, err, out, text)
					continue
				}
				got := <-all
				if diff := cmp.Diff(c.want, got); diff != "" {
					t.Errorf("%s: %s: want (-) got (+):\n%s\n%.300s", shell, c.name, diff, text)
				}
			}
		}
		files, _ := os.ReadDir(dir)
		if len(files) != 3 {
			t.Errorf("%s: a command made files: %v", shell, files)
		}
	}
}

// curl uses HTTP/2 where the recorded client did, even without TLS.
func TestHTTP2(t *testing.T) {
	var got []string
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.Proto, r.Method, r.RequestURI, r.Host, r.Header.Get("X-A"), string(body))
	}))
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetUnencryptedHTTP2(true)
	server.Start()
	defer server.Close()
	host := server.Listener.Addr().String()
	e := request("POST /a?b#c", host, "X-A: 1", "{}")
	e.HTTP.Req.Version = "2.0"
	command, _, err := New(e)
	if err != nil {
		t.Fatal(err)
	}
	if out, err := run(t, shells(t)[0], home(t), command.Lines()); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if want := []string{"HTTP/2.0", "POST", "/a?b#c", host, "1", "{}"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// A part of a request that can't be sent is a loss. If nothing can be sent, there is no command,
// and the error says why.
func TestLeftOut(t *testing.T) {
	conversation := func(set func(*recording.Exchange)) *recording.Exchange {
		e := request("POST /shop.Cart/Get", "cart", "", "")
		set(e)
		return e
	}
	for name, c := range map[string]struct {
		e           *recording.Exchange
		loss, error string
	}{
		"gRPC":                     {conversation(func(e *recording.Exchange) { e.GRPC = new(recording.Conversation) }), "", "a conversation"},
		"a WebSocket":              {conversation(func(e *recording.Exchange) { e.WebSocket = new(recording.Conversation) }), "", "a conversation"},
		"TCP":                      {&recording.Exchange{TCP: new(recording.Conversation)}, "", "not an HTTP request"},
		"a body with NUL":          {request("POST /", "a", "", "a\x00b"), "", "a binary body"},
		"a body that is no UTF-8":  {request("POST /", "a", "", "\xff"), "", "a binary body"},
		"a body that steers":       {request("POST /", "a", "", "\x1b[2K"), "", "a binary body"},
		"a long body":              {request("POST /", "a", "", strings.Repeat("a", maxArgument+1)), "", "a command holds at most 102400"},
		"a URL that turns around":  {request("GET /\u202e", "a", "", ""), "", "characters that are not visible"},
		"a URL with a user":        {request("GET http://u:p@a/", "a", "", ""), "", "a user name"},
		"a host that is a user's":  {request("GET /", "u@a", "", ""), "", "not an HTTP request with a URL"},
		"a URL with a line":        {request("GET /\n", "a", "", ""), "", "a URL that HTTP can't have"},
		"a method with an option":  {func() *recording.Exchange { e := request("GET /", "a", "", ""); e.HTTP.Req.Method = "GET -o"; return e }(), "", "a method"},
		"a body of HEAD":           {request("HEAD /", "a", "", "b"), "curl sends no body with HEAD", ""},
		"a field that is a file":   {request("GET /", "a", "@secret: ", ""), "a field that HTTP can't have", ""},
		"a field that smuggles":    {request("GET /", "a", "A: b\rC: d", ""), "a field that HTTP can't have", ""},
		"a field that is not seen": {request("GET /", "a", "A: b\u200b", ""), "not visible", ""},
		"a field with a tab":       {request("GET /", "a", "A: b\tc", ""), "a tab is sent as a space", ""},
		"a body that was decoded": {conversation(func(e *recording.Exchange) {
			e.HTTP.Req.Body = []byte("a")
			e.HTTP.Req.Headers = recording.Headers{{Name: "Content-Encoding", Value: "gzip"}}
		}), "Content-Encoding is left out", ""},
		"a body that the recorder cut": {conversation(func(e *recording.Exchange) {
			e.HTTP.Req.Body = []byte("a")
			e.Tags.Set(recording.TagRequestBodySize, "9")
		}), "is cut in the recording", ""},
	} {
		command, losses, err := New(c.e)
		switch {
		case c.error != "" && (err == nil || !strings.Contains(err.Error(), c.error)):
			t.Errorf("%s: the error %v, want %q", name, err, c.error)
		case c.error == "" && (err != nil || len(losses) != 1 || !strings.Contains(losses[0], c.loss)):
			t.Errorf("%s: %v, losses %q, want %q", name, err, losses, c.loss)
		case c.error == "" && strings.ContainsAny(command.Lines(), "\t\r\x1b\u200b\u202e"):
			t.Errorf("%s: %q", name, command.Lines())
		}
	}
}

// A real shell reads the words of any command unchanged.
func FuzzWords(f *testing.F) {
	for _, text := range hostile {
		f.Add(text, text, text, text, []byte(text))
	}
	shell, err := exec.LookPath("sh")
	if err != nil {
		f.Skip("there is no shell here")
	}
	f.Fuzz(func(t *testing.T, method, target, name, value string, body []byte) {
		e := request("", "host", "", string(body))
		e.HTTP.Req.Method, e.HTTP.Req.URI, e.HTTP.Req.Headers = method, target, recording.Headers{{Name: name, Value: value}}
		command, _, err := New(e)
		if err != nil {
			return
		}
		var want bytes.Buffer
		want.WriteString("--disable\x00")
		for _, option := range command.options {
			for _, word := range option {
				want.WriteString(word + "\x00")
			}
		}
		if command.input != "" {
			want.Write(body)
		}
		for _, text := range []string{command.Line(), command.Lines()} {
			cmd := exec.CommandContext(t.Context(), shell)
			cmd.Dir = t.TempDir()
			cmd.Stdin = strings.NewReader("curl() { printf '%s\\0' \"$@\"; case \"$*\" in *'--data-binary @-'*) cat;; esac; }\n" + text + "\n")
			out, err := cmd.CombinedOutput()
			if command.input == "" && strings.Contains(text, "--data-binary @-") { // text that looks like the option
				continue
			}
			if err != nil || !bytes.Equal(out, want.Bytes()) {
				t.Errorf("the shell read %q, want %q (%v)", out, want.Bytes(), err)
			}
		}
	})
}
