// Package pod runs one real pod in network namespaces: Istio's interception,
// the sidecar and an application, each from what `tapedeck render` wrote.
//
//	┌ client ┐  mTLS  ┌ pod ───────────────────────────────────────────┐  mTLS  ┌ dependency ┐
//	│ test   ├───────▶│ iptables ▶ 15006 ▶ 4143 tapedeck ▶ application │───────▶│ 15006 ▶ app │
//	└────────┘        │ iptables ◀ 15001 ◀────── tapedeck 4140 ◀───────┤        └────────────┘
//	                  └────────────────┬───────────────────────────────┘  TLS   ┌ external ──┐
//	                                   └───────────────────────────────────────▶│ HTTPS sites │
//	              node: routes between them, Services to pods                   └────────────┘
//
// The rules are written by Istio's own istio-iptables with the arguments that
// Istio's injector gives it. Envoy itself can't be had without its image: a
// stand-in (cmd/envoy) does its part, led by the rendered Sidecar's ingress
// list and the registry of the manifests; that Istio makes of that Sidecar the
// same clusters is what package e2e/istio proves. Containers (cmd/contain) get
// the rendered command, environment, user, mounts and read-only root.
//
// It needs root, iproute2 and iptables, and touches no namespace but those
// that it makes, which it removes.
package pod
