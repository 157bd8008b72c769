package fn_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
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
//	-- input.yaml --    what comes in
//	-- want.yaml --     what comes out, absent where nothing may
//	-- results --       the report
//
// Every case also shows that rendering again changes nothing, and that taking
// the render back gives the input, byte for byte.
func TestRender(t *testing.T) {
	files, err := filepath.Glob("testdata/render/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := parseCase(archive)
			cfg := configOf(t, c)
			input := c["input.yaml"]
			out, results, err := fn.Render([]fn.Source{{Text: input}}, cfg)
			if err != nil {
				t.Fatal(err)
			}
			var report bytes.Buffer
			if err := fn.WriteText(&report, results); err != nil {
				t.Fatal(err)
			}
			if *update {
				rewriteCase(t, file, archive, map[string][]byte{"want.yaml": out, "results": report.Bytes()})
			}
			if diff := cmp.Diff(string(c["want.yaml"]), string(out)); diff != "" && !*update {
				t.Errorf("output (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(string(c["results"]), report.String()); diff != "" && !*update {
				t.Errorf("results (-want +got):\n%s", diff)
			}
			if results.Failed() || strings.Contains(string(input), "kind: ResourceList") {
				return
			}
			checkPromises(t, input, out, cfg)
		})
	}
}

// checkPromises asserts what holds for every render of a stream.
func checkPromises(t *testing.T, input, out []byte, cfg transformer.Config) {
	t.Helper()
	again, results, err := fn.Render([]fn.Source{{Text: out}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if r.Code() == transformer.CodeReplayRenamed {
			t.Errorf("nobody renamed it since the render, and a result says so: %s", r.Message)
		}
	}
	if diff := cmp.Diff(string(out), string(again)); diff != "" {
		t.Errorf("rendering twice differs from rendering once (-once +twice):\n%s", diff)
	}
	back, _, err := fn.Uninject([]fn.Source{{Text: out}})
	if err != nil {
		t.Fatal(err)
	}
	rendered := bytes.Contains(input, []byte("tapedeck.dev/undo")) || bytes.Contains(input, []byte("tapedeck.dev/created-for"))
	if !rendered && !bytes.Equal(back, input) {
		t.Errorf("uninject does not give the input back (-input +got):\n%s", cmp.Diff(string(input), string(back)))
	}
}

// configOf is the configuration of a case. The default image is not that of this release,
// so that a release changes no case.
func configOf(t testing.TB, c map[string][]byte) transformer.Config {
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

func readCase(t testing.TB, file string) map[string][]byte {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parseCase(archive)
}

func parseCase(a *txtar.Archive) map[string][]byte {
	c := map[string][]byte{}
	for _, f := range a.Files {
		c[f.Name] = f.Data
	}
	return c
}

func rewriteCase(t *testing.T, path string, a *txtar.Archive, sections map[string][]byte) {
	t.Helper()
	for _, name := range []string{"want.yaml", "results"} {
		i := 0
		for i < len(a.Files) && a.Files[i].Name != name {
			i++
		}
		data := sections[name]
		switch {
		case data == nil && i < len(a.Files):
			a.Files = append(a.Files[:i], a.Files[i+1:]...)
		case data == nil:
		case i < len(a.Files):
			a.Files[i].Data = data
		default:
			a.Files = append(a.Files, txtar.File{Name: name, Data: data})
		}
	}
	if err := os.WriteFile(path, txtar.Format(a), 0o644); err != nil {
		t.Fatal(err)
	}
}
