// Package collector accepts the segments that sidecars send, checks them, stores them in a place,
// and serves stored objects to readers.
//
//	sidecars ──PUT──▶ write port ─▶ who? ─▶ slot ─▶ temporary file ─▶ check ─▶ store.Store
//	                  every pod     token,  bounded SHA-256           frame,   a directory
//	                                XFCC                              records  or a bucket
//	                                                                              │
//	kubectl port-forward ──GET──▶ read port, on loopback only  ◀──────────────────┤
//	kubelet, Prometheus ──GET──▶ admin port: /healthz, /metrics     retention ────┘
//
// It promises:
//
//   - An acknowledged segment is durable, whole and stored once. A repeated upload of the same
//     bytes is acknowledged again, and other bytes under the key are refused.
//   - A client can't write into another namespace's partition. The token must be that of the
//     key's cluster and namespace. The mesh's identity, if there is one, and every record in the
//     segment must agree with it.
//   - It stores only segments that every reader can read: one zstd frame of complete lines, each
//     a record of this format, within limits on bytes, window and line.
//   - Settings bound memory and temporary files, for any uploads.
//   - A refusal has a code of [contract.Refusals] that gives the reason.
//   - It is stateless: several collectors may run in front of one place.
//
// It imports contract, recording, recording/store, recording/columns, internal/oneline,
// internal/scratch and proxy/address of this module, Prometheus' client, klauspost/compress,
// golang.org/x/net and golang.org/x/sync: no cloud SDK, and no framework for command lines.
package collector
