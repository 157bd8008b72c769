package rewrite

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the tables and the schema in docs")

const (
	page   = "../../docs/snapshots.md"
	schema = "../../docs/redact-rules.schema.json"
)

// TestRulesPage checks the tables of the page, and the schema, against the tables in the
// code.
func TestRulesPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for name, table := range map[string]string{"fields": fieldsTable(), "actions": actionsTable()} {
		before, rest, ok := strings.Cut(want, "<!-- "+name+" -->\n")
		_, after, ok2 := strings.Cut(rest, "<!-- /"+name+" -->")
		if !ok || !ok2 {
			t.Fatalf("%s lacks the marks of %s", page, name)
		}
		want = before + "<!-- " + name + " -->\n" + table + "<!-- /" + name + " -->" + after
	}
	check(t, page, want)
	s, err := json.MarshalIndent(Schema(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	check(t, schema, string(s)+"\n")
}

func check(t *testing.T, name, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("%s is out of date; go test ./recording/rewrite -update rewrites it\ncode (-) page (+):\n%s", name, diff)
	}
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
