// Package columns holds the file that declares the columns of a recording for DuckDB. With it, queries
// don't depend on the types that DuckDB would infer from the first lines.
//
// Programs that write to a place store the file at its root unless it exists. If that fails, recording
// continues, because only SQL needs the file.
//
// The file is generated from [recording.Exchange] and [recording.Counters], and a test fails if it is
// out of date. The package imports only the standard library.
package columns

import _ "embed"

// Name is the key of the file in a place. Spark, Athena, Trino and Hive ignore names that begin with an
// underscore.
const Name = "_duckdb.sql"

//go:embed duckdb.sql
var duckdb string

// File returns the content of the file, about 4 KiB of SQL. The caller owns it.
func File() []byte { return []byte(duckdb) }
