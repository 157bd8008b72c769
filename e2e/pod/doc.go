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
// Istio's injector makes the pod from the rendered manifests. Its istio-init container runs here,
// and writes the rules. Envoy is not available without its image, so a stand-in (cmd/envoy) does
// its part. It asks Istio's control plane where each call goes, according to the listeners, routes and
// clusters that the control plane generates for the pod (package e2e/istio). Containers
// (cmd/contain) get the rendered command, environment, user, mounts and read-only root. The sidecar
// and the collector run in the image that `make image` builds, and the collector is deployed as
// deploy/collector says for S3. The bucket is versitygw's, behind a door in this process that may
// be slow, fail or close.
//
// A replay is rendered from a snapshot in that bucket. Each of its pods has a network like the
// first one's, and the node applies NetworkPolicies as a network plugin does:
//
//	┌ generator, 1 to 3 ┐  mTLS  ┌ copy ──────────────────────────────┐  mTLS  ┌ responder ┐
//	│ tapedeck ▶ 15001  ├───────▶│ 15006 ▶ tapedeck ▶ app ▶ tapedeck  ├───────▶│ tapedeck  │
//	└─────────┬─────────┘        └─────────────────┬──────────────────┘        └─────┬─────┘
//	          │ snapshot, report                   ✕ nothing else but its sink       │ snapshot
//	          └───────────────────────────── bucket ─────────────────────────────────┘
//
// It needs root, iproute2 and iptables. It touches only the namespaces that it makes, and removes
// them. Without a container engine, the sidecar is a binary that is built as in the image.
package pod
