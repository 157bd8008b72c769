// Package collector takes the segments that sidecars send, checks them, stores them in a
// place, and serves what is stored to readers.
//
//	sidecars ──PUT──▶ write port ─▶ who? ─▶ slot ─▶ temporary file ─▶ check ─▶ store.Store
//	                  every pod     token,  bounded SHA-256           frame,   a directory
//	                                XFCC                              records  or a bucket
//	                                                                              │
//	kubectl port-forward ──GET──▶ read port, on loopback alone ◀──────────────────┤
//	kubelet, Prometheus ──GET──▶ admin port: /healthz, /metrics     retention ────┘
//
// It promises:
//
//   - A segment that was acknowledged is durable, whole and stored once: a repeated upload
//     of the same bytes is acknowledged again, and other bytes under the key are refused.
//   - Nobody writes into another namespace's partition. The token is that of the key's
//     cluster and namespace, the mesh's identity agrees where there is one, and so does
//     every record inside.
//   - Only what every reader can read is stored: one zstd frame of complete lines, each a
//     record of this format, within bounds on bytes, window and line.
//   - Memory and temporary files are bounded by its settings, whatever is sent.
//   - A refusal says why, with a code of [contract.Refusals].
//   - It keeps no state of its own: several may run in front of one place.
//
// It imports contract, recording, recording/store, recording/columns, internal/oneline,
// internal/scratch and proxy/address of this module, Prometheus' client, klauspost/compress,
// golang.org/x/net and golang.org/x/sync: no cloud SDK, and no framework for command lines.
package collector
