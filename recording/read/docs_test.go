package read

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/docpage"
)

var update = flag.Bool("update", false, "rewrite the table of findings in docs")

// TestFindingsPage checks the table of findings in the format's documentation against Kinds.
func TestFindingsPage(t *testing.T) {
	var table strings.Builder
	table.WriteString("| finding | is | meaning |\n|---|---|---|\n")
	for kind, doc := range Kinds() {
		if doc.Name == "" || doc.One == "" || doc.Many == "" || doc.Doc == "" {
			t.Errorf("kind %d is not described", kind)
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", doc.One, map[Severity]string{Normal: "normal", Gap: "a gap", Damage: "damage"}[doc.Severity], doc.Doc)
	}
	docpage.Tables(t, "../../docs/recording-format.md", *update, map[string]string{"findings": table.String()})
}
