package fn_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

var update = flag.Bool("update", false, "rewrite the wanted halves of testdata")

// TestRender runs the cases of testdata/render. Each is one file:
//
//	what the case shows
//	-- config.yaml --   configuration, optional
//	-- input.yaml --    the input
//	-- want.diff --     what the render changes, as a folded diff; absent if it writes nothing
//	-- results --       the report
//
// The standard cases have want.yaml instead, which is the whole output. A folding says how
// the other cases refer to them.
//
// The test also renders the output of each case again, which must change nothing, and
// undoes it, which must restore the input byte for byte.
func TestRender(t *testing.T) {
	folding := newFolding(t)
	files, err := filepath.Glob("testdata/render/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		t.Run(name, func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := parseCase(archive)
			cfg := c.config(t)
			input := c["input.yaml"]
			out, results, err := fn.Render([]fn.Source{{Text: input}}, cfg)
			if err != nil {
				t.Fatal(err)
			}
			var report bytes.Buffer
			if err := fn.WriteText(&report, results); err != nil {
				t.Fatal(err)
			}
			got := map[string][]byte{"results": report.Bytes()}
			switch {
			case slices.Contains(standards, name):
				got["want.yaml"] = out
			case out != nil:
				got["want.diff"] = []byte(folding.diff(input, out))
			}
			if *update {
				rewriteCase(t, file, archive, got)
			} else {
				for _, section := range generated {
					compareSection(t, section, c[section], got[section])
				}
			}
			if results.Failed() || strings.Contains(string(input), "kind: ResourceList") {
				return
			}
			checkPromises(t, input, out, cfg)
		})
	}
}

// generated lists the sections of a case that the test writes with -update.
var generated = []string{"want.yaml", "want.diff", "results"}

func compareSection(t *testing.T, name string, want, got []byte) {
	t.Helper()
	if (want == nil) != (got == nil) {
		t.Errorf("section %s: wanted it: %t, got it: %t\n%s", name, want != nil, got != nil, got)
	} else if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("section %s (-want +got):\n%s", name, diff)
	}
}

// checkPromises checks what every render of a stream promises.
func checkPromises(t *testing.T, input, out []byte, cfg transformer.Config) {
	t.Helper()
	again, results, err := fn.Render([]fn.Source{{Text: out}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Code() == transformer.CodeReplayRenamed {
			t.Errorf("nobody renamed it after the render, but a result says so: %s", r.Message)
		}
	}
	if diff := cmp.Diff(string(out), string(again)); diff != "" {
		t.Errorf("rendering twice differs from rendering once (-once +twice):\n%s", diff)
	}
	back, undone, err := fn.Uninject([]fn.Source{{Text: out}})
	if err != nil {
		t.Fatal(err)
	}
	rendered := bytes.Contains(input, []byte("tapedeck.dev/undo")) || bytes.Contains(input, []byte("tapedeck.dev/created-for"))
	for _, r := range undone {
		if !rendered && r.Code() == transformer.CodeUndoEdited {
			t.Errorf("nobody edited it after the render, but a result says so: %s", r.Message)
		}
	}
	if !rendered && !bytes.Equal(back, input) {
		t.Errorf("uninject does not restore the input (-input +got):\n%s", cmp.Diff(string(input), string(back)))
	}
}

// renderCase holds the sections of a case.
type renderCase map[string][]byte

// config returns the configuration of a case. The default image is not that of this
// release, so that a release changes no case.
func (c renderCase) config(t testing.TB) transformer.Config {
	t.Helper()
	cfg := transformer.DefaultConfig()
	cfg.Image = "ghcr.io/tapedeck/tapedeck:v1"
	if text := c["config.yaml"]; text != nil {
		var err error
		if cfg, err = fn.LoadConfig(cfg, fn.Source{Name: "config.yaml", Text: text}); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

// render returns the rendered input of the case; nil if the render fails.
func (c renderCase) render(t testing.TB) []byte {
	t.Helper()
	out, _, err := fn.Render([]fn.Source{{Text: c["input.yaml"]}}, c.config(t))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func readCase(t testing.TB, file string) renderCase {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parseCase(archive)
}

func parseCase(a *txtar.Archive) renderCase {
	c := renderCase{}
	for _, f := range a.Files {
		c[f.Name] = f.Data
	}
	return c
}

func rewriteCase(t *testing.T, path string, a *txtar.Archive, sections map[string][]byte) {
	t.Helper()
	a.Files = slices.DeleteFunc(a.Files, func(f txtar.File) bool { return slices.Contains(generated, f.Name) })
	for _, name := range generated {
		if data := sections[name]; data != nil {
			a.Files = append(a.Files, txtar.File{Name: name, Data: data})
		}
	}
	if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}
