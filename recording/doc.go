// Package recording defines the exchange: one request with its answer, one WebSocket or gRPC
// conversation, or one part of a TCP stream. It also defines their format on disk. Its subpackages do
// the rest:
//
//	decoder ──*Exchange──▶ redact ──▶ spool ─────────────────────▶ directory
//	           borrowed    secrets    queue: bounded, never waits   cluster=…/namespace=…/
//	           for the     become     segments: zstd, size and      workload=…/date=…/hour=…
//	           call        tokens     age limits
//
//	directory, bucket, files of other tools ──▶ read ──▶ inspect and every other command
//	                                            selects by query, sorts,
//	                                            joins conversations, reports
//
// It promises:
//
//   - The format is RRPair JSON lines, described field by field in
//     docs/recording-format.md. Any JSON tool reads it.
//   - Encoding gives the same JSON as encoding/json, and allocates nothing.
//   - Decoding gives the same exchange as encoding/json, in a tenth of the time if Encoder wrote
//     the JSON. Members that other tools added are kept, or their loss is reported.
//   - A [Reader] reads a segment up to an incomplete end, in bounded memory, even if the segment is
//     hostile.
//
// It imports the standard library, klauspost/compress and recording/coding, and
// nothing else from this module.
package recording
