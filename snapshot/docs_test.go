package snapshot

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/docpage"
)

var update = flag.Bool("update", false, "rewrite the tables in docs")

const page = "../docs/snapshots.md"

// TestSnapshotPage checks the tables of the page against the rules, and against the
// structs of the manifest and their comments.
func TestSnapshotPage(t *testing.T) {
	docpage.Tables(t, page, *update, map[string]string{
		"rules": rulesTable(),
		"manifest": docpage.Structs(t, "snapshot.go", map[string]string{"Manifest": "", "From": "`from`", "Counts": "`counts`", "Count": "`counts.…[]`",
			"Rest": "`counts.rest`", "RuleCount": "`leftOut[]`", "Capture": "`capture`", "Pod": "`pods[]`", "File": "`files[]`"}),
	})
}

func rulesTable() string {
	var b strings.Builder
	b.WriteString("| rule | what it leaves out | how it knows |\n|---|---|---|\n")
	for _, r := range Rules() {
		how := r.Mark
		if r.Filter != "" {
			how = "`" + strings.ReplaceAll(r.Filter, "\n", "`<br>`") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.Name, r.Doc, how)
	}
	return b.String()
}
