package markdown

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/recording"
)

var update = flag.Bool("update", false, "rewrite what the cases in testdata want")

// Each case is a markdown file, and the record that it is read as, indented, with the losses.
func TestParse(t *testing.T) {
	names, _ := filepath.Glob("testdata/*.txtar")
	if len(names) < 5 {
		t.Fatalf("%d cases", len(names))
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			e, losses, err := Parse(bytes.NewReader(archive.Files[0].Data))
			var got bytes.Buffer
			if err != nil {
				fmt.Fprintln(&got, err)
			} else {
				json.Indent(&got, e.AppendJSON(nil), "", "  ")
				fmt.Fprintln(&got)
				for _, l := range losses {
					fmt.Fprintln(&got, "lost:", l)
				}
				if e.HTTP != nil {
					fmt.Fprintf(&got, "request: %q\nanswer: %q\n", e.HTTP.Req.Body, e.HTTP.Res.Body)
				}
			}
			if *update {
				archive.Files = []txtar.File{archive.Files[0], {Name: "want", Data: got.Bytes()}}
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(archive.Files[1].Data), got.String()); diff != "" {
				t.Errorf("want (-) got (+):\n%s", diff)
			}
		})
	}
}

func TestMalformedFiles(t *testing.T) {
	block := func(text string) string { return "```\n" + text + "\n```\n" }
	const ask = "### REQUEST ###\n"
	for _, c := range []struct{ name, in, want string }{
		{"empty", "", "line 1: found neither a REQUEST nor an INTERNAL section"},
		{"text", "hello\n", `line 1: found "hello", want a section such as ### REQUEST ###`},
		{"only a block", block("GET / HTTP/1.1"), "line 1: found a block before the first section"},
		{"a block without an end", ask + "```\nGET / HTTP/1.1\n", "line 2: the block has no end"},
		{"a section twice", ask + block("GET / HTTP/1.1") + ask + block("GET / HTTP/1.1"), `line 5: found section "REQUEST" again`},
		{"no request line", ask + block("GET /"), `line 3: found "GET /", want a request line`},
		{"no field", ask + block("GET / HTTP/1.1\nAccept"), `line 4: found "Accept", want a field`},
		{"a bad URL", ask + block("GET http://[::1 HTTP/1.1"), `line 3: the request line's URL "http://[::1" can't be parsed`},
		{"no status line", ask + block("GET / HTTP/1.1") + "### RESPONSE ###\n" + block("200 OK"), `line 7: found "200 OK", want a status line`},
		{"a bad status", ask + block("GET / HTTP/1.1") + "### RESPONSE ###\n" + block("HTTP/1.1 20 OK"), `want a status line`},
		{"a bad direction", ask + block("GET / HTTP/1.1") + "### METADATA ###\n" + block("uuid: 00000000-0000-0000-0000-000000000001\ndirection: UP"), `line 8: direction is "UP", want IN or OUT`},
		{"a bad UUID", ask + block("GET / HTTP/1.1") + "### METADATA ###\n" + block("uuid: 1"), `line 7: uuid is "1", want a UUID`},
		{"a bad time", ask + block("GET / HTTP/1.1") + "### METADATA ###\n" + block("ts: today"), `ts is "today", want a time`},
		{"a bad duration", ask + block("GET / HTTP/1.1") + "### METADATA ###\n" + block("duration: 5"), `duration is "5", want a duration such as 51ms`},
		{"bad JSON", "### INTERNAL - DO NOT MODIFY ###\n" + block(`json: {"ts":1}`), "line 3: json: ts: "},
		{"other JSON", "### INTERNAL - DO NOT MODIFY ###\n" + block(`json: {"msgType":"x"}`), `line 3: json: msgType is "x", want "rrpair"`},
		{"a bad signature", ask + block("GET / HTTP/1.1") + "### SIGNATURE ###\n" + block("http"), `line 7: found "http", want a line such as http:method is GET`},
		{"many sections", strings.Repeat("### A ###\n", 2), `line 2: found section "A" again`},
		{"many fields", ask + block("GET / HTTP/1.1\n"+strings.Repeat("A: 1\n", recording.MaxHeaders+1)), "more than 4000 fields"},
		{"many values", ask + block("GET / HTTP/1.1\nA: "+strings.Repeat("1, ", recording.MaxHeaders)), "more than 4000 fields"},
	} {
		e, _, err := Parse(strings.NewReader(c.in))
		if !errors.As(err, new(*Error)) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want %s", c.name, e, err, c.want)
		}
	}
	if _, _, err := Parse(bytes.NewReader(make([]byte, recording.MaxLine+1))); err == nil || !strings.Contains(err.Error(), "longer than 64 MiB") {
		t.Error(err)
	}
}

// The cost of a file is bounded by its length, not by its number of lines, values or elements.
func TestCost(t *testing.T) {
	const ask = "### REQUEST ###\n```\nGET / HTTP/1.1\n```\n"
	const size = 8 << 20
	for name, text := range map[string]string{
		"lines":             strings.Repeat("\n", size),
		"a body of lines":   ask + "\n```\n" + strings.Repeat("\n", size) + "```\n",
		"a head of lines":   "### REQUEST ###\n```\nGET / HTTP/1.1\n" + strings.Repeat("\n", size) + "```\n",
		"a signature's":     ask + "### SIGNATURE ###\n```\na:b is c\n" + strings.Repeat("\n", size) + "```\n",
		"values of a field": "### REQUEST ###\n```\nGET / HTTP/1.1\nA: " + strings.Repeat(",", size) + "\n```\n",
		"tags":              ask + "### METADATA ###\n```\ntags: " + strings.Repeat(",", size) + "\n```\n",
		"elements": ask + "\n```\n[" + strings.Repeat("1,", size/4) + "2]\n```\n### INTERNAL - DO NOT MODIFY ###\n```\njson: {\"msgType\":\"rrpair\",\"http\":{\"req\":{\"bodyBase64\":\"" +
			base64.StdEncoding.EncodeToString([]byte("["+strings.Repeat("1,", size/4)+"1]")) + "\"}}}\n```\n",
	} {
		t.Run(name, func(t *testing.T) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, _, _ = Parse(strings.NewReader(text)) // it may be malformed
			runtime.ReadMemStats(&after)
			if n := after.TotalAlloc - before.TotalAlloc; n > 16*size {
				t.Errorf("%d MiB for a file of %d MiB", n>>20, len(text)>>20)
			}
		})
	}
}

func TestIs(t *testing.T) {
	for head, want := range map[string]bool{
		"### REQUEST ###\n": true, "\ufeff\n\n### METADATA ###\r\n": true, "### REQUEST ###": true,
		"": false, "# Recordings\n": false, "### Notes ###": false, "{}": false,
	} {
		if Is([]byte(head)) != want {
			t.Errorf("%q: %v", head, !want)
		}
	}
}

func FuzzParse(f *testing.F) {
	names, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range names {
		if archive, err := txtar.ParseFile(name); err == nil {
			f.Add(archive.Files[0].Data)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, _, err := Parse(bytes.NewReader(text))
		if err != nil {
			if !errors.As(err, new(*Error)) {
				t.Error(err)
			}
			return
		}
		// An exchange that was read can be written, and reads the same again.
		texts := [][]byte{e.AppendJSON(nil)}
		for range 2 { // invalid UTF-8 is replaced the first time
			var again recording.Exchange
			if err := new(recording.Decoder).Decode(texts[len(texts)-1], &again); err != nil {
				t.Fatalf("%v: %s", err, texts[len(texts)-1])
			}
			texts = append(texts[len(texts)-1:], again.AppendJSON(nil))
		}
		if !bytes.Equal(texts[0], texts[1]) {
			t.Errorf("%s became %s", texts[0], texts[1])
		}
	})
}
