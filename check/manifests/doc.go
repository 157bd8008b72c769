// Package manifests says what a render of Kubernetes manifests would capture, what not,
// why, and what to change.
//
//	manifests ─▶ fn.Inspect ─▶ captures, results ─▶ findings
//	    │                                               ▲
//	    └──────▶ fn.Inspect, with inject for all ───────┘  what one annotation would capture
//
// It promises:
//
//   - It has no opinion of its own. What is captured is what a render of the same input and
//     configuration decides, and a render's errors and warnings are among the findings.
//   - Every workload has a finding, whether it asks for the sidecar or not.
//   - The findings stand in the order of the input, and for each workload in that of a call:
//     the sidecar, inbound, outbound, TLS, filters, the sink, the mesh, replays.
//   - Manifests that are rendered already give what the original ones do.
//
// One thing is a guess, and is said to be one: by its image, its command and the names of
// its variables a container may run a program that ignores proxy variables.
//
// It imports check, fn, transformer, contract and contract/filter.
package manifests
