// Package manifests checks Kubernetes manifests: it reports what a render of them would capture, what it
// would not, why, and what to change.
//
//	manifests ─▶ fn.Inspect ─▶ captures, results ─▶ findings
//	    │                                               ▲
//	    └──────▶ fn.Inspect, with inject for all ───────┘  what one annotation would capture
//
// Promises:
//
//   - Findings follow from a render of the same input and configuration, and include its errors and
//     warnings.
//   - Every workload has a finding, also one that doesn't ask for the sidecar.
//   - The findings have the order of the input, and for each workload the order of areas: the sidecar,
//     inbound, outbound, TLS, filters, the sink, the mesh, replays.
//   - Rendered manifests give the same findings as the original ones.
//
// One thing is a guess, and the finding says so: the program that a container runs, by its image, its
// command and the names of its variables. It matters because some programs ignore proxy variables.
//
// It imports check, fn, transformer, contract and contract/filter.
package manifests
