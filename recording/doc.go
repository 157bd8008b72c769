// Package recording keeps exchanges: one request with its answer, one
// WebSocket or gRPC conversation, one stretch of a TCP stream. It holds their
// format, redaction, the way to disk, and the readers.
//
//	decoder ──*Exchange──▶ Redact ──▶ Queue ──lines──▶ Segments ──▶ Store
//	           borrowed    secrets     JSON, bounded,   zstd, size   directory,
//	           for the     become      never waits,     and age      later object
//	           call        tokens      counts drops     limits       stores
//
// What it promises:
//
//   - The format is RRPair JSON lines, described field by field in
//     docs/recording-format.md. Any JSON tool reads it.
//   - Writing never waits for the disk, and never fails the caller. What can't
//     be kept is dropped and counted, by reason, exactly.
//   - Secrets are replaced before an exchange is encoded, so they reach neither
//     the queue's memory nor the disk.
//   - A process killed at any instant loses the open segment's tail, no more.
//     Readers skip a torn tail.
//
// It imports the standard library and klauspost/compress, and nothing of this
// module.
package recording
