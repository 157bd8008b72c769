package columns

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/docpage"
	"github.com/tapedeck/tapedeck/recording"
)

var update = flag.Bool("update", false, "rewrite duckdb.sql and the columns in docs")

const page = "../../docs/queries.md"

// TestColumns checks everything that lists the columns against the structs.
func TestColumns(t *testing.T) {
	columns := append(fields(t, reflect.TypeFor[recording.Exchange]()), column{"counters", typ{object, fields(t, reflect.TypeFor[recording.Counters]())}})
	for _, list := range []struct {
		file, begin, end string
		in               dialect
	}{
		{"duckdb.sql", "columns = {\n", "\n    },", duckDB},
		{page, "CREATE EXTERNAL TABLE recording (\n", "\n)\nPARTITIONED BY", hive},
		{page, "CREATE TABLE recording (\n", ",\n  cluster varchar", trino},
		{page, "'JSONEachRow', '\n", "\n'", clickHouse},
		{page, "schema = \"\"\"\n", "\n\"\"\"", spark},
	} {
		t.Run(list.in.name, func(t *testing.T) {
			text, err := os.ReadFile(list.file)
			if err != nil {
				t.Fatal(err)
			}
			before, rest, ok := strings.Cut(string(text), list.begin)
			_, after, ok2 := strings.Cut(rest, list.end)
			if !ok || !ok2 {
				t.Fatalf("%s has nothing between %q and %q", list.file, list.begin, list.end)
			}
			want := before + list.begin + list.in.columns(columns) + list.end + after
			docpage.Is(t, list.file, *update, want)
		})
	}
}

// column is a member of an object.
type column struct {
	name string
	typ  typ
}

type typ struct {
	kind   kind
	fields []column // of an object
}

type kind int

const (
	text kind = iota
	texts
	timestamp
	integer
	unsigned
	count // a number in a JSON string
	boolean
	object
	objects
	textByName
	textsByName
)

// partitioned are the columns that come from directory names. An engine rejects or
// ignores them in the files.
var partitioned = map[string]bool{"cluster": true, "namespace": true}

// fields lists the members that a struct has in JSON.
func fields(t *testing.T, of reflect.Type) (all []column) {
	t.Helper()
	for i := range of.NumField() {
		f := of.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if !f.IsExported() || name == "-" || of == reflect.TypeFor[recording.Exchange]() && partitioned[name] {
			continue
		}
		all = append(all, column{name, typeOf(t, f.Type, options)})
	}
	return all
}

func typeOf(t *testing.T, of reflect.Type, options string) typ {
	t.Helper()
	switch of {
	case reflect.TypeFor[time.Time]():
		return typ{kind: timestamp}
	case reflect.TypeFor[recording.UUID](), reflect.TypeFor[[]byte]():
		return typ{kind: text}
	case reflect.TypeFor[[]string]():
		return typ{kind: texts}
	case reflect.TypeFor[recording.Tags](), reflect.TypeFor[map[string][]byte]():
		return typ{kind: textByName}
	case reflect.TypeFor[recording.Headers]():
		return typ{kind: textsByName}
	}
	switch of.Kind() {
	case reflect.String:
		return typ{kind: text}
	case reflect.Bool:
		return typ{kind: boolean}
	case reflect.Int, reflect.Int64:
		if strings.Contains(options, "string") {
			return typ{kind: count}
		}
		return typ{kind: integer}
	case reflect.Uint64:
		return typ{kind: unsigned}
	case reflect.Pointer:
		return typeOf(t, of.Elem(), options)
	case reflect.Struct:
		return typ{object, fields(t, of)}
	case reflect.Slice:
		if of.Elem().Kind() == reflect.Struct {
			return typ{objects, fields(t, of.Elem())}
		}
	}
	t.Fatalf("no column type for %v", of)
	return typ{}
}

// dialect says how an engine writes columns and types. Each list of columns is indented for its
// place.
type dialect struct {
	name                                               string
	column                                             string // of its name and type
	member                                             string // of an object: of its name and type
	object                                             string // of its members
	list                                               string // of the type of its elements
	byName                                             string // map of texts to the type of its values
	text, timestamp, integer, unsigned, count, boolean string
}

// No test runs engines other than DuckDB. They get text where one of them
// is known to reject what the files have: a number in a string, or a time with
// nanoseconds.
var (
	duckDB = dialect{
		name: "duckdb", column: "      %q: '%s'", member: "%q %s", object: "STRUCT(%s)", list: "%s[]", byName: "MAP(VARCHAR, %s)",
		text: "VARCHAR", timestamp: "TIMESTAMP", integer: "BIGINT", unsigned: "UBIGINT", count: "BIGINT", boolean: "BOOLEAN",
	}
	hive = dialect{
		name: "hive", column: "  `%s` %s", member: "`%s`: %s", object: "struct<%s>", list: "array<%s>", byName: "map<string, %s>",
		text: "string", timestamp: "string", integer: "bigint", unsigned: "bigint", count: "string", boolean: "boolean",
	}
	trino = dialect{
		name: "trino", column: "  %q %s", member: "%q %s", object: "row(%s)", list: "array(%s)", byName: "map(varchar, %s)",
		text: "varchar", timestamp: "varchar", integer: "bigint", unsigned: "bigint", count: "varchar", boolean: "boolean",
	}
	clickHouse = dialect{
		name: "clickhouse", column: "  `%s` %s", member: "`%s` %s", object: "Tuple(%s)", list: "Array(%s)", byName: "Map(String, %s)",
		text: "String", timestamp: "String", integer: "Int64", unsigned: "UInt64", count: "String", boolean: "Bool",
	}
	spark = dialect{
		name: "spark", column: "  `%s` %s", member: "`%s`: %s", object: "STRUCT<%s>", list: "ARRAY<%s>", byName: "MAP<STRING, %s>",
		text: "STRING", timestamp: "STRING", integer: "BIGINT", unsigned: "BIGINT", count: "STRING", boolean: "BOOLEAN",
	}
)

func (d dialect) columns(all []column) string { return d.join(d.column, all, ",\n") }

func (d dialect) join(format string, all []column, separator string) string {
	var out []string
	for _, c := range all {
		out = append(out, fmt.Sprintf(format, c.name, d.typ(c.typ)))
	}
	return strings.Join(out, separator)
}

func (d dialect) typ(t typ) string {
	switch t.kind {
	case object:
		return fmt.Sprintf(d.object, d.join(d.member, t.fields, ", "))
	case objects:
		return fmt.Sprintf(d.list, d.typ(typ{object, t.fields}))
	case texts:
		return fmt.Sprintf(d.list, d.text)
	case textByName:
		return fmt.Sprintf(d.byName, d.text)
	case textsByName:
		return fmt.Sprintf(d.byName, fmt.Sprintf(d.list, d.text))
	}
	return map[kind]string{text: d.text, timestamp: d.timestamp, integer: d.integer, unsigned: d.unsigned, count: d.count, boolean: d.boolean}[t.kind]
}
