package splice_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/fn/splice"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

var update = flag.Bool("update", false, "rewrite the outputs under testdata")

// TestApply runs testdata/*.txtar. Sections of a case:
//
//	input.yaml   the text before
//	edit         changes, one per line; see edit
//	output.yaml  the text after
//	lost         lines of the input that the output lacks; none by default
//	undone.yaml  the result of the undo, if it isn't the input
//
// The archive's comment may say `no final newline`, `crlf` or `bom`.
func TestApply(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := readCase(archive)
			before := parse(t, c.input)
			want := expand(t, before)
			for line := range strings.Lines(c.edits) {
				if err := edit(want, line); err != nil {
					t.Fatal(err)
				}
			}
			out, reformatted, err := splice.Apply(c.input, before, want)
			if err != nil {
				t.Fatal(err)
			}
			if reformatted {
				t.Error("the document was encoded again")
			}
			former := expand(t, before)
			spelled, err := spellings(c.input, before, former)
			if err != nil {
				t.Fatal(err)
			}
			undone, reformatted, err := splice.Apply(out, parse(t, out), former, spelled...)
			if err != nil {
				t.Fatalf("undo: %v", err)
			}
			if reformatted {
				t.Error("undo: the document was encoded again")
			}
			got := result{output: out, lost: lost(c.input, out), undone: undone}
			if *update {
				write(t, file, archive, c, got)
				return
			}
			if !bytes.Equal(got.output, c.want.output) {
				t.Errorf("output:\n%s\nwant:\n%s", got.output, c.want.output)
			}
			if got.lost != c.want.lost {
				t.Errorf("lost lines:\n%s\nwant:\n%s", got.lost, c.want.lost)
			}
			if !bytes.Equal(got.undone, c.want.undone) {
				t.Errorf("undone:\n%s\nwant:\n%s", got.undone, c.want.undone)
			}
		})
	}
}

type testCase struct {
	input []byte
	edits string
	want  result
	form  form
}

type result struct {
	output []byte
	lost   string
	undone []byte
}

// form holds the properties that a txtar section can't express.
type form struct{ crlf, bom, open bool }

func (f form) text(section []byte) []byte {
	if f.crlf {
		section = bytes.ReplaceAll(section, []byte("\n"), []byte("\r\n"))
	}
	if f.open {
		section = bytes.TrimRight(section, "\r\n")
	}
	if f.bom {
		section = append([]byte("\xef\xbb\xbf"), section...)
	}
	return section
}

func (f form) section(text []byte) []byte {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))
}

func readCase(a *txtar.Archive) testCase {
	var c testCase
	about := string(a.Comment)
	c.form = form{strings.Contains(about, "crlf"), strings.Contains(about, "bom"), strings.Contains(about, "no final newline")}
	for _, f := range a.Files {
		switch f.Name {
		case "input.yaml":
			c.input = c.form.text(f.Data)
		case "edit":
			c.edits = string(f.Data)
		case "output.yaml":
			c.want.output = c.form.text(f.Data)
		case "lost":
			c.want.lost = string(f.Data)
		case "undone.yaml":
			c.want.undone = c.form.text(f.Data)
		}
	}
	if c.want.undone == nil {
		c.want.undone = c.input
	}
	return c
}

func write(t *testing.T, file string, a *txtar.Archive, c testCase, got result) {
	t.Helper()
	a.Files = a.Files[:2]
	a.Files = append(a.Files, txtar.File{Name: "output.yaml", Data: c.form.section(got.output)})
	if got.lost != "" {
		a.Files = append(a.Files, txtar.File{Name: "lost", Data: []byte(got.lost)})
	}
	if !bytes.Equal(got.undone, c.input) {
		a.Files = append(a.Files, txtar.File{Name: "undone.yaml", Data: c.form.section(got.undone)})
	}
	if err := os.WriteFile(file, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}

// lost returns the lines of before that after lacks, in order.
func lost(before, after []byte) string {
	a, b := strings.Split(string(before), "\n"), strings.Split(string(after), "\n")
	// rows[i][j] is how many lines a[i:] and b[j:] have in common.
	rows := make([][]int, len(a)+1)
	rows[len(a)] = make([]int, len(b)+1)
	for i := len(a) - 1; i >= 0; i-- {
		rows[i] = make([]int, len(b)+1)
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				rows[i][j] = rows[i+1][j+1] + 1
			} else {
				rows[i][j] = max(rows[i+1][j], rows[i][j+1])
			}
		}
	}
	var out strings.Builder
	for i, j := 0, 0; i < len(a); {
		switch {
		case j < len(b) && a[i] == b[j]:
			i, j = i+1, j+1
		case j < len(b) && rows[i][j+1] >= rows[i+1][j]:
			j++
		default:
			out.WriteString(strings.TrimSuffix(a[i], "\r") + "\n")
			i++
		}
	}
	return out.String()
}

func parse(t testing.TB, text []byte) *yaml.Node {
	t.Helper()
	n, err := splice.Parse(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return n
}

func expand(t testing.TB, n *yaml.Node) *yaml.Node {
	t.Helper()
	out, err := splice.Expand(n)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
