// Package istio asks Istio's own code where calls land in a mesh that runs
// what Tapedeck renders:
//
//	input.yaml ──▶ fn.Render ──▶ Istio's injector ──▶ Pods, EndpointSlices ──▶ istiod ──▶ listeners, clusters
//	    │                                                                                      │
//	    └───────── the same without Render: "without" ────────────────────────▶ calls ──▶ where each lands
//
// The injector is pkg/kube/inject with the template and the values of Istio's
// chart, istiod is pilot/test/xds, and pilot/pkg/simulation matches a call to
// listener, filter chain, route and cluster as Envoy would. No packet is sent
// here; Mesh is for package pod, which sends them.
//
// It is a module of its own: Istio's dependency graph fits into no other.
package istio
