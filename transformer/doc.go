// Package transformer turns annotated Kubernetes objects into objects that
// capture their traffic: pure functions over YAML nodes, without I/O, clock or
// randomness, so that the same input and configuration give the same output.
//
//	objects ──▶ undo what an earlier render did
//	               └▶ settings (annotations table) ──▶ checks
//	                     └▶ sidecar · application's env · trust · Istio
//	                           └▶ objects edited in place, objects to create, results
//
// It promises that every workload gets a result, that a workload is edited
// whole or not at all, that rendering twice equals rendering once, and that
// Uninject takes back what Render did.
//
// It knows nothing of how objects arrive or leave (package fn), and imports
// nothing of the runtime; what it must agree on with the sidecar is in package
// contract. It alone imports istio.io/api: Istio's objects are built from its
// types, and the input's are checked against them.
package transformer
