package transformer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// The sink may be a collector, to which sidecars send what they record:
//
//	sidecar ─▶ Envoy ─mTLS─▶ http://collector.speedscale:4310     a Service of the cluster
//	       └─────────────TLS─▶ https://collector.example.com      a name outside
//
// A render opens the way there and no other: the namespace in egress lists, a
// ServiceEntry for a name outside, a NetworkPolicy where the pods' egress is restricted.

// collector is the sink, where that is one.
type collector struct {
	contract.Place
	destination
}

// newCollector returns the collector that the option sink names, or nil.
func newCollector(sink string) *collector {
	p, err := contract.ParseSink(sink)
	if err != nil || !p.IsCollector() {
		return nil
	}
	return &collector{p, newDestination(p.Host, schemePorts[p.Scheme])}
}

// schemePorts are the ports of URLs that name none.
var schemePorts = map[string]int{"http": 80, "https": 443}

// namespace returns the namespace of the collector's Service as a workload's pods look
// it up.
func (c *collector) namespace(w *workload) string { return c.namespaceFor(w.namespace()) }

// checkSink reports plain HTTP that no mesh encrypts.
func (in *input) checkSink(w *workload) Results {
	if in.sink == nil || in.sink.Scheme != "http" || in.cfg.SinkPlainHTTP {
		return nil
	}
	why := "the collector is outside the cluster"
	if in.sink.service != "" {
		why = in.pastMesh(w)
	}
	if why == "" {
		return nil
	}
	return Results{result(CodeSinkPlainHTTP, w.Object, "the option sink is %s, and %s. Recorded bodies and the token would travel unencrypted; allowed: https://, a workload in the mesh, or, in a trusted network, the option sinkPlainHTTP", in.sink, why)}
}

// Annotations by which a pod keeps outbound calls from Envoy
// (https://istio.io/latest/docs/reference/config/annotations/).
const (
	excludeOutboundPorts    = "traffic.sidecar.istio.io/excludeOutboundPorts"
	excludeOutboundIPRanges = "traffic.sidecar.istio.io/excludeOutboundIPRanges"
	includeOutboundIPRanges = "traffic.sidecar.istio.io/includeOutboundIPRanges"
)

// pastMesh says why calls of a workload's pods to the collector may not pass through the
// mesh; "" where the input says that they do.
func (in *input) pastMesh(w *workload) string {
	if in.ambient(w) != "" {
		return ""
	}
	if path, found := in.outOfMesh(w); path != "" {
		return fmt.Sprintf("%s is %s", path, found)
	}
	annotations := nodes.Strings(nodes.At(w.template, "metadata", "annotations"))
	included, limited := annotations[includeOutboundIPRanges]
	excludes := func(key, what string) bool { return slices.Contains(splitList(annotations[key]), what) }
	for _, a := range []struct {
		key  string
		past bool
	}{
		{injectTemplates, w.proxyless()},
		{interceptionMode, annotations[interceptionMode] == "NONE"},
		{excludeOutboundPorts, excludes(excludeOutboundPorts, strconv.Itoa(in.sink.port)) || excludes(excludeOutboundPorts, "*")},
		{excludeOutboundIPRanges, excludes(excludeOutboundIPRanges, "0.0.0.0/0")},
		{includeOutboundIPRanges, limited && included != "*"},
	} {
		if a.past {
			return fmt.Sprintf("%s is %q", pathKey(w.at("metadata.annotations"), a.key), annotations[a.key])
		}
	}
	envoy := slices.ContainsFunc(w.allContainers(), func(c container) bool { return c.name() == envoyContainer })
	if !envoy && !in.meshed(w) {
		return "nothing in the input says that the pod is in a mesh"
	}
	return ""
}

// meshed tells whether the input says that a workload's pods are to be in a mesh: a
// Sidecar sends their inbound calls on, or those of a neighbour, or their labels ask for
// it, or those of the namespace. An Envoy that is there already does not count: what
// istioctl kube-inject makes of a rendered manifest renders to the same.
func (in *input) meshed(w *workload) bool {
	const revision = "istio.io/rev"
	labels, namespace := w.podLabels(), in.namespaceLabels(w.namespace())
	_, asks := w.asksForEnvoy()
	return asks == "true" || labels[revision] != "" || namespace["istio-injection"] == "enabled" || namespace[revision] != "" ||
		in.ambient(w) != "" ||
		slices.ContainsFunc(in.byKind[istioGroup+"/Sidecar"], func(o *Object) bool { return o.namespace() == w.namespace() }) ||
		in.cfg.Inbound == inboundSidecar && slices.ContainsFunc(in.workloads, func(other *workload) bool {
			return other.injecting && other.settings.inbound() && other.namespace() == w.namespace()
		})
}

// checkSinkToken checks the Secret that the option sinkTokenSecret names, if it is in
// the input, as the sidecar will.
func (in *input) checkSinkToken(w *workload) Results {
	if in.sink == nil {
		return nil
	}
	return in.checkSecret(w, mountedSecret{
		CodeSinkToken, "sinkTokenSecret", in.cfg.SinkTokenSecret, contract.SinkTokenName, "what `tapedeck collect token` prints",
		func(token []byte) error { return contract.CheckCollectorToken(strings.TrimSpace(string(token))) },
		"the collector will refuse what is recorded, and it stays in the pod",
	})
}
