package transformer

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/contract"
	"github.com/tapedeck/tapedeck/internal/nodes"
)

// The sink may be a collector, to which sidecars send their recordings:
//
//	sidecar ─▶ Envoy ─mTLS─▶ http://collector.speedscale:4310     a Service of the cluster
//	       └─────────────TLS─▶ https://collector.example.com      a host outside
//
// A render allows only the calls to it: its namespace in egress lists, a ServiceEntry for
// a host outside the cluster, and a NetworkPolicy if the pods' egress is restricted.

// collector is the sink if that is a collector.
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

// schemePorts are the ports of URLs without a port.
var schemePorts = map[string]int{"http": 80, "https": 443}

// namespace returns the namespace in which a workload's pods look up the collector's
// Service.
func (c *collector) namespace(w *workload) string { return c.namespaceFor(w.namespace()) }

// checkSink reports a sink over plain HTTP if no mesh encrypts the connection.
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

// These are the annotations with which a pod makes outbound calls bypass Envoy
// (https://istio.io/latest/docs/reference/config/annotations/).
const (
	excludeOutboundPorts    = "traffic.sidecar.istio.io/excludeOutboundPorts"
	excludeOutboundIPRanges = "traffic.sidecar.istio.io/excludeOutboundIPRanges"
	includeOutboundIPRanges = "traffic.sidecar.istio.io/includeOutboundIPRanges"
)

// pastMesh says why calls of a workload's pods to the collector might bypass the mesh; ""
// if the input says that they don't.
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

// meshed reports whether, according to the input, a workload's pods will be in a mesh:
// their labels or those of the namespace request it, or a Sidecar of the input or of the
// render is for pods in the namespace. An existing Envoy does not count, so that a
// rendered manifest renders to the same after istioctl kube-inject.
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
// the input, with the rules of the sidecar.
func (in *input) checkSinkToken(w *workload) Results {
	if in.sink == nil {
		return nil
	}
	return in.checkSecret(w, mountedSecret{
		CodeSinkToken, "sinkTokenSecret", in.cfg.SinkTokenSecret, contract.SinkTokenName, "what `tapedeck collect token` prints",
		func(token []byte) error { return contract.CheckCollectorToken(strings.TrimSpace(string(token))) },
		"the collector will reject the recordings, and they remain in the pod",
	})
}
