// Package docpage keeps the tables of hand-written pages equal to those in the code. Only tests use it.
// A table is between two marks:
//
//	<!-- NAME -->
//	| … |
//	<!-- /NAME -->
//
// It imports the standard library and go-cmp.
package docpage

import (
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

// Fill returns the page with each table between the marks with its name.
func Fill(page string, tables map[string]string) (string, error) {
	file, err := os.ReadFile(page)
	if err != nil {
		return "", err
	}
	text := string(file)
	for name, table := range tables {
		begin, end := "<!-- "+name+" -->\n", "<!-- /"+name+" -->"
		before, rest, ok := strings.Cut(text, begin)
		_, after, ok2 := strings.Cut(rest, end)
		if !ok || !ok2 {
			return "", fmt.Errorf("%s has no marks for %s", page, name)
		}
		text = before + begin + table + end + after
	}
	return text, nil
}

// Tables fails the test if a table of the page differs from the table in the code. If update is set, it
// writes the page instead.
func Tables(t *testing.T, page string, update bool, tables map[string]string) {
	t.Helper()
	want, err := Fill(page, tables)
	if err != nil {
		t.Fatal(err)
	}
	Is(t, page, update, want)
}

// Is fails the test if the file differs from the text. If update is set, it writes the file instead.
func Is(t *testing.T, name string, update bool, want string) {
	t.Helper()
	if update {
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
		t.Errorf("%s is out of date; go test -update in this package rewrites it\ncode (-) page (+):\n%s", name, diff)
	}
}

// Structs returns a table for each exported struct of a source file, from the comments and the JSON tags
// of its fields, under its title in titles. Each struct needs a title, which may be "", and each field
// needs a comment.
func Structs(t *testing.T, source string, titles map[string]string) string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
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
			name, options, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json"), ",")
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

// types has the JSON types of named types.
var types = map[string]string{"int": "integer", "int64": "integer", "uint64": "integer", "bool": "boolean", "string": "string",
	"UUID": "base64", "Tags": "object of strings", "Headers": "object of lists of strings"}

// jsonType returns the JSON type of a field.
func jsonType(e ast.Expr, options string) string {
	switch x := e.(type) {
	case *ast.ArrayType:
		switch nameOf(x.Elt) {
		case "byte":
			return "base64"
		case "string":
			return "list of strings"
		}
		return "list of objects"
	case *ast.MapType:
		switch nameOf(x.Value) {
		case "": // []byte
			return "object of base64"
		case "string":
			return "object of strings"
		}
		return "object of integers"
	case *ast.SelectorExpr:
		return "time"
	case *ast.Ident:
		if strings.Contains(options, "string") {
			return "integer, as a string"
		}
		if name, ok := types[x.Name]; ok {
			return name
		}
	}
	return "object"
}

// nameOf returns the name of a type, "" if it has none.
func nameOf(e ast.Expr) string {
	if name, ok := e.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}
