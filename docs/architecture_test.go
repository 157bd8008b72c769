package docs_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestArchitectureNamesWhatThereIs finds each file and folder that ARCHITECTURE.md and
// CONTRIBUTING.md name. A cell or a paragraph may name a folder first, and then what is in
// it, as in "`replay`: `plan`, `schedule`".
func TestArchitectureNamesWhatThereIs(t *testing.T) {
	code := regexp.MustCompile("`([^`\n]+)`")
	path := regexp.MustCompile(`^[a-z0-9_.-]+(/[A-Za-z0-9_.*-]+)*$`)
	exists := func(name string) bool {
		found, err := filepath.Glob(filepath.Join("..", name))
		return err == nil && len(found) > 0
	}
	_, where, _ := strings.Cut(read(t, "../ARCHITECTURE.md"), "\n## Where each behaviour lives\n")
	where, rest, _ := strings.Cut(where, "\n## ")
	rows := 0
	for row := range strings.Lines(where) {
		cells := strings.Split(row, "|")
		if len(cells) != 4 || !strings.Contains(cells[2], "`") {
			continue
		}
		rows++
		folder := ""
		for _, named := range code.FindAllStringSubmatch(cells[2], -1) {
			switch name := named[1]; {
			case exists(name):
				folder = name
				if strings.HasSuffix(name, ".go") {
					folder = filepath.Dir(name)
				}
			case folder == "" || !exists(filepath.Join(folder, name)):
				t.Errorf("ARCHITECTURE.md: there is no %s, in the row about %s", name, strings.TrimSpace(cells[1]))
			}
		}
	}
	if rows < 20 {
		t.Errorf("found %d rows in ARCHITECTURE.md's first table", rows)
	}
	for name, text := range map[string]string{"ARCHITECTURE.md": rest, "CONTRIBUTING.md": read(t, "../CONTRIBUTING.md")} {
		for _, named := range code.FindAllStringSubmatch(text, -1) {
			p := named[1]
			if !path.MatchString(p) || !strings.Contains(p, "/") && !strings.HasSuffix(p, ".go") || strings.HasPrefix(p, "tapedeck.dev/") || strings.HasSuffix(p, "/NAME") {
				continue
			}
			if !exists(p) && !exists(filepath.Join("transformer", p)) {
				t.Errorf("%s: there is no %s", name, p)
			}
		}
	}
}
