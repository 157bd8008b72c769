package show

import (
	"bytes"
	"encoding/xml"
	"io"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/clean"
)

// addCases adds the inputs of the cases to a fuzz test.
func addCases(f *testing.F, add func(text []byte)) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		f.Fatalf("%d cases, %v", len(files), err)
	}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, part := range txtar.Parse(text).Files {
			if _, body, ok := bytes.Cut(part.Data, []byte("\n\n")); ok {
				add(bytes.TrimSuffix(body, []byte("\n")))
			}
		}
	}
}

// readXML returns a document's tokens, without white space where it does not matter.
func readXML(src []byte) (all []xml.Token, err error) {
	d := xml.NewDecoder(bytes.NewReader(src))
	for {
		t, err := d.RawToken()
		if err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		all = append(all, xml.CopyToken(t))
	}
	var kept []xml.Token
	for i, t := range all {
		if text, ok := t.(xml.CharData); ok && len(bytes.TrimSpace(text)) == 0 {
			_, begins := before(all, i).(xml.StartElement)
			_, ends := after(all, i).(xml.EndElement)
			if !begins || !ends {
				continue
			}
		}
		kept = append(kept, t)
	}
	return kept, nil
}

func before(all []xml.Token, i int) xml.Token {
	if i == 0 {
		return nil
	}
	return all[i-1]
}

func after(all []xml.Token, i int) xml.Token {
	if i+1 == len(all) {
		return nil
	}
	return all[i+1]
}

// Indented XML has the same tokens as the original.
func FuzzXML(f *testing.F) {
	addCases(f, func(text []byte) { f.Add(text) })
	f.Add([]byte(`<!DOCTYPE a [<!ENTITY b "]>">]><a b='>'><c/>&amp;<![CDATA[]]></a>`))
	f.Fuzz(func(t *testing.T, src []byte) {
		got, used, err := indentXML(src, 1<<30)
		if err != nil {
			return
		}
		want, err := readXML(src)
		if err != nil { // it has something that this package does not check, such as entities
			return
		}
		text, err := readXML(got)
		if err != nil || !reflect.DeepEqual(text, want) || used != len(src) {
			t.Errorf("%q became %q (%v), %d of %d bytes", src, got, err, used, len(src))
		}
	})
}

// Parts of a multipart body read as they were written.
func FuzzParts(f *testing.F) {
	f.Add("-x", "a", []byte("one"), []byte("two\r\n--y\r\n"))
	f.Add("b", "", []byte("\r\n"), []byte("--"))
	f.Fuzz(func(t *testing.T, boundary, value string, one, two []byte) {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		if w.SetBoundary(boundary) != nil || bytes.Contains(one, []byte("--"+boundary)) || bytes.Contains(two, []byte("--"+boundary)) || strings.ContainsAny(value, "\r\n") {
			return
		}
		for _, body := range [][]byte{one, two} {
			p, err := w.CreatePart(textproto.MIMEHeader{"X-A": {value}})
			if err != nil {
				t.Fatal(err)
			}
			_, _ = p.Write(body)
		}
		_ = w.Close()
		var got [][]byte
		err := splitParts(b.Bytes(), boundary, func(p rawPart) bool {
			if p.cut || p.get("X-A") != strings.TrimSpace(value) {
				t.Errorf("%+v", p)
			}
			got = append(got, p.body)
			return true
		})
		if err != nil || len(got) != 2 || !bytes.Equal(got[0], one) || !bytes.Equal(got[1], two) {
			t.Errorf("%q, want %q and %q (%v)", got, one, two, err)
		}
	})
}

// Fields of a form read as net/url reads them.
func FuzzForm(f *testing.F) {
	addCases(f, func(text []byte) { f.Add(string(text)) })
	f.Fuzz(func(t *testing.T, query string) {
		want, err := url.ParseQuery(query)
		if err != nil || len(query) > 1<<10 {
			return
		}
		got, left := newBuilder(Options{}.withDefaults(), 1<<20).pairs(query, nil)
		n := left
		for _, values := range want {
			n -= len(values)
		}
		for _, f := range got {
			found := false
			for name, values := range want {
				for _, value := range values {
					found = found || f.Name == clean.Text(cutText(name, 300)) && f.Value == clean.Text(value)
				}
			}
			if !found {
				t.Errorf("%q: a field %+v", query, f)
			}
			n++
		}
		if n != 0 {
			t.Errorf("%q: %d fields too many", query, n)
		}
	})
}

// The text of any body and of any message is visible and bounded.
func FuzzShown(f *testing.F) {
	types := []string{
		"", "application/json", "application/x-ndjson", "application/xml", "text/html", "application/x-www-form-urlencoded", "multipart/form-data; boundary=-xX",
		"text/event-stream", "application/grpc", "application/grpc-web-text", "application/connect+json", "application/x-protobuf", "text/plain; charset=utf-16", "image/png", "\x1b[2J/\u202e",
	}
	addCases(f, func(text []byte) {
		for i := range types {
			f.Add(byte(i), text)
		}
	})
	const limit = 1 << 10
	f.Fuzz(func(t *testing.T, which byte, body []byte) {
		headers := recording.Headers{{Name: "Content-Type", Value: types[int(which)%len(types)]}, {Name: "Grpc-Encoding", Value: "gzip"}}
		half := len(body) / 2
		said := []recording.Message{
			{From: recording.Client, Type: "text", Data: body}, {From: recording.Server, Type: "text", Data: body[:half], More: true, Compressed: true},
			{From: recording.Server, Type: "continuation", Data: body[half:]}, {From: recording.Server, Type: "close", Data: body},
		}
		for _, e := range []*recording.Exchange{
			{HTTP: &recording.HTTP{Res: recording.HTTPResponse{StatusCode: 200, Headers: headers, Body: body}}},
			{HTTP: &recording.HTTP{Req: recording.HTTPRequest{Method: "POST", URI: "/?" + string(body), Headers: headers, Body: body}}, Tags: recording.Tags{{Name: recording.TagRequestBodySize, Value: "100000"}}},
			{HTTP: &recording.HTTP{Req: recording.HTTPRequest{Headers: headers}}, GRPC: &recording.Conversation{Messages: said}},
			{WebSocket: &recording.Conversation{Messages: said}},
			{TCP: &recording.Conversation{Messages: said}},
		} {
			var b bytes.Buffer
			if err := New(e, Options{MaxBody: limit, MaxMessage: limit, MaxFields: 10, MaxValue: 100}).Write(&b); err != nil {
				t.Fatal(err)
			}
			for _, r := range b.String() {
				if r != '\n' && !clean.Visible(r) {
					t.Fatalf("%q is in %q", r, b.String())
				}
			}
			if !utf8.Valid(b.Bytes()) || b.Len() > 100*limit {
				t.Fatalf("%d bytes, %.1000q", b.Len(), b.String())
			}
		}
	})
}

// A stream of events is split where its events were joined.
func FuzzEvents(f *testing.F) {
	f.Add("total", "two\nlines", "7")
	f.Fuzz(func(t *testing.T, kind, data, id string) {
		if strings.ContainsAny(kind+id, "\r\n") || strings.Contains(data, "\r") || kind == "" {
			return
		}
		src := "\ufeff: hello\r\rid:" + id + "\r\nevent: " + kind + "\n"
		for line := range strings.SplitSeq(data, "\n") {
			src += "data: " + line + "\n"
		}
		var all []event
		eachEvent([]byte(src+"\n\ndata"), func(from, to int) bool {
			all = append(all, readEvent([]byte(src + "\n\ndata")[from:to]))
			return true
		})
		want := []event{
			{fields: []recording.Header{{Name: "comment", Value: "hello"}}},
			{kind: kind, data: data, fields: []recording.Header{{Name: "id", Value: strings.TrimPrefix(id, " ")}}},
			{cut: true},
		}
		if !reflect.DeepEqual(all, want) {
			t.Errorf("%+v, want %+v", all, want)
		}
	})
}
