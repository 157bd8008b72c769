package read

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the table of findings in docs")

// TestFindingsPage checks the table of findings in the page on the format against Kinds.
func TestFindingsPage(t *testing.T) {
	const page, begin, end = "../../docs/recording-format.md", "<!-- findings -->\n", "<!-- /findings -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| finding | is | meaning |\n|---|---|---|\n")
	for kind, doc := range Kinds() {
		if doc.Name == "" || doc.One == "" || doc.Many == "" || doc.Doc == "" {
			t.Errorf("kind %d is not described", kind)
		}
		fmt.Fprintf(&table, "| %s | %s | %s |\n", doc.One, map[Severity]string{Normal: "normal", Gap: "a gap", Damage: "damage"}[doc.Severity], doc.Doc)
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s lacks the marks of findings", page)
	}
	want := before + begin + table.String() + end + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("%s is out of date; go test ./recording/read -run FindingsPage -update rewrites it\ncode (-) page (+):\n%s", page, diff)
	}
}
