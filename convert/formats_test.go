package convert_test

import (
	"bytes"
	"compress/gzip"
	"flag"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/convert"
	"github.com/tapedeck/tapedeck/convert/gor"
	"github.com/tapedeck/tapedeck/internal/docpage"
	"github.com/tapedeck/tapedeck/recording"
)

var update = flag.Bool("update", false, "rewrite the table of formats in docs")

// TestFormatsPage checks the tables of the page against the table of formats.
func TestFormatsPage(t *testing.T) {
	var formats, losses strings.Builder
	formats.WriteString("| format | files | read | written | what it is |\n|---|---|---|---|---|\n")
	losses.WriteString("| format | lost when it is read | lost when it is written |\n|---|---|---|\n")
	yes := map[bool]string{true: "yes", false: "–"}
	or := func(text string) string {
		if text == "" {
			return "–"
		}
		return text
	}
	for _, f := range convert.Formats() {
		if f.Doc == "" || f.Reads != (f.ReadLoses != "") || f.Writes != (f.WriteLoses != "") || f.Writes != (f.Create != nil || f.Marshal != nil) {
			t.Errorf("%s is not described", f.Name)
		}
		fmt.Fprintf(&formats, "| `%s` | `%s` | %s | %s | %s |\n", f.Name, strings.Join(f.Extensions, "`, `"), yes[f.Reads], yes[f.Writes], f.Doc)
		fmt.Fprintf(&losses, "| `%s` | %s | %s |\n", f.Name, or(f.ReadLoses), or(f.WriteLoses))
	}
	docpage.Tables(t, "../docs/convert.md", *update, map[string]string{"formats": formats.String(), "losses": losses.String()})
}

// The content of a file decides its format. The name decides if the content doesn't.
func TestDetect(t *testing.T) {
	request := "1 aa 1 0\nGET / HTTP/1.1\r\n\r\n"
	for _, c := range []struct{ name, text, want string }{
		{"a.jsonl", `{"msgType":"rrpair"}`, "rrpair"},
		{"a.json", `{"ts":"2026-11-22T20:15:00Z","http":{"req":{}}}`, "rrpair"},
		{"a.json", `{"request":1,"direction":"IN"}`, "rrpair"},
		{"a.json", `[{"msgType":"rrpair"}]`, "rrpair"},
		{"a", "(\xb5/\xfd", "rrpair"},
		{"a", "", "rrpair"},
		{"a", "\x1f\x8b", "rrpair"},
		{"README.md", "# A page", ""},
		{"a.md", "### REQUEST ###\n", "markdown"},
		{"a.md", `{"msgType":"rrpair"}`, "rrpair"},
		{"a", "\ufeff\n{\"log\":{\"entries\":[]}}", "har"},
		{"a", `{"$x":[{"log":1}],"log":{"entries":[`, "har"},
		{"a.har", `{"x":{"log":{}}}`, "har"},
		{"a.json", `{"x":{"log":{}}}`, "rrpair"},
		{"a", `{"mappings":[`, "wiremock"},
		{"a", `{"name":"x","request":{"url":"/` + strings.Repeat("a", 5000), "wiremock"},
		{"a", request, "goreplay"},
		{"a", "4 aa 1 0\n", "rrpair"},
		{"a", strings.Repeat("1", 10_000), "rrpair"},
	} {
		for _, zipped := range []bool{false, true} {
			text := []byte(c.text)
			if zipped {
				var b bytes.Buffer
				z := gzip.NewWriter(&b)
				z.Write(text)
				z.Close()
				text = b.Bytes()
			}
			in, f, err := convert.Detect(bytes.NewReader(text), c.name)
			if err != nil {
				t.Errorf("%s %.40q: %v", c.name, c.text, err)
				continue
			}
			name := ""
			if f != nil {
				name = f.Name
			}
			rest, err := io.ReadAll(in)
			if name != c.want || string(rest) != c.text || err != nil {
				t.Errorf("%s %.40q is %q with %d bytes, %v; want %q", c.name, c.text, name, len(rest), err, c.want)
			}
		}
	}
}

func TestByName(t *testing.T) {
	for name, want := range map[string]string{
		"a.har": "har ", "a/b.har.gz": "har .gz", "a.jsonl.zst": "rrpair .zst", "a.json": "rrpair ", "a_0.gor": "goreplay ", "a.sh": "curl ", "a": "- ", "a.gz": "- .gz", "har": "- ",
	} {
		f, compression := convert.ByName(name)
		got := "-"
		if f != nil {
			got = f.Name
		}
		if got += " " + compression; got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// Detect accepts any file, and the reader of the format ends.
func FuzzDetect(f *testing.F) {
	f.Add("a.har", []byte(`{"x":{"log":{"entries":[{}]}}}`))
	f.Add("a.md", []byte("### REQUEST ###\n```\nGET / HTTP/1.1\n```\n"))
	f.Add("a.gor", []byte("1 aa 1 0\nGET / HTTP/1.1\n\n\n"+gor.Separator+"\n"))
	f.Fuzz(func(t *testing.T, name string, text []byte) {
		in, format, err := convert.Detect(bytes.NewReader(text), name)
		if err != nil || format == nil || format.Open == nil {
			return
		}
		r := format.Open(in, nil)
		for n := 0; ; n++ {
			if n > len(text)+10 {
				t.Fatal("the reader has no end")
			}
			_, err := r.Next(new(recording.Exchange))
			_, bad := err.(*recording.LineError)
			_, left := err.(*recording.LeftOutError)
			if err != nil && !bad && !left {
				return
			}
		}
	})
}

func ExampleDetect() {
	in, format, err := convert.Detect(strings.NewReader("1 aa 1795374900000000000 0\nGET /cart HTTP/1.1\nHost: shop\n\n\n"+gor.Separator+"\n"), "requests_0")
	if err != nil {
		fmt.Println(err)
		return
	}
	var e recording.Exchange
	_, err = format.Open(in, nil).Next(&e)
	fmt.Println(format.Name, e.Command, e.Location, err)
	// Output: goreplay GET /cart <nil>
}
