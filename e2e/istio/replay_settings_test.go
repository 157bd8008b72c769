package istio

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// shop is the input of the replays: an application with a dependency in its namespace, one in
// another, and one outside, a client, and routes to the revision v1. NAMESPACE are the labels of
// the namespaces.
const shop = `apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {NAMESPACE}}
---
apiVersion: v1
kind: Namespace
metadata: {name: till, labels: {NAMESPACE}}
---
apiVersion: apps/v1
kind: Deployment
metadata:
  name: app
  namespace: shop
  annotations:
    sidecar.speedscale.com/inject: "INJECT"
    replay.speedscale.com/snapshot-id: 0198a3f2-9f0e-4a65-8d0b-1f4c6d0a6b1e@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    ANNOTATIONS
spec:
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app, version: v1}}
    spec: {containers: [{name: app, image: app, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: app, namespace: shop}
spec: {selector: {app: app}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: db, namespace: shop}
spec:
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: db, image: db, ports: [{containerPort: 5432}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: db, namespace: shop}
spec: {selector: {app: db}, ports: [{name: tcp-sql, port: 5432}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: pay, namespace: till}
spec:
  selector: {matchLabels: {app: pay}}
  template:
    metadata: {labels: {app: pay}}
    spec: {containers: [{name: pay, image: pay, ports: [{containerPort: 8080}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: pay, namespace: till}
spec: {selector: {app: pay}, ports: [{name: http, port: 80, targetPort: 8080}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: client, namespace: shop}
spec:
  selector: {matchLabels: {app: client}}
  template:
    metadata: {labels: {app: client}}
    spec: {serviceAccountName: client, containers: [{name: client, image: client}]}
`

// routed sends calls of the application to its revision v1.
const routed = `---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: app, namespace: shop}
spec:
  hosts: [app]
  http: [{route: [{destination: {host: app, subset: v1}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: app, namespace: shop}
spec: {host: app, subsets: [{name: v1, labels: {version: v1}}]}
`

// closed forbids everything: the mesh knows only its own hosts, and the namespace allows no egress
// except to Istio, no call, and no connection except for names.
const closed = `---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: nothing, namespace: shop}
spec: {}
` + strict + denied

const narrow = `---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: default, namespace: shop}
spec: {egress: [{hosts: [istio-system/*]}], outboundTrafficPolicy: {mode: REGISTRY_ONLY}}
`

const strict = `---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: STRICT}}
`

const denied = `---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress, Egress], egress: [{ports: [{protocol: UDP, port: 53}]}]}
`

const registryOnly = "outboundTrafficPolicy: {mode: REGISTRY_ONLY}"

// store is a store in the cluster, and inCluster has the options for it.
const store = `---
apiVersion: v1
kind: Namespace
metadata: {name: storage, labels: {NAMESPACE}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: minio, namespace: storage}
spec:
  selector: {matchLabels: {app: minio}}
  template:
    metadata: {labels: {app: minio}}
    spec: {containers: [{name: minio, image: minio, ports: [{containerPort: 9000}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: minio, namespace: storage}
spec: {selector: {app: minio}, ports: [{name: http, port: 80, targetPort: 9000}]}
`

var inCluster = map[string]string{"replayPlace": "s3://tapes?endpoint=http://minio.storage"}

// setting is a cluster in which the shop is replayed.
type setting struct {
	name string
	// mesh is sidecar, ambient or none.
	mesh                string
	meshConfig          string
	more                string // objects of the input
	inject, annotations string
	options             map[string]string
	// place is the host and the port of the place, if that is not a bucket of AWS.
	place     string
	placePort int
	labels    string // more of the namespaces
	// open means that the NetworkPolicies, and not the mesh, keep the copy from what is
	// mocked.
	open bool
}

var settings = []setting{
	{name: "sidecars", mesh: "sidecar", more: routed},
	{name: "sidecars of a trust domain", mesh: "sidecar", meshConfig: "trustDomain: prod.example.com", more: routed},
	{name: "sidecars with all closed", mesh: "sidecar", meshConfig: registryOnly, more: routed + closed + narrow},
	{name: "sidecars with all closed but egress", mesh: "sidecar", meshConfig: registryOnly, more: routed + closed},
	{name: "sidecars with all closed by the mesh", mesh: "sidecar", meshConfig: registryOnly, more: routed + closed + strings.Replace(narrow, "namespace: shop", "namespace: istio-system", 1)},
	{name: "sidecars by the Service", mesh: "sidecar", meshConfig: registryOnly, more: routed + closed + narrow, options: map[string]string{"inbound": "service"}},
	{name: "sidecars outbound alone", mesh: "sidecar", meshConfig: registryOnly, more: closed + narrow, annotations: "sidecar.speedscale.com/proxy-type: forward"},
	{name: "sidecars not captured", mesh: "sidecar", meshConfig: registryOnly, more: closed + narrow, inject: "false"},
	{name: "sidecars with all closed but a store in the cluster", mesh: "sidecar", meshConfig: registryOnly, more: closed + narrow + store, options: inCluster, place: "minio.storage", placePort: 80},
	{name: "sidecars with all closed and a store outside", mesh: "sidecar", meshConfig: registryOnly, more: closed + narrow,
		options: map[string]string{"replayPlace": "s3://tapes?endpoint=http://store.example.com:9000"}, place: "store.example.com", placePort: 9000},
	{name: "ambient with all closed but a store in the cluster", mesh: "ambient", more: closed + store, options: inCluster, inject: "false", open: true, place: "minio.storage", placePort: 80},
	{name: "ambient", mesh: "ambient", open: true, options: map[string]string{"inbound": "service"}},
	{name: "ambient with all closed", mesh: "ambient", open: true, more: closed, options: map[string]string{"inbound": "service"}},
	{name: "ambient of a trust domain", mesh: "ambient", meshConfig: "trustDomain: prod.example.com", open: true, options: map[string]string{"inbound": "service"}},
	{name: "ambient not captured", mesh: "ambient", open: true, more: closed, inject: "false"},
	{name: "no mesh", mesh: "none", open: true, options: map[string]string{"inbound": "service"}},
	{name: "no mesh and all closed", mesh: "none", open: true, more: denied, options: map[string]string{"inbound": "service"}},
}

// settingNamed returns a setting by its name.
func settingNamed(t *testing.T, name string) setting {
	t.Helper()
	i := slices.IndexFunc(settings, func(s setting) bool { return s.name == name })
	if i < 0 {
		t.Fatalf("no setting is named %s", name)
	}
	s := settings[i]
	s.options = maps.Clone(s.options)
	if s.options == nil {
		s.options = map[string]string{}
	}
	return s
}
