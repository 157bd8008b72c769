// Package recording defines the exchange: one request with its answer, one
// WebSocket or gRPC conversation, one stretch of a TCP stream. It holds the format
// of exchanges on disk. Its folders do the rest:
//
//	decoder ──*Exchange──▶ redact ──▶ spool ─────────────────────▶ directory
//	           borrowed    secrets    queue: bounded, never waits   cluster=…/namespace=…/
//	           for the     become     segments: zstd, size and      workload=…/date=…/hour=…
//	           call        tokens     age limits
//
//	directory, bucket, files of other tools ──▶ read ──▶ inspect and every other command
//	                                            by query, in order, conversations
//	                                            put together, with a report
//
// It promises:
//
//   - The format is RRPair JSON lines, described field by field in
//     docs/recording-format.md. Any JSON tool reads it.
//   - Encoding equals what encoding/json makes of an exchange, and allocates nothing.
//   - Decoding what was encoded equals what encoding/json makes of it, and takes a tenth of
//     the time. Members that others wrote are kept, or their loss is named.
//   - A [Reader] reads one segment up to a torn tail, in bounds of memory, whoever wrote it.
//
// It imports the standard library, klauspost/compress and recording/coding, and
// nothing else of this module.
package recording
