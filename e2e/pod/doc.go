// Package pod runs one real pod in network namespaces: Istio's interception,
// the sidecar and an application, each from what `tapedeck render` wrote.
//
//	┌ client ┐  mTLS  ┌ pod ───────────────────────────────────────────┐  mTLS  ┌ dependency ┐
//	│ test   ├───────▶│ iptables ▶ 15006 ▶ 4143 tapedeck ▶ application │───────▶│ 15006 ▶ app │
//	└────────┘        │ iptables ◀ 15001 ◀────── tapedeck 4140 ◀───────┤        └────────────┘
//	                  └──────┬─────────┬───────────────────────────────┘  TLS   ┌ external ──┐
//	              recordings │         └───────────────────────────────────────▶│ HTTPS sites │
//	                    mTLS ▼                                                  └────────────┘
//	┌ collector ────────────────────┐  TLS  ┌ bucket ────────────┐
//	│ 15006 ▶ 4310 tapedeck ▶ 15001 ├──────▶│ a door ▶ versitygw │   node: routes between them,
//	└───────────────────────────────┘       └────────────────────┘         Services to pods
//
// Istio's own injector makes the pod of what was rendered, and its istio-init
// container, run here, writes the rules. Envoy itself can't be had without its
// image: a stand-in (cmd/envoy) does its part, and asks Istio's own control plane
// where each call goes, by the listeners, routes and clusters that it generates
// for the pod (package e2e/istio). Containers (cmd/contain) get the rendered
// command, environment, user, mounts and read-only root; the sidecar's is the
// image that `make image` builds, and so is that of the collector, which is deployed
// as deploy/collector says for S3. The bucket is versitygw's, behind a door of this
// process that may be slow, fail or close.
//
// A replay is rendered from a snapshot in that bucket. Each of its pods has a network as the
// first one has, and the node does what a network plugin does with NetworkPolicies:
//
//	┌ generator, 1 to 3 ┐  mTLS  ┌ copy ──────────────────────────────┐  mTLS  ┌ responder ┐
//	│ tapedeck ▶ 15001  ├───────▶│ 15006 ▶ tapedeck ▶ app ▶ tapedeck  ├───────▶│ tapedeck  │
//	└─────────┬─────────┘        └─────────────────┬──────────────────┘        └─────┬─────┘
//	          │ snapshot, report                   ✕ nothing else but its sink       │ snapshot
//	          └───────────────────────────── bucket ─────────────────────────────────┘
//
// It needs root, iproute2 and iptables, and touches no namespace but those
// that it makes, which it removes. Without a container engine the sidecar is a
// binary built as the image's is.
package pod
