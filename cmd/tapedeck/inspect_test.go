package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/recording"
	"github.com/tapedeck/tapedeck/recording/spool"
)

func TestInspect(t *testing.T) {
	dir := t.TempDir()
	r, err := spool.Open(dir, spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i, path := range []string{"/cart", "/login"} {
		e := &recording.Exchange{MsgType: recording.MsgType, UUID: recording.UUID{byte(i + 1)}, Direction: recording.In,
			L7Protocol: recording.HTTP1, Location: path, Status: "200", NetworkAddress: "shop:80"}
		if err := r.Write(e); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	segments, _ := filepath.Glob(filepath.Join(dir, "*", "*", "*", "*", "*", "*.zst"))
	torn := filepath.Join(t.TempDir(), "torn.jsonl")
	os.WriteFile(torn, []byte(`{"location":"/whole"}`+"\n"+`{"loc`), 0o600)
	open := filepath.Join(t.TempDir(), "open.jsonl.part")
	os.WriteFile(open, []byte(`{"location":"/whole"}`+"\n"+`{"loc`), 0o600)
	md := filepath.Join(t.TempDir(), "pair.md")
	os.WriteFile(md, []byte("### REQUEST ###\n```\nGET http://shop/quote HTTP/1.1\n```\n"), 0o600)
	bad := filepath.Join(t.TempDir(), "bad.jsonl")
	os.WriteFile(bad, []byte("oops\n"+`{"location":"/behind"}`+"\n"), 0o600)

	program := filepath.Join(t.TempDir(), "app.py")
	os.WriteFile(program, []byte("print(1)\n"), 0o600)

	for _, c := range []struct {
		name   string
		args   []string
		code   int
		out    []string // parts of the output
		not    string
		stderr string // part of it
	}{
		{"lists a directory", []string{dir}, 0, []string{"UUID", "/cart", "/login"}, "", ""},
		{"lists one segment", segments[:1], 0, []string{"/cart"}, "", ""},
		{"filters", []string{"--path", "cart", dir}, 0, []string{"/cart"}, "/login", ""},
		{"writes JSON lines", []string{"-o", "json", dir}, 0, []string{`"location":"/cart"`}, "UUID", ""},
		{"shows one", []string{"--show", "02", dir}, 0, []string{"IN http 02000000-"}, "IN http 01", ""},
		{"shows none", []string{"--show", "ff", dir}, 1, nil, "", "no exchange has a UUID that begins with it"},
		{"reads up to a torn tail of what is being written", []string{open}, 0, []string{"/whole"}, "", "note: 1 open segment: open.jsonl.part"},
		{"reads up to a torn tail", []string{torn}, 1, []string{"/whole"}, "", "tapedeck: 1 torn segment: torn.jsonl"},
		{"continues after a bad line", []string{bad}, 1, []string{"/behind"}, "", "tapedeck: 1 malformed record: bad.jsonl: line 1: "},
		{"names what is not a recording", []string{program}, 1, nil, "", "app.py is not a recording; want a place, a segment"},
		{"reads a file of another tool", []string{md}, 0, []string{"/quote"}, "", ""},
		{"reads several places", []string{md, dir, bad}, 1, []string{"/quote", "/cart", "/behind"}, "", "bad.jsonl: line 1: "},
		{"reads a URL", []string{"file://" + dir}, 0, []string{"/cart"}, "", ""},
		{"selects by workload", []string{"--workload", "undefined", "--namespace", "shop,undefined", dir}, 0, []string{"/cart"}, "", ""},
		{"selects by another", []string{"--cluster", "c1", dir}, 0, []string{"UUID"}, "/cart", ""},
		{"selects by time", []string{"--since", "1h", dir}, 0, []string{"UUID"}, "/cart", ""}, // they have none
		{"refuses two starts", []string{"--since", "1h", "--from", "2026-11-22", dir}, 1, nil, "", "--since and --from: want one of them"},
		{"refuses an unknown time", []string{"--to", "tomorrow", dir}, 1, nil, "", `to: time "tomorrow": want one such as`},
		{"refuses an unknown scheme", []string{"ftp://host/dir"}, 1, nil, "", "ftp"},
		{"says what is missing", []string{filepath.Join(dir, "nowhere")}, 1, nil, "", "nowhere"},
		{"refuses an unknown output", []string{"-o", "xml", dir}, 1, nil, "", `output "xml": want table or json`},
		{"refuses an unknown direction", []string{"--direction", "up", dir}, 1, nil, "", "want in, out"},
		{"refuses an unknown status", []string{"--status", "5x", dir}, 1, nil, "", "want a code, or 1xx"},
		{"refuses an unknown protocol", []string{"--protocol", "htp", dir}, 1, nil, "", "want http, https"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out, errs bytes.Buffer
			code := run(append([]string{"inspect"}, c.args...), strings.NewReader(""), &out, &errs)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			for _, part := range c.out {
				if !strings.Contains(out.String(), part) {
					t.Errorf("output lacks %q:\n%s", part, out.String())
				}
			}
			if c.not != "" && strings.Contains(out.String(), c.not) {
				t.Errorf("output has %q:\n%s", c.not, out.String())
			}
			if !strings.Contains(errs.String(), c.stderr) || c.stderr == "" && errs.Len() > 0 {
				t.Errorf("stderr %q, want %q in it", errs.String(), c.stderr)
			}
		})
	}
}
