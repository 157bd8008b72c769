package manifests_test

import (
	"errors"
	"path/filepath"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/tapedeck/tapedeck/check"
	"github.com/tapedeck/tapedeck/check/manifests"
	"github.com/tapedeck/tapedeck/fn"
	"github.com/tapedeck/tapedeck/transformer"
)

// FuzzCheck checks input that need not be a manifest. The check never fails, and every finding
// that isn't fine has a fix.
func FuzzCheck(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add([]byte(section(archive, "input.yaml")))
	}
	f.Fuzz(func(t *testing.T, input []byte) {
		report, err := manifests.Check([]fn.Source{{Text: input}}, transformer.DefaultConfig())
		if err != nil {
			if !errors.Is(err, manifests.ErrNoWorkload) {
				t.Fatal(err)
			}
			return
		}
		for _, f := range report.Findings {
			if f.State != check.OK && f.Fix == "" || f.Found == "" || f.Subject == "" || f.Area == "" {
				t.Errorf("finding without a fix, or another part: %+v", f)
			}
		}
	})
}
