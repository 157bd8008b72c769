// Package transformer turns annotated Kubernetes objects into objects that capture their traffic. It
// consists of pure functions over YAML nodes, without I/O, clock or randomness, so the same input and
// configuration give the same output.
//
//	objects ──▶ undo what an earlier render did
//	               └▶ settings (annotations table) ──▶ checks
//	                     └▶ sidecar · application's env · trust · Istio
//	                           └▶ objects edited in place, objects to create, results
//
// It promises that every workload gets a result, that a workload is edited completely or not at all,
// that rendering twice equals rendering once, and that Uninject undoes what Render did.
//
// It does not depend on how objects arrive or leave (package fn), and imports nothing of the runtime.
// Package contract has what it shares with the sidecar. It alone imports istio.io/api: it builds Istio
// objects from its types, and checks those of the input against them.
package transformer
