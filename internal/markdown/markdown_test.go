package markdown

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const sample = "# A page, with `code`\n" +
	"\n" +
	"See [there](other.md#a-title), `[not](a-link)` and [RFC 9110](https://example.com/a_(b)).\n" +
	"| `a \\| b` | ``c`` |\n" +
	"<!-- run\n" +
	"touch hidden\n" +
	"-->\n" +
	"\n" +
	"## Use it\n" +
	"## Use it\n" +
	"\n" +
	"    tapedeck version\n" +
	"\n" +
	"- in a list:\n" +
	"  ```console\n" +
	"  $ echo one \\\n" +
	"    two\n" +
	"  one two\n" +
	"\n" +
	"  $ cat <<'EOF'\n" +
	"  $ no command\n" +
	"  EOF\n" +
	"  $ no command\n" +
	"  ```\n" +
	"\n" +
	"```yaml\n" +
	"# overlays/a/kustomization.yaml\n" +
	"resources: []\n" +
	"```\n"

func readSample(t *testing.T) *Page {
	t.Helper()
	file := filepath.Join(t.TempDir(), "page.md")
	if err := os.WriteFile(file, []byte(sample), 0o644); err != nil {
		t.Fatal(err)
	}
	p, err := Read(file)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestRead(t *testing.T) {
	p := readSample(t)
	want := &Page{
		File: p.File,
		Blocks: []Block{
			{Lang: Setup, Line: 5, Lines: []string{"touch hidden"}},
			{Lang: "console", Line: 15, indent: "  ", Lines: []string{`$ echo one \`, "  two", "one two", "", "$ cat <<'EOF'", "$ no command", "EOF", "$ no command"}},
			{Lang: "yaml", Line: 26, Lines: []string{"# overlays/a/kustomization.yaml", "resources: []"}},
		},
		Code:     []Span{{1, "code"}, {3, "[not](a-link)"}, {4, "a | b"}, {4, "c"}},
		Links:    []Span{{3, "other.md#a-title"}, {3, "https://example.com/a_(b)"}},
		Indented: []Span{{12, "tapedeck version"}},
		Anchors:  map[string]bool{"a-page-with-code": true, "use-it": true, "use-it-1": true},
	}
	if diff := cmp.Diff(want, p, cmp.AllowUnexported(Block{}), cmp.FilterPath(func(p cmp.Path) bool { return p.String() == "lines" }, cmp.Ignore())); diff != "" {
		t.Errorf("want (-) got (+):\n%s", diff)
	}
	if got := p.Blocks[2].FileName(); got != "overlays/a/kustomization.yaml" {
		t.Errorf("the file is %q", got)
	}
	examples, err := p.Blocks[1].Examples()
	if err != nil {
		t.Fatal(err)
	}
	wantExamples := []Example{
		{16, "echo one \\\n  two", []string{"one two", ""}},
		{20, "cat <<'EOF'\n$ no command\nEOF", nil},
		{23, "no command", nil},
	}
	if diff := cmp.Diff(wantExamples, examples); diff != "" {
		t.Errorf("want (-) got (+):\n%s", diff)
	}
}

func TestReadFindsOpenBlocks(t *testing.T) {
	for text, want := range map[string]string{"```sh\na\n": ":1: the block has no end", "\n<!-- run\na\n": ":2: the comment has no end"} {
		file := filepath.Join(t.TempDir(), "page.md")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(file); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func TestWrite(t *testing.T) {
	p := readSample(t)
	if err := p.Write([][]string{nil, {"$ a", "b", ""}, nil}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(p.File)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(sample, "  $ echo one")
	_, after, _ := strings.Cut(rest, "  $ no command\n  EOF\n  $ no command\n")
	if want := before + "  $ a\n  b\n\n" + after; want != string(got) {
		t.Errorf("want (-) got (+):\n%s", cmp.Diff(want, string(got)))
	}
}

func TestMatches(t *testing.T) {
	for _, tt := range []struct {
		want, got string
		ok        bool
		at        int
	}{
		{"", "", true, 0},
		{"a", "a", true, 1},
		{"a", "b", false, 0},
		{"a", "a\nb", false, 1},
		{"a\nb", "a", false, 1},
		{"a …", "a 1.5 s", true, 1},
		{"…", "", true, 1},
		{"…\nz", "a\nb\nz", true, 2},
		{"…\nz", "z\na", false, 2},
		{"…\nb\n…\nd", "a\nb\nc\nb\nd", true, 4},
		{"a.c", "abc", false, 0},
	} {
		ok, at := Example{Want: split(tt.want)}.Matches(split(tt.got))
		if ok != tt.ok || !ok && at != tt.at {
			t.Errorf("page %q, output %q: %t at %d, want %t at %d", tt.want, tt.got, ok, at, tt.ok, tt.at)
		}
	}
}

func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

func TestMerge(t *testing.T) {
	e := Example{Want: []string{"took …", "old", "…"}}
	if diff := cmp.Diff([]string{"new", "took …"}, e.Merge([]string{"new", "took 3 s", ""})); diff != "" {
		t.Error(diff)
	}
}

func TestCommands(t *testing.T) {
	for text, want := range map[string][][]string{
		"a b\nc":                           {{"a", "b"}, {"c"}},
		"a --x='b c' \"d\\\"e\" # comment": {{"a", "--x=b c", `d"e`}},
		"X=1 a | b && c; d & e || f":       {{"a"}, {"b"}, {"c"}, {"d"}, {"e"}, {"f"}},
		"a \\\n  b":                        {{"a", "b"}},
		"a > file 2>&1 b":                  {{"a", "b"}},
		"a < file | b 2>/dev/null":         {{"a"}, {"b"}},
		"a $(b c) <(d)":                    {{"b", "c"}, {"d"}, {"a", "SUBSTITUTED", "SUBSTITUTED"}},
		"cat <<'EOF' > f\nnot a\nEOF\nb":   {{"cat"}, {"b"}},
		"{ a; b; } | c":                    {{"a"}, {"b"}, {"c"}},
		"if a; then b; fi":                 {{"a"}, {"b"}},
		"a#b '#'":                          {{"a#b", "#"}},
	} {
		if diff := cmp.Diff(want, Commands(text)); diff != "" {
			t.Errorf("%q: want (-) got (+):\n%s", text, diff)
		}
	}
}

func TestSlug(t *testing.T) {
	for title, want := range map[string]string{
		"What is redacted":     "what-is-redacted",
		"`replay` & [mock](x)": "replay--mock",
		"A/B: c, d_e-f":        "ab-c-d_e-f",
	} {
		if got := Slug(title); got != want {
			t.Errorf("%q: got %q, want %q", title, got, want)
		}
	}
}

func TestFencesThatNoTestWouldRead(t *testing.T) {
	for name, text := range map[string]string{
		"a title":             "```console title=\"a\"\n$ tapedeck version\n```\n",
		"four backquotes":     "````console\n$ tapedeck version\n````\n",
		"tildes":              "~~~console\n$ tapedeck version\n~~~\n",
		"a quotation":         "> ```console\n> $ tapedeck version\n> ```\n",
		"an item's beginning": "- ```console\n  $ tapedeck version\n  ```\n",
		"a tab":               "\t```console\n\t$ tapedeck version\n\t```\n",
		"a missing end":       "```text\nsome text\n\n```console\n$ tapedeck version\n```\n",
		"no end":              "```console\n$ tapedeck version\n",
	} {
		file := filepath.Join(t.TempDir(), "page.md")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if p, err := Read(file); err == nil {
			t.Errorf("%s: read as %+v", name, p.Blocks)
		}
	}
}
