package carry

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/recording"
)

// copied returns a copy of an exchange whose request can be changed.
func copied(e *recording.Exchange) *recording.Exchange {
	c, h := *e, *e.HTTP
	c.HTTP, h.Req.Body, h.Req.Headers = &h, slices.Clone(e.HTTP.Req.Body), slices.Clone(e.HTTP.Req.Headers)
	return &c
}

// A replay whose answers equal the recorded ones changes no request, whatever the bodies are.
func FuzzSameAnswers(f *testing.F) {
	seed := func(answerType, answer, uri, header, requestType, body string) {
		f.Add(answerType, answer, uri, header, requestType, body)
	}
	seed("application/json", `{"id":"`+uuid+`","n":[17,{"orderId":17}]}`, "/orders/17?t="+uuid, "Bearer "+token, "application/json", `{"a" : "`+uuid+`"}`)
	seed("text/html", `<meta name=csrf content="`+token+`"><input type=hidden name=a value='`+uuid+`'><a href="/x/`+token+`">`, "/x/"+token, uuid, "application/x-www-form-urlencoded", "a="+uuid+"&b=%7b%22"+token+"%22%7d")
	seed("text/xml", `<a b="`+token+`">`+uuid+`<c>&#x41;</c></a>`, "/?"+uuid, token, "text/xml", `<?xml version="1.0"?><x y='`+token+`'> `+uuid+` </x>`)
	seed("text/event-stream", "data: {\"t\":\""+token+"\"}\n\n", "//a?=&&"+token, "{\"a\":\""+token+"\"}", "multipart/form-data; boundary=B", "--B\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\n"+token+"\r\n--B--\r\n")
	seed("text/plain", token, "http://host/a;b/%2e%2E/"+token+"#x="+token, "W/\""+token+"\"", "text/plain", token)
	f.Fuzz(func(t *testing.T, answerType, answer, uri, header, requestType, body string) {
		recorded := []*recording.Exchange{
			exchange(0, "POST", "/orders", "", 201, answer, "<Content-Type", answerType, "<Location", uri, "<Etag", header, "<Set-Cookie", "a="+header, "<Link", "<"+uri+">; rel="+header),
			exchange(9, "POST", uri, body, 200, answer, "Content-Type", requestType, "X-Value", header, "Cookie", "a="+header, "If-Match", header, "Authorization", header),
		}
		s := graphOf(recorded...).NewState(StateOptions{})
		for i, e := range recorded {
			sent := copied(e)
			applied, missing := s.Apply(i, sent)
			if missing > 0 && mayStand(header, inCookie) && mayStand(answer, inCookie) && !strings.Contains(uri+answer, ".") && utf8.ValidString(header) {
				t.Errorf("step %d: %d written, %d missing", i, applied, missing)
			}
			if diff := cmp.Diff(e.HTTP.Req, sent.HTTP.Req); diff != "" {
				t.Errorf("step %d (-recorded +sent):\n%s", i, diff)
			}
			s.Answered(i, e, e)
		}
	})
}

// A live value replaces the recorded one, and can be read at its place, whatever the server issues.
func FuzzLiveValue(f *testing.F) {
	for _, v := range []string{token, `a"b\c`, "a/b?c#d&e=f+g%h", "<a>&amp;'", "é\u2028\x00", "..", "a\r\nB: c", " a ", "]]>", "a;b"} {
		f.Add(v)
	}
	f.Fuzz(func(t *testing.T, live string) {
		if !utf8.ValidString(live) || strings.TrimSpace(live) != live || live == "" || strings.IndexAny(live[:1], "{[/") == 0 || isURL(live) || strings.Contains(live, ",") {
			t.Skip("no single text")
		}
		issuer := exchange(0, "GET", "/", "", 200, `{"a":"`+token+`"}`)
		answer := exchange(0, "GET", "/", "", 200, `{"a":"`+quoted(live)+`"}`)
		for _, use := range []*recording.Exchange{
			exchange(9, "GET", "/things/"+token+"/x?a=b&c="+token+"&d", "", 200, "", "Cookie", "x=y; a="+token+"; b=c", "Authorization", "Bearer "+token),
			exchange(9, "POST", "/", `{"a": ["x", "`+token+`"], "b":1.0}`, 200, "", "Content-Type", "application/json", "Content-Length", "99"),
			exchange(9, "POST", "/", "x=1&a="+token+"&y=2", 200, "", "Content-Type", "application/x-www-form-urlencoded"),
			exchange(9, "POST", "/", `<a><b c='`+token+`' d="e">`+token+`</b><f/></a>`, 200, "", "Content-Type", "text/xml"),
		} {
			g := graphOf(issuer, use)
			s := g.NewState(StateOptions{})
			s.Answered(0, issuer, answer)
			sent := copied(use)
			applied, missing := s.Apply(1, sent)
			if applied == 0 && missing == 0 {
				t.Fatalf("nothing is carried to %s", use.HTTP.Req.URI)
			}
			want, got := texts(g, use), texts(g, sent)
			for place, text := range want {
				if strings.HasSuffix(text, token) && (strings.HasPrefix(place, "req.path") || strings.HasPrefix(place, "req.header") || strings.HasPrefix(place, "req.cookie")) && !mayStand(live, inSegment) {
					continue
				}
				if with := strings.Replace(text, token, live, 1); got[place] != with && (missing == 0 || got[place] != text) && utf8XML(live, place) {
					t.Errorf("%s is %q, want %q", place, got[place], with)
				}
			}
			if len(want) != len(got) && utf8XML(live, "req.body.a.b") {
				t.Errorf("the request has the strings %q, want %q", got, want)
			}
		}
	})
}

// texts returns the strings of a request by place.
func texts(g *Graph, e *recording.Exchange) map[string]string {
	all := map[string]string{}
	w := &walker{places: newPlaces()}
	w.visit = func(text string) string {
		place := w.places.text(w.place(true))
		if place != "req.header.Content-Length" {
			all[fmt.Sprint(place, w.path[len(w.path)-1].n)] = text
		}
		return text
	}
	w.request(copied(e), true)
	return all
}

// utf8XML reports whether a string can be part of XML.
func utf8XML(text, place string) bool {
	return !strings.HasPrefix(place, "req.body.a.b") || strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r == 0xfffe || r == 0xffff }) < 0
}

func gzipped(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	w.Write(b)
	w.Close()
	return out.Bytes()
}

// Places and settings are written by people.
func FuzzPattern(f *testing.F) {
	for _, s := range []string{"req.path[2]", `body."a[1]"[][3].b`, "[", `"\`, "header.a[99999999999]"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePattern(text, "req")
		if err == nil && (len(p) < 2 || p[0].Name != "req" && p[0].Name != "client") {
			t.Errorf("%q is read as %v", text, p)
		}
	})
}
