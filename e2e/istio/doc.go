// Package istio asks Istio's own code where calls arrive in a mesh that runs the manifests that
// Tapedeck renders:
//
//	input.yaml ──▶ fn.Render ──▶ Istio's injector ──▶ Pods, EndpointSlices ──▶ istiod ──▶ listeners, clusters
//	    │                                                                                      │
//	    └───────── the same without Render: "without" ────────────────────────▶ calls ──▶ where each lands
//
// The injector is pkg/kube/inject with the template and the values of Istio's chart. istiod is
// pilot/test/xds. pilot/pkg/simulation matches a call to a listener, filter chain, route and
// cluster as Envoy would. No packet is sent here; package pod uses Mesh, and sends them.
//
// It is a separate module, because Istio's dependency graph fits into no other.
package istio
