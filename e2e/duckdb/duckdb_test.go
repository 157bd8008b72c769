package duckdb

import (
	"context"
	"database/sql"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	_ "github.com/duckdb/duckdb-go/v2"
)

// session is a separate DuckDB, like the shell.
type session struct {
	*sql.Conn
}

func open(t *testing.T) session {
	t.Helper()
	db, err := sql.Open("duckdb", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return session{conn}
}

// run runs statements, and returns the answer of the last one, each value as text. A line `.read
// FILE` is a command of the shell.
func (s session) run(ctx context.Context, statements string) (rows []string, err error) {
	var text strings.Builder
	for line := range strings.Lines(statements) {
		if name, ok := strings.CutPrefix(line, ".read "); ok {
			file, err := os.ReadFile(filepath.FromSlash(strings.TrimSpace(name)))
			if err != nil {
				return nil, err
			}
			line = string(file)
		}
		text.WriteString(line)
	}
	found, err := s.QueryContext(ctx, text.String())
	if err != nil {
		return nil, err
	}
	defer found.Close()
	names, err := found.Columns()
	if err != nil {
		return nil, err
	}
	for found.Next() {
		values, into := make([]any, len(names)), make([]any, len(names))
		for i := range values {
			into[i] = &values[i]
		}
		if err := found.Scan(into...); err != nil {
			return nil, err
		}
		rows = append(rows, line(values...))
	}
	return rows, found.Err()
}

func (s session) mustRun(t *testing.T, statements string) []string {
	t.Helper()
	rows, err := s.run(t.Context(), statements)
	if err != nil {
		t.Fatalf("%s\n%v", statements, err)
	}
	return rows
}

// line writes a row of an answer, or of the expected answer.
func line(values ...any) string {
	texts := make([]string, len(values))
	for i, v := range values {
		switch v := v.(type) {
		case nil:
			texts[i] = "NULL"
		case time.Time:
			texts[i] = v.UTC().Truncate(time.Microsecond).Format(time.RFC3339Nano)
		case []any:
			texts[i] = "[" + line(v...) + "]"
		case *big.Int:
			texts[i] = v.String()
		default:
			texts[i] = fmt.Sprint(v)
		}
	}
	return strings.Join(texts, " | ")
}
