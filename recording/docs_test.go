package recording

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

const page = "../docs/recording-format.md"

// TestFormatPage checks the tables of the page against the structs, their
// comments, and the tables in the code.
func TestFormatPage(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	want := string(text)
	for name, table := range map[string]string{"fields": fieldTables(t, "exchange.go"), "counters": fieldTables(t, "counters.go"), "tags": tagTable()} {
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
		t.Errorf("%s is out of date; go test ./recording -update rewrites it\ncode (-) page (+):\n%s", page, diff)
	}
}

// fieldTables writes a table for each exported struct, from its comments and tags.
func fieldTables(t *testing.T, source string) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	titles := map[string]string{
		"Exchange": "", "HTTP": "`http`", "HTTPRequest": "`http.req`", "HTTPResponse": "`http.res`", "Conversation": "`grpc`, `websocket`, `tcp`",
		"Message": "`messages[]` of a conversation", "NetInfo": "`netinfo`", "Endpoint": "`netinfo.downstream`, `netinfo.upstream`",
		"Counters": "",
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		if !spec.Name.IsExported() {
			return false
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
			if f.Tag == nil || strings.Contains(f.Tag.Value, `"-"`) { // not in JSON
				continue
			}
			tag := reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json")
			name, options, _ := strings.Cut(tag, ",")
			doc := strings.Join(strings.Fields(f.Doc.Text()), " ")
			if doc == "" {
				t.Errorf("%s.%s has no comment", spec.Name.Name, name)
			}
			fmt.Fprintf(&out, "| `%s` | %s | %s |\n", name, jsonType(f.Type, options), doc)
		}
		return false
	})
	return out.String()
}

// jsonType names what a field is in JSON.
func jsonType(e ast.Expr, options string) string {
	switch x := e.(type) {
	case *ast.StarExpr:
		return "object"
	case *ast.ArrayType:
		if x.Elt.(*ast.Ident).Name == "byte" {
			return "base64"
		}
		return "list of objects"
	case *ast.MapType:
		return "object of base64"
	case *ast.SelectorExpr:
		return "time"
	case *ast.Ident:
		if strings.Contains(options, "string") {
			return "number, as a string"
		}
		if name, ok := map[string]string{"int": "number", "int64": "number", "uint64": "number", "bool": "boolean", "string": "string", "UUID": "base64",
			"Tags": "object of strings", "Headers": "object of lists of strings"}[x.Name]; ok {
			return name
		}
	}
	return "object"
}

func tagTable() string {
	var out strings.Builder
	out.WriteString("| tag | meaning |\n|---|---|\n")
	for _, tag := range TagDocs() {
		fmt.Fprintf(&out, "| `%s` | %s |\n", tag.Name, tag.Doc)
	}
	return out.String()
}
