package ship

import (
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/docpage"
)

var update = flag.Bool("update", false, "rewrite the table in docs")

func TestThePageHasEachReason(t *testing.T) {
	var table strings.Builder
	table.WriteString("| reason | the segment | meaning |\n|---|---|---|\n")
	for _, r := range Reasons() {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", r.Code, r.Then, r.Doc)
	}
	docpage.Tables(t, "../../docs/sidecar.md", *update, map[string]string{"shipping": table.String()})
}
