package snapshot

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the tables in docs")

const page = "../docs/snapshots.md"

// TestSnapshotPage checks the tables of the page against the rules, and against the
// structs of the manifest and their comments.
func TestSnapshotPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for name, table := range map[string]string{"rules": rulesTable(), "manifest": manifestTables(t)} {
		before, rest, ok := strings.Cut(want, "<!-- "+name+" -->\n")
		_, after, ok2 := strings.Cut(rest, "<!-- /"+name+" -->")
		if !ok || !ok2 {
			t.Fatalf("%s lacks the marks of %s", page, name)
		}
		want = before + "<!-- " + name + " -->\n" + table + "<!-- /" + name + " -->" + after
	}
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(want, string(text)); diff != "" {
		t.Errorf("%s is out of date; go test ./snapshot -update rewrites it\ncode (-) page (+):\n%s", page, diff)
	}
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

// manifestTables writes a table for each struct of the manifest.
func manifestTables(t *testing.T) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "snapshot.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	titles := map[string]string{"Manifest": "", "From": "`from`", "Counts": "`counts`", "Count": "`counts.…[]`", "Rest": "`counts.rest`",
		"RuleCount": "`leftOut[]`", "Capture": "`capture`", "File": "`files[]`"}
	var out strings.Builder
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		title, ok := titles[spec.Name.Name]
		if !ok {
			t.Errorf("struct %s has no title", spec.Name.Name)
		}
		if title != "" {
			fmt.Fprintf(&out, "\n### %s\n\n", title)
		}
		out.WriteString("| field | type | meaning |\n|---|---|---|\n")
		for _, f := range spec.Type.(*ast.StructType).Fields.List {
			name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json"), ",")
			doc := strings.Join(strings.Fields(f.Doc.Text()), " ")
			if doc == "" {
				t.Errorf("%s.%s has no comment", spec.Name.Name, name)
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", name, jsonType(f.Type), doc)
		}
		return false
	})
	return out.String()
}

// jsonType names what a field is in JSON.
func jsonType(e ast.Expr) string {
	switch x := e.(type) {
	case *ast.ArrayType:
		if name, ok := x.Elt.(*ast.Ident); ok && name.Name == "string" {
			return "list of strings"
		}
		return "list of objects"
	case *ast.MapType:
		if x.Value.(*ast.Ident).Name == "string" {
			return "object of strings"
		}
		return "object of numbers"
	case *ast.SelectorExpr:
		return "time"
	case *ast.Ident:
		if name, ok := map[string]string{"int": "number", "int64": "number", "uint64": "number", "bool": "boolean", "string": "string"}[x.Name]; ok {
			return name
		}
	}
	return "object"
}
