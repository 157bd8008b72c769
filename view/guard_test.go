package view_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/mock"
	"github.com/tapedeck/tapedeck/view"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve serves items on loopback until the test ends, and returns the address.
func serve(t *testing.T, items ...view.Item) (address string) {
	t.Helper()
	s, err := view.New(view.Options{Items: items, Version: "v1"})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// ask sends the lines of a request, and returns the answer with its body.
func ask(t *testing.T, address string, lines ...string) (*http.Response, string) {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, strings.Join(lines, "\r\n")+"\r\nConnection: close\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	method, _, _ := strings.Cut(lines[0], " ")
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: method})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// TestGuard requests the first page as people do, and in ways in which pages of other sites can
// make a browser do it.
func TestGuard(t *testing.T) {
	address := serve(t, view.Item{Name: "a", Receipt: &mock.Receipt{}}, view.Item{Name: "b", Receipt: &mock.Receipt{}})
	_, port, _ := net.SplitHostPort(address)
	get := func(lines ...string) []string {
		return append([]string{"GET / HTTP/1.1", "Host: " + address}, lines...)
	}
	host := func(h string) []string { return []string{"GET / HTTP/1.1", "Host: " + h} }
	path := func(p string) []string { return []string{"GET " + p + " HTTP/1.1", "Host: " + address} }
	for name, c := range map[string]struct {
		lines []string
		want  int
	}{
		"by address":                             {get(), 200},
		"by name":                                {host("localhost:" + port), 200},
		"by name in capitals":                    {host("LOCALHOST:" + port), 200},
		"by IPv6 address":                        {host("[::1]:" + port), 200},
		"by another loopback address":            {host("127.1.2.3:" + port), 200},
		"HEAD":                                   {[]string{"HEAD / HTTP/1.1", "Host: " + address}, 200},
		"from itself":                            {get("Sec-Fetch-Site: same-origin", "Origin: http://"+address), 200},
		"typed into the address bar":             {get("Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"), 200},
		"by a link elsewhere":                    {get("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"), 200},
		"by a link elsewhere, to a search":       {[]string{"GET /?q=a HTTP/1.1", "Host: " + address, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 403},
		"by a link of another port, to a search": {[]string{"GET /?q=a HTTP/1.1", "Host: " + address, "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 403},
		"a search from the address bar":          {[]string{"GET /?q=a HTTP/1.1", "Host: " + address, "Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, 200},
		"name of another site":                   {host("evil.com:" + port), 421},
		"name below localhost":                   {host("evil.localhost:" + port), 421},
		"name that begins so":                    {host("localhost.evil.com:" + port), 421},
		"address that begins so":                 {host("127.0.0.1.evil.com:" + port), 421},
		"address as a name":                      {host("127-0-0-1.evil.com:" + port), 421},
		"trailing dot":                           {host("localhost.:" + port), 421},
		"address of all interfaces":              {host("0.0.0.0:" + port), 421},
		"private address":                        {host("192.168.0.1:" + port), 421},
		"IPv6 address of another host":           {host("[2001:db8::1]:" + port), 421},
		"IPv6 address with a zone":               {host("[::1%25lo]:" + port), 421},
		"address as one number":                  {host("2130706433:" + port), 421},
		"address in octal":                       {host("0177.0.0.1:" + port), 421},
		"short address":                          {host("127.1:" + port), 421},
		"no port":                                {host("127.0.0.1"), 421},
		"another port":                           {host("127.0.0.1:1"), 421},
		"port that begins so":                    {host(address + "0"), 421},
		"empty port":                             {host("127.0.0.1:"), 421},
		"user":                                   {host("user@" + address), 400}, // by net/http
		"empty Host":                             {host(""), 421},
		"no Host":                                {[]string{"GET / HTTP/1.1"}, 400}, // by net/http
		"no Host, as HTTP/1.0 allows":            {[]string{"GET / HTTP/1.0"}, 421},
		"two Hosts":                              {get("Host: evil.com"), 400}, // by net/http
		"as to a proxy":                          {path("http://" + address + "/"), 400},
		"as to a proxy, another name":            {path("http://evil.com/"), 400},
		"as to a proxy, with a user":             {path("http://a:b@" + address + "/"), 400},
		"other origin":                           {get("Origin: http://evil.com"), 403},
		"no origin":                              {get("Origin: null"), 403},
		"origin of another port":                 {get("Origin: http://127.0.0.1:1"), 403},
		"origin with TLS":                        {get("Origin: https://" + address), 403},
		"two origins":                            {get("Origin: http://"+address, "Origin: http://evil.com"), 403},
		"script of another site":                 {get("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"), 403},
		"image of another site":                  {get("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image"), 403},
		"frame of another site":                  {get("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: iframe"), 403},
		"script of another port":                 {get("Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty"), 403},
		"unknown kind of site":                   {get("Sec-Fetch-Site: x"), 403},
		"POST":                                   {[]string{"POST / HTTP/1.1", "Host: " + address, "Content-Length: 0"}, 405},
		"OPTIONS":                                {[]string{"OPTIONS / HTTP/1.1", "Host: " + address}, 405},
		"OPTIONS of the server":                  {[]string{"OPTIONS * HTTP/1.1", "Host: " + address}, 405},
		"CONNECT":                                {[]string{"CONNECT " + address + " HTTP/1.1", "Host: " + address}, 400},
		"TRACE":                                  {[]string{"TRACE / HTTP/1.1", "Host: " + address}, 405},
		"unknown method":                         {[]string{"GETS / HTTP/1.1", "Host: " + address}, 405},
		"file of the pages":                      {path("/static/style.css"), 200},
		"no file of the pages":                   {path("/static/layout.html"), 404},
		"no page":                                {path("/no"), 404},
		"no item":                                {path("/3/"), 404},
		"item without slash":                     {path("/1"), 301},
		"up":                                     {path("/static/../page.go"), 404},
		"up, escaped":                            {path("/static/..%2fpage.go"), 404},
		"up with backslashes":                    {path("/static/..\\page.go"), 404},
		"two slashes":                            {path("//evil.com/.."), 404},
		"zero byte":                              {path("/%00"), 404},
		"long query":                             {path("/?q=" + strings.Repeat("x", 15<<10)), 200},
		"longer query":                           {path("/?q=" + strings.Repeat("x", 17<<10)), 414},
		"invalid query":                          {path("/?%zz;&&=="), 200},
		"large headers":                          {get("X: " + strings.Repeat("x", 128<<10)), 431}, // by net/http
	} {
		t.Run(name, func(t *testing.T) {
			res, body := ask(t, address, c.lines...)
			if res.StatusCode != c.want {
				t.Fatalf("found status %d, want %d; the body is %.300s", res.StatusCode, c.want, body)
			}
			if res.Header.Get("Content-Type") == "text/plain; charset=utf-8" && res.StatusCode != 301 && !strings.Contains(body, "<") {
				return // net/http answered before there was a request
			}
			checkHeaders(t, res)
			if strings.Contains(body, "evil") && !strings.Contains(body, "no page") {
				t.Errorf("the answer repeats the name: %s", body)
			}
		})
	}
}

// checkHeaders checks the headers that every answer must have.
func checkHeaders(t *testing.T, res *http.Response) {
	t.Helper()
	for name, want := range map[string]string{
		"Content-Security-Policy":      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Referrer-Policy":              "no-referrer",
		"X-Content-Type-Options":       "nosniff",
		"Cache-Control":                "no-store",
	} {
		if got := res.Header.Values(name); fmt.Sprint(got) != "["+want+"]" {
			t.Errorf("%s: found %q, want %q", name, got, want)
		}
	}
	for _, none := range []string{"Access-Control-Allow-Origin", "Set-Cookie"} {
		if v := res.Header.Values(none); v != nil {
			t.Errorf("%s: found %q, want none", none, v)
		}
	}
}

// TestServeOnLoopbackOnly checks that a listener that other computers can reach is refused.
func TestServeOnLoopbackOnly(t *testing.T) {
	s, err := view.New(view.Options{Items: []view.Item{{Name: "a", Receipt: &mock.Receipt{}}}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context(), l); err == nil || !strings.Contains(err.Error(), "only on loopback") {
		t.Errorf("found %v, want an error about loopback", err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

// TestALinkElsewhereToASearchIsFollowedByHand: the page has the link again.
func TestALinkElsewhereToASearchIsFollowedByHand(t *testing.T) {
	address := serve(t, view.Item{Name: "a", Receipt: &mock.Receipt{}})
	res, body := ask(t, address, "GET /1/?q=%22a%20b%22&status=5xx HTTP/1.1", "Host: "+address, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document")
	if want := `<a href="/1/?q=%22a%20b%22&amp;status=5xx">`; res.StatusCode != 403 || !strings.Contains(body, want) {
		t.Errorf("found %d, want 403 with %s: %s", res.StatusCode, want, body)
	}
	checkHeaders(t, res)
}
