package inspect

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/show"
)

// hostile are texts that would control a terminal, or look like something else.
var hostile = map[string]string{
	"escape sequences":        "\x1b]0;owned\x07\x1b[2J\x1b[1;31m",
	"C0":                      "a\x00\x01\x08\x0b\x0c\x0e\x1f\nforged line\rover",
	"DEL":                     "a\x7fb",
	"C1":                      "a\u0080\u0085\u009b31m\u009d\u009fb",
	"bytes that are C1 alone": "a\x9b31mb",
	"bidirectional":           "a\u202a\u202b\u202c\u202d\u202egnp.exe\u2066\u2067\u2068\u2069\u200e\u200f\u061cb",
	"zero width":              "a\u200b\u200c\u200d\u2060\u2061\u2064\ufeff\u00ad\u034fb",
	"line separators":         "a\u2028b\u2029c",
	"tags":                    "a\U000e0001\U000e0041\U000e007fb",
	"fillers, selectors":      "a\u115f\u3164\uffa0\ufe0f\U000e0100\u180eb",
	"spaces that look alike":  "a\u00a0\u3000\u2009b",
	"private and unassigned":  "a\ue000\U000f0000\uffff\U0010ffffb",
	"annotation":              "a\ufff9\ufffa\ufffbb",
}

// full is how tapedeck shows an exchange.
func full(w io.Writer, e *recording.Exchange) error { return show.New(e, show.Options{}).Write(w) }

// unseen returns the first character in a text that must not reach a terminal.
func unseen(s string) string {
	for i, r := range s {
		if r == '\n' {
			continue
		}
		_, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n == 1 || !unicode.IsPrint(r) || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Bidi_Control, unicode.Zl, unicode.Zp,
			unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point) {
			return fmt.Sprintf("%U in %.80q", r, s[max(0, i-20):])
		}
	}
	return ""
}

func TestNothingInvisibleReachesTheTerminal(t *testing.T) {
	for name, text := range hostile {
		t.Run(name, func(t *testing.T) {
			h := recording.Headers{{Name: text, Value: text}, {Name: "Content-Encoding", Value: "gzip" + text}}
			body := []byte(text + strings.Repeat("and so on, ", 20*len(text)) + text) // enough to count as text
			c := &recording.Conversation{Part: 1, Messages: []recording.Message{{From: text, Type: text, Data: body}, {From: recording.Client, Data: body}}}
			e := &recording.Exchange{
				MsgType: recording.MsgType, Resource: text, Service: text, Cluster: text, Namespace: text, Direction: text, Tech: text, L7Protocol: text,
				Command: text, Location: text, Status: text, NetworkAddress: text, UUID: recording.UUID{1},
				Tags: recording.Tags{{Name: text, Value: text}, {Name: recording.TagIncomplete, Value: text}, {Name: recording.TagParent, Value: text}, {Name: recording.TagConversation, Value: text}},
				HTTP: &recording.HTTP{
					Req: recording.HTTPRequest{Method: text, URI: text, Version: text, Host: text, Headers: h, Body: body},
					Res: recording.HTTPResponse{StatusMessage: text, Headers: h, Body: []byte(fmt.Sprintf("{%q: [%q, 1]}", "a", text))},
				},
				GRPC: c, WebSocket: c, TCP: c,
			}
			dir := filepath.Join(t.TempDir(), strings.Map(func(r rune) rune {
				if r == 0 || r == '/' {
					return '\x1b'
				}
				return r
			}, text))
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Skipf("this system does not allow such file names: %v", err)
			}
			line := append(e.AppendJSON(nil), '\n')
			write := func(name string, p []byte) {
				if err := os.WriteFile(filepath.Join(dir, name), p, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			write("good.jsonl", line)
			write("bad.jsonl", append([]byte(text+"\n"), line...))
			write("torn.jsonl", line[:len(line)/2])
			missing := filepath.Join(dir, "missing")
			for _, o := range []Options{{Output: "table"}, {Output: "json"}, {Output: "table", Show: "01"}, {Output: "table", Show: "01", Full: full}, {Output: "json", Show: "01"}} {
				var out, notes bytes.Buffer
				if err := Run(t.Context(), &out, &notes, "tapedeck:", []string{dir, missing}, Path, o); !errors.Is(err, ErrUnreadable) {
					t.Errorf("%+v: %v", o, err)
				}
				if odd := unseen(out.String()) + unseen(notes.String()); odd != "" || out.Len() == 0 || notes.Len() == 0 {
					t.Errorf("%+v: %s; %d bytes, %d of notes", o, odd, out.Len(), notes.Len())
				}
				if strings.Contains(out.String(), "\nforged") || strings.Contains(notes.String(), "\nforged") {
					t.Errorf("%+v: a line was forged", o)
				}
				if o.Output == "json" { // JSON must keep its meaning
					for one := range strings.Lines(out.String()) {
						var got, want any
						if err := json.Unmarshal([]byte(one), &got); err != nil {
							t.Errorf("%v: %s", err, one)
						}
						_ = json.Unmarshal(line, &want)
						if fmt.Sprint(got) != fmt.Sprint(want) {
							t.Errorf("%s became %s", line, one)
						}
					}
				}
			}
		})
	}
}

func FuzzNothingInvisibleReachesTheTerminal(f *testing.F) {
	for _, text := range hostile {
		f.Add([]byte(text))
	}
	for _, e := range sample() {
		f.Add(e.AppendJSON(nil))
	}
	f.Fuzz(func(t *testing.T, segment []byte) {
		name := filepath.Join(t.TempDir(), "s.jsonl")
		if err := os.WriteFile(name, segment, 0o644); err != nil {
			t.Fatal(err)
		}
		for _, o := range []Options{{Output: "table"}, {Output: "json"}, {Output: "table", Show: "0"}, {Output: "table", Show: "0", Full: full}} {
			var out bytes.Buffer
			_ = Run(t.Context(), &out, &out, "tapedeck:", []string{name}, Path, o)
			if odd := unseen(out.String()); odd != "" {
				t.Errorf("%+v: %s", o, odd)
			}
		}
	})
}
