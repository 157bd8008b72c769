// Package duckdb queries a recording of the real writer with a real DuckDB: 100,000 exchanges of
// every protocol, from several pods, hours and clusters.
//
//	spool ──▶ recordings/cluster=…/…jsonl.zst ──▶ DuckDB ─┐
//	  └─────▶ what was written, in memory ────────────────┴▶ the same answers
//
// docs_test.go runs every query that docs/queries.md and docs/recording-format.md show, and
// compares its answer with what Go computes. drift_test.go queries files that differ from each
// other, and from the columns file.
//
// It is a separate module because DuckDB is C++, and needs CGO_ENABLED=1 and g++.
package duckdb
