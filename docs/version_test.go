package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/docpage"
)

// describes is the line below the title of every page that names the version.
const describes = "*This page describes Tapedeck " + contract.Release + ".*\n"

// named lists where files name the release of the tree: the first group of a match has the
// version, without the v.
var named = []struct{ files, pattern string }{
	{"../plugin/plugin.yaml", `(?m)^version: (\S+)$`},
	{"../README.md", `This describes Tapedeck v(\S+)\.\n`},
	{"../README.md", contract.Repository + `:v(\S+)`},
	{"argocd.md", contract.Repository + `:v(\S+)`},
	{"../deploy/collector/base/co*.yaml", `image: ` + contract.Repository + `:v?(\S+)`},
	{"../examples/shop/*/*.yaml", contract.Repository + `:v([^\s},]+)`},
	{"../deploy/component/*.yaml", `(?:\?ref=|` + contract.Repository + `:)v(\S+)`},
	{"../deploy/kpt/*.*", `(?:tree/|blob/|` + contract.Repository + `:)v(\d[^\s/]*)`},
	{"../deploy/kpt/examples/*/Kptfile", contract.Repository + `:v(\S+)`},
	{"../deploy/kpt/examples/*/.expected/diff.patch", contract.Repository + `:v([^\s",}]+)`},
	{"../deploy/kpt/examples/*/README.md", `(?:tree/|@)v(\d[^\s/]*)`},
	{"helm.md", `tapedeck-(\d+\.\d+\.\d+\S*)-linux-amd64\.tgz`},
	{"kpt.md", contract.Repository + `:v(\S+)`},
	{"kustomize.md", `(?:\?ref=|` + contract.Repository + `:)v(\S+)`},
}

// TestFilesNameTheReleaseOfTheTree compares the versions in files with the one definition,
// contract.Release. With -update it writes the version there.
func TestFilesNameTheReleaseOfTheTree(t *testing.T) {
	for _, n := range named {
		files, err := filepath.Glob(n.files)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: no such file (%v)", n.files, err)
		}
		names := 0
		for _, file := range files {
			text := read(t, file)
			var want strings.Builder
			rest := 0
			for _, at := range regexp.MustCompile(n.pattern).FindAllStringSubmatchIndex(text, -1) {
				names++
				want.WriteString(text[rest:at[2]] + strings.TrimPrefix(contract.Release, "v"))
				rest = at[3]
			}
			docpage.Is(t, file, *update, want.String()+text[rest:])
		}
		if names == 0 {
			t.Errorf("%s names no version: want %s", n.files, n.pattern)
		}
	}
}

func TestEveryPageNamesTheVersionThatItDescribes(t *testing.T) {
	pages, err := filepath.Glob("*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("found no pages (%v)", err)
	}
	for _, page := range pages {
		docpage.Is(t, page, *update, describing(read(t, page)))
	}
}

func TestTheIndexListsEveryPage(t *testing.T) {
	pages, err := filepath.Glob("*.*")
	if err != nil {
		t.Fatal(err)
	}
	index := read(t, "README.md")
	for _, page := range pages {
		if page != "README.md" && !strings.HasSuffix(page, ".go") && !strings.Contains(index, "]("+page+")") {
			t.Errorf("README.md has no link to %s", page)
		}
	}
}

// describing returns a page with describes below its title, once.
func describing(page string) string {
	page = regexp.MustCompile(`(?m)^\*This page describes Tapedeck \S+\.\*\n\n?`).ReplaceAllString(page, "")
	title := regexp.MustCompile(`(?m)^# .*\n`).FindStringIndex(page)
	if title == nil {
		return "no title\n" + page
	}
	return page[:title[1]] + "\n" + describes + page[title[1]:]
}

// A release has a section in the list of changes. It is the first one, except for the section of
// unreleased changes.
func TestTheChangesOfTheReleaseAreListed(t *testing.T) {
	first := ""
	for line := range strings.Lines(read(t, "../CHANGELOG.md")) {
		if title, ok := strings.CutPrefix(line, "## "); ok && title != "Unreleased\n" {
			first = strings.TrimSpace(title)
			break
		}
	}
	if want := strings.TrimPrefix(contract.Release, "v"); first != want {
		t.Errorf("the first version in CHANGELOG.md is %q, and this tree is %s", first, want)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
