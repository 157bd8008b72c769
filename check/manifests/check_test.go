package manifests_test

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/check/manifests"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/fn/kustomization"
	"github.com/tapedeck/tapedeck/transformer"
)

var update = flag.Bool("update", false, "rewrite the wanted halves of testdata")

// TestCheck runs the cases of testdata. Each is one file:
//
//	what the case shows
//	-- config.yaml --   configuration, optional
//	-- input.yaml --    manifests, and any other file; with kustomization.yaml it is built first
//	-- want --          the report
//
// The comment may have a line "only: AREA, …": then the report has no other areas. Every
// case also shows that findings that aren't fine have a fix, and that what is rendered
// already gives the same findings.
func TestCheck(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases found: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg := config(t, archive)
			report, err := manifests.Check(sources(t, archive), cfg)
			got := text(t, only(archive, report))
			if err != nil {
				got = "error: " + err.Error() + "\n"
			}
			if *update {
				put(archive, "want", got)
				if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(section(archive, "want"), got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			for _, f := range report.Findings {
				if f.State != check.OK && f.Fix == "" || f.Found == "" || f.Subject == "" || f.Area == "" {
					t.Errorf("finding without a fix, or another part: %+v", f)
				}
			}
			if err == nil {
				renderedTheSame(t, archive, cfg, report)
			}
		})
	}
}

// renderedTheSame checks that rendered manifests have the findings of the original ones, except
// for the one that says which of the two they are.
func renderedTheSame(t *testing.T, archive *txtar.Archive, cfg transformer.Config, want check.Report) {
	t.Helper()
	out, results, err := fn.Render(sources(t, archive), cfg)
	if err != nil {
		t.Fatal(err)
	}
	if results.Failed() || bytes.Contains(out, []byte("kind: ResourceList")) || strings.Contains(string(archive.Comment), "rendered") {
		return
	}
	got, err := manifests.Check([]fn.Source{{Text: out}}, cfg)
	if err != nil {
		t.Fatal(err)
	}
	strip := func(r check.Report) (kept []check.Finding) {
		for _, f := range r.Findings {
			if f.Code != string(transformer.CodeInjected) && f.Area != check.Input {
				kept = append(kept, f)
			}
		}
		return kept
	}
	if diff := cmp.Diff(strip(want), strip(got)); diff != "" {
		t.Errorf("rendered manifests (-original +rendered):\n%s", diff)
	}
}

func config(t *testing.T, archive *txtar.Archive) transformer.Config {
	t.Helper()
	cfg := transformer.DefaultConfig()
	if s := section(archive, "config.yaml"); s != "" {
		var err error
		if cfg, err = fn.LoadConfig(cfg, fn.Source{Name: "config.yaml", Text: []byte(s)}); err != nil {
			t.Fatal(err)
		}
	}
	return cfg
}

// sources are the manifests of a case.
func sources(t *testing.T, archive *txtar.Archive) (all []fn.Source) {
	t.Helper()
	if section(archive, "kustomization.yaml") != "" {
		dir := t.TempDir()
		for _, f := range archive.Files {
			if err := os.WriteFile(filepath.Join(dir, f.Name), f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		built, _, err := kustomization.Build(dir, kustomization.Options{})
		if err != nil {
			t.Fatal(err)
		}
		return []fn.Source{{Text: built}}
	}
	for _, f := range archive.Files {
		if f.Name != "want" && f.Name != "config.yaml" {
			all = append(all, fn.Source{Name: f.Name, Text: f.Data})
		}
	}
	return all
}

// only keeps the areas that a case is about.
func only(archive *txtar.Archive, r check.Report) (kept check.Report) {
	_, list, found := strings.Cut(string(archive.Comment), "\nonly: ")
	list, _, _ = strings.Cut(list, "\n")
	for _, f := range r.Findings {
		if !found || strings.Contains(list, f.Area) {
			kept.Add(f)
		}
	}
	return kept
}

func section(archive *txtar.Archive, name string) string {
	for _, f := range archive.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}

func put(archive *txtar.Archive, name, text string) {
	for i, f := range archive.Files {
		if f.Name == name {
			archive.Files[i].Data = []byte(text)
			return
		}
	}
	archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(text)})
}

func text(t *testing.T, r check.Report) string {
	t.Helper()
	form, err := check.FormNamed("text")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := form.Write(&b, r, check.Options{}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestNoWorkload(t *testing.T) {
	_, err := manifests.Check([]fn.Source{{Text: []byte("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n")}}, transformer.DefaultConfig())
	if !errors.Is(err, manifests.ErrNoWorkload) {
		t.Errorf("found %v, want %v", err, manifests.ErrNoWorkload)
	}
}

// The page shows what a check prints.
func TestPage(t *testing.T) {
	archive, err := txtar.ParseFile("testdata/page.txtar")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/check.md")
	if err != nil {
		t.Fatal(err)
	}
	findings, _, _ := strings.Cut(section(archive, "want"), "\n\n")
	if !strings.Contains(string(page), "```\n"+findings+"\n```\n") {
		t.Errorf("docs/check.md does not show this:\n%s", findings)
	}
}
