// Package columns holds the file that gives a recording's columns to DuckDB, so that
// queries don't depend on the types that DuckDB would infer from the first lines.
//
// Whoever writes to a place puts the file at its root, unless one is there. It never
// decides whether a recording succeeds: without it, everything but SQL works.
//
// The file is generated from [recording.Exchange] and [recording.Counters]; a test
// fails when it is out of date. The package imports the standard library alone.
package columns

import _ "embed"

// Name is the file's key in a place. Spark, Athena, Trino and Hive ignore names that
// begin with an underscore.
const Name = "_duckdb.sql"

//go:embed duckdb.sql
var duckdb string

// File returns the file's content, about 4 KiB of SQL. It is the caller's to keep.
func File() []byte { return []byte(duckdb) }
