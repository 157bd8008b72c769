package rewrite

import (
	"encoding/json"
	"flag"
	"fmt"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/docpage"
)

var update = flag.Bool("update", false, "rewrite the tables and the schema in docs")

const (
	page   = "../../docs/snapshots.md"
	schema = "../../docs/redact-rules.schema.json"
)

// TestRulesPage checks the tables of the page, and the schema, against the tables in the code.
func TestRulesPage(t *testing.T) {
	docpage.Tables(t, page, *update, map[string]string{"fields": fieldsTable(), "actions": actionsTable()})
	s, err := json.MarshalIndent(Schema(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	docpage.Is(t, schema, *update, string(s)+"\n")
}

func fieldsTable() string {
	var b strings.Builder
	b.WriteString("| member | value | what it does | example |\n|---|---|---|---|\n")
	for _, f := range Fields() {
		kind := "text"
		if f.List {
			kind = "text, or a list of texts"
		}
		fmt.Fprintf(&b, "| `%s` | %s: %s | %s | `%s: %s` |\n", f.Name, kind, f.Allowed, f.Doc, f.Name, f.Example)
	}
	return b.String()
}

func actionsTable() string {
	var b strings.Builder
	b.WriteString("| `do` | what it does |\n|---|---|\n")
	for _, a := range Actions() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", a.Name, a.Doc)
	}
	return b.String()
}
