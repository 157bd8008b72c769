package transformer

// Code is a stable reason code, found in a result's tags under "code".
type Code string

// Reason is one row of the table of reason codes. Results get their severity from it, and
// docs/reason-codes.md its text.
type Reason struct {
	Severity Severity
	// Skip marks the reasons for which a render does not inject a workload that asks for
	// the sidecar. With `strict` they are errors.
	Skip bool
	// Sentence says what happened.
	Sentence string
	// Help says what to do about it.
	Help string
}

// These are the reason codes. Each is declared together with its row.
var (
	CodeInjected     = info("injected", "The render added the sidecar to the workload.", "")
	CodeNotWritten   = info("not-written", "The render found no error in this workload, but wrote nothing, because another object has an error.", "Fix the errors.")
	CodeUninjected   = info("uninjected", "Tapedeck undid the changes of an earlier render.", "")
	CodeUndone       = info("undone", "Tapedeck undid the changes of an earlier render, and rendered the object again.", "")
	CodeDeleted      = info("deleted", "The render deleted an object that an earlier render had created and that nothing needs now.", "")
	CodeNotRequested = info("not-requested", "The workload does not ask for the sidecar.", "Set sidecar.speedscale.com/inject: \"true\" to capture it.")
	CodeIgnored      = info("ignored", "The workload has the annotation operator.speedscale.com/ignore: \"true\".", "Remove that annotation to capture the workload.")
	CodeLocalConfig  = info("local-config", "The object is marked config.kubernetes.io/local-config: \"true\", so nobody applies it.", "")

	CodeNoPods = info("no-pods", "The object has no pods, but has the annotations of a workload next to it. The commonAnnotations of a kustomization cause that.", "")

	CodeTransparent      = skip("transparent", "proxy-type transparent redirects packets with iptables. That needs NET_ADMIN and conflicts with Istio.", "Remove sidecar.speedscale.com/proxy-type, or set it to dual, reverse or forward.")
	CodeHostNetwork      = skip("host-network", "The pod uses the network of its node. Istio does not inject such a pod, and the sidecar would take ports of the node.", "Remove hostNetwork, or leave the workload uncaptured.")
	CodeWindows          = skip("windows", "The pod runs on Windows, and there is no sidecar for Windows.", "Leave the workload uncaptured.")
	CodeLinkerd          = skip("linkerd", "The pod is in a Linkerd mesh, whose proxy uses the ports 4140 and 4143.", "Remove the workload from that mesh, or leave it uncaptured.")
	CodeOtherSidecar     = skip("other-sidecar", "The pod already has the container speedscale-goproxy.", "Remove that container, so that only one of the two tools injects.")
	CodeNoTemplate       = skip("no-template", "The workload has no pod template.", "Annotate the workload that it refers to.")
	CodeNotInMesh        = skip("not-in-mesh", "The pod has sidecar.istio.io/inject: \"false\", or its namespace has istio-injection: disabled. Without an Envoy, nothing sends its inbound traffic to the sidecar.", "Set the option inbound to service, or proxy-type to forward.")
	CodeAmbient          = skip("ambient", "The pod is in an ambient mesh, where Istio ignores Sidecar resources.", "Set the option inbound to service, or proxy-type to forward.")
	CodePortExcluded     = skip("port-excluded", "An annotation excludes the captured port from Istio's interception.", "Change the traffic.sidecar.istio.io annotation, or set the option inbound to service.")
	CodeInterceptionNone = skip("interception-none", "The pod has sidecar.istio.io/interceptionMode: NONE, so Envoy would bind the application's port.", "Remove that annotation, or set the option inbound to service.")
	CodeGateway          = skip("gateway", "The pod is an Istio gateway. It ignores Sidecar resources and has no application.", "Capture the workloads that it serves.")
	CodeMeshItself       = skip("mesh-itself", "The pod is part of the mesh: ztunnel, Istio's CNI agent or its control plane. It carries or controls the traffic of others.", "Leave it uncaptured, and capture the workloads.")
	CodeNoInboundPort    = skip("no-inbound-port", "proxy-type is reverse, and the port to capture is unknown: no Service in the input leads to one, and the containers don't have exactly one containerPort.", "Render the Service together with the workload, or set sidecar.speedscale.com/proxy-port.")
	CodeProxyless        = skip("proxyless", "The pod gets Istio's agent for proxyless gRPC instead of an Envoy.", "Set the option inbound to service, or proxy-type to forward.")

	CodeUnsupported = skip("unsupported-kind", "An object has Tapedeck's annotations, but Tapedeck does not render its kind.", "Annotate a workload of one of the kinds that the result names, or remove the annotation.")
	CodeOwned       = skip("owned", "The object belongs to an owner, which makes the pods.", "Annotate the owner, and remove objects from the input that a cluster generated.")

	CodeLegacyAnnotation   = warning("legacy-annotation", "The annotation has an old name.", "Use the name that the result gives.")
	CodeUnknownAnnotation  = warning("unknown-annotation", "There is no annotation with that name.", "See docs/annotations.md for the names.")
	CodeUnknownField       = warning("unknown-field", "An Istio object has a field that is not in the version of Istio's API that Tapedeck uses. `strict` makes this an error.", "Correct the name of the field. Leave it if your Istio is newer and has the field.")
	CodeNoMeaning          = warning("no-meaning", "The annotation or field has no effect here.", "Remove it. The result gives the reason.")
	CodeNeedless           = warning("needless-annotation", "The annotation has no effect in combination with the others.", "See its row in docs/annotations.md for where it applies.")
	CodeMemoryLimit        = warning("memory-limit-small", "The memory limit of the sidecar is too small for any traffic.", "Raise sidecar.speedscale.com/memory-limit to 32Mi or more. 128Mi is enough for a few hundred busy connections with TLS.")
	CodeReplayPolicy       = info("replay-network-policy", "NetworkPolicies let the copy of a replay reach its responder alone. They hold only if the cluster's network plugin enforces them.", "If the plugin enforces them, do nothing. Otherwise put the copy into a mesh with sidecars, whose Envoy enforces the same, or into a separate cluster. If a cloud runs the control plane, add a NetworkPolicy that lets Envoy reach it.")
	CodeReplayEgressOpen   = warning("replay-egress-open", "The copy of a replay may reach the real dependencies because nothing is mocked, or other NetworkPolicies in the input allow more.", "Exclude pods with the label tapedeck.dev/replay from those policies: use matchExpressions with the operator DoesNotExist.")
	CodeReplayIngressOpen  = warning("replay-ingress-open", "Other NetworkPolicies in the input let more pods call the responder of a replay, which serves recorded data.", "Exclude pods with the label tapedeck.dev/replay from those policies: use matchExpressions with the operator DoesNotExist.")
	CodeReplayLocal        = info("replay-recordings-kept", "The sidecar of a replayed workload keeps its recordings in the pod. A NetworkPolicy can't name a collector outside the cluster, and would open that port to the real dependencies.", "If you don't need recordings of replays, do nothing. Otherwise run a collector in the cluster.")
	CodeReplayPassthrough  = info("replay-passthrough-open", "The responder passes calls on to hosts, or the generator sends to them. A NetworkPolicy can't name hosts, so it opens their ports at every address.", "")
	CodeReplayAccount      = info("replay-service-account", "AuthorizationPolicies identify pods by service account. Parts of a replay share their account with other pods, so the policies admit those too.", "Set the options replayServiceAccount and replayCopyServiceAccount to service accounts that no other pods use.")
	CodeReplayPlaceOpen    = info("replay-place-open", "ServiceEntries open the hosts of the place to all pods in the namespace. If the place names no region or account, this is a warning, because all regions or accounts are open.", "Add region or storage_account to the option replayPlace. See docs/places.md.")
	CodeReplayMesh         = info("replay-mesh-unknown", "Nothing in the input says whether the pods of a replay are in a mesh. So the render wrote no AuthorizationPolicies, ServiceEntries and Sidecar for the replay.", "Without Istio, do nothing. Otherwise render the Namespace together with the workload, or set a label on the pods, such as sidecar.istio.io/inject.")
	CodeReplayIdentity     = warning("replay-no-identity", "Callers reach pods of a replay without mutual TLS, so an AuthorizationPolicy can't identify them.", "If the cluster enforces NetworkPolicies, do nothing. Otherwise enable mutual TLS in the namespace.")
	CodeReplayDenied       = warning("replay-denied", "Policies or routes in the input also select the pods of a replay. They may reject the recorded requests or route them elsewhere.", "Exclude the pods of replays, or expect those requests to fail.")
	CodeReplayOtherPolicy  = warning("replay-other-policy", "The input has policies of a network plugin that may select the pods of a replay. A render does not evaluate them.", "Exclude pods with the label tapedeck.dev/replay from them, or make sure that they allow no more than the NetworkPolicies of the replay.")
	CodeReplayNamespace    = warning("replay-no-namespace", "Manifests of a replay in a mesh have no namespace, so its AuthorizationPolicies and its Sidecar open more than necessary.", "Set metadata.namespace before Tapedeck renders, for example in an overlay.")
	CodeReplayEgressClosed = warning("replay-egress-closed", "An Istio Sidecar in the input selects pods of a replay and does not let them reach what they need.", "Add to its egress what the result lists.")
	CodeReplayProduction   = warning("replay-production", "A replay sends its requests to a Service in the input that production uses.", "Set the URL of a test environment. Or leave the host out, so that a copy gets the requests.")
	CodeNoService          = warning("no-service", "No Service in the input selects the workload's pods.", "Render the Service together with the workload.")
	CodePortNotServed      = warning("port-not-served", "A Service selects the workload's pods, but none of its ports leads to the captured port.", "Set sidecar.speedscale.com/proxy-port to the container port that the Service targets, or remove the annotation.")
	CodeOutboundOnly       = info("outbound-only", "The workload has no port to capture, so the sidecar captures its outbound traffic alone.", "If the workload serves a port, render its Service too, or set sidecar.speedscale.com/proxy-port.")
	CodePortsUnclear       = warning("ports-unclear", "The containers have several ports, and no Service in the input leads to one. So the sidecar captures outbound traffic alone.", "Render the Service together with the workload, or list the ports in tapedeck.dev/proxy-ports.")
	CodePortsNotCaptured   = info("ports-not-captured", "The Services have more ports. Their traffic goes to the application directly.", "")
	CodeEgress             = warning("egress-not-inherited", "The generated Istio Sidecar has no egress, so Istio allows every host. It overrides the namespace's Sidecar: an outbound policy REGISTRY_ONLY there is lost. `strict` makes this an error.", "Render the namespace's Sidecar together with the workload, or set the option egress or outboundTrafficPolicy.")
	CodeEgressClosed       = warning("egress-closed", "An Istio Sidecar that the render did not change allows no egress to the namespace of the ServiceEntry or the collector.", "Add NAMESPACE/* to its egress, with the namespace in the result.")
	CodeSidecarPatched     = warning("sidecar-patched", "An Istio Sidecar in the input already selects the pods, so the render pointed it at Tapedeck's sidecar. It also selects pods of the previous revision, which have no such sidecar.", "Apply it when no pod of the previous revision runs any more. Otherwise their calls fail until then.")
	CodeVirtualServiceHost = warning("virtualservice-host", "A VirtualService exposes the workload's Service, but lists neither the host of the Service nor the gateway mesh, or only one of them. It does not route calls from inside the mesh.", "Follow the advice in the result: add the host and the gateway mesh, as the option mendVirtualServices does. Or write a second VirtualService if one can't serve both.")
	CodeVirtualServiceDone = info("virtualservice-mended", "The render added the Service's host and the gateway mesh to the VirtualService.", "")
	CodeServiceEntryKept   = warning("service-entry-kept", "The input already has the ServiceEntry, and it lacks requested hosts. The render did not change it.", "Add the hosts, or remove the ServiceEntry so that the render writes it.")
	CodeRouteParent        = warning("route-parent", "An HTTPRoute or GRPCRoute exposes the Service through a Gateway and does not list the Service in parentRefs. It does not route calls from inside the mesh.", "Follow the advice in the result: add the Service to parentRefs, as the option mendVirtualServices does. Or write a second route if one can't serve both.")
	CodeRouteMended        = info("route-mended", "The render added the Service to the route's parentRefs.", "")
	CodeRouteNeedless      = info("route-needless", "A VirtualService, HTTPRoute or GRPCRoute exposes the Service outside the mesh alone. Its routes lead to that Service and change nothing, so calls from inside the mesh don't need them.", "")
	CodeServiceHeadless    = warning("service-headless", "Callers of a headless Service connect to the pods directly. With inbound: service, these calls bypass the sidecar.", "Use a Service with a cluster IP, or the option inbound: sidecar.")
	CodePortFollowed       = info("port-followed", "A policy lists the application's port, and the Service now leads to the sidecar's port. So the render added that port to the policy.", "")
	CodePortNotFollowed    = warning("port-not-followed", "A NetworkPolicy of the callers allows the application's port by address, or in a namespace that is not in the input. The Service now leads to the sidecar's port.", "If the rule is meant for these pods, allow the sidecar's port too, or render their Namespace together with them.")
	CodePortExposed        = warning("port-exposed", "A NetworkPolicy allows callers to reach the sidecar's port that may not reach the application's port.", "Remove the port from that rule, or set sidecar.speedscale.com/proxy-in-port to a port that no rule allows.")
	CodeEnvoyFilter        = warning("envoy-filter", "An EnvoyFilter changes where Envoy sends the captured port, or matches a name or number that the render changed.", "Change the EnvoyFilter. The result says which one.")
	CodeServicePatched     = info("service-patched", "The render pointed the Service's targetPort at the sidecar.", "")
	CodeProxyChained       = info("proxy-chained", "The application had a proxy. The sidecar now forwards through it.", "")
	CodeNoProxyKept        = warning("no-proxy-kept", "The render did not change NO_PROXY, because it can't merge it: it comes from another object, has an entry that is not a host, or is *, which turns the proxy off.", "Add localhost,127.0.0.1 where it is defined. If it is *, remove it, or set the option captureNoProxy to true.")
	CodeNoProxyWide        = warning("no-proxy-wide", "NO_PROXY covers hosts in the cluster. Outbound calls to them bypass the proxy and are not captured.", "Set the option captureNoProxy to true to capture those calls. If several containers had a proxy, the sidecar bypasses it for the hosts that are in all their lists.")
	CodeProxyApart         = warning("proxy-apart", "This container has no proxy, but another container in the pod has one and the sidecar forwards through it. So the render did not point this container at the sidecar.", "Set the same proxy variables in both containers. Otherwise the outbound calls of this one are not captured.")
	CodeEnvFrom            = warning("env-from", "The container reads variables from an object that is not in the input. If both set a variable, the rendered value wins.", "If that object has proxy or trust variables, render it too.")
	CodeSocks              = warning("socks-clients", "Proxy variables with socks5:// break common clients: urllib, wget and axios fail, requests fails without PySocks, and httpx fails without socksio.", "Set sidecar.speedscale.com/proxy-protocol to tcp:http, or to http with proxy-type forward. The same port accepts SOCKS from clients that are configured for it.")
	CodeQuota              = warning("quota", "With the sidecar, the pod exceeds a ResourceQuota in the input, so Kubernetes will reject it.", "Set the annotation that the result names, or raise the quota.")
	CodePodResources       = warning("pod-resources", "The pod sets resources for the whole pod, and they leave no room for the sidecar. Kubernetes will reject it.", "Set the annotation that the result names, or raise the resources of the pod.")
	CodeLimitRange         = warning("limit-range", "With the sidecar, the pod violates a LimitRange in the input, so Kubernetes will reject it.", "Set the annotation that the result names, or change the LimitRange.")
	CodeLimitsGiven        = info("limits-given", "A LimitRange in the input gives the sidecar limits that no annotation sets.", "If they are too small, set sidecar.speedscale.com/cpu-limit and memory-limit.")
	CodeQoS                = warning("qos-class", "The sidecar changes the pod's QoS class from Guaranteed to Burstable. Under pressure Kubernetes evicts the pod earlier, and the pod gets no exclusive CPUs.", "Set sidecar.speedscale.com/cpu-request and cpu-limit to the same value, such as 500m, and memory-request and memory-limit to the same value, such as 128Mi.")
	CodeAverage            = warning("autoscaler-average", "An autoscaler in the input measures the resources of whole pods, and the sidecar changes the average.", "Let it measure the application's container: type ContainerResource in a HorizontalPodAutoscaler, containerName in a KEDA trigger.")
	CodeMountNested        = warning("mount-nested", "A mount lies inside another mount that is read-only, so a container runtime can't create the mount point. The container will not start unless the outer volume already has it.", "Mount one of the two elsewhere. If mount-known-ca is the reason, set it to false.")
	CodeEgressPolicy       = warning("egress-policy", "NetworkPolicies in the input restrict egress of the pod, and don't allow what the sidecar needs.", "Allow what the result lists.")
	CodeEnvKept            = warning("env-kept", "The variable is already set, so the render did not change it.", "Remove the variable, or the setting that would write it.")
	CodeTrustKept          = warning("trust-kept", "A trust variable is already set, so the render did not change it. That runtime will not trust the CA.", "Add the CA to the file that it names, or remove the variable.")
	CodeJavaKept           = warning("java-proxy-kept", "JAVA_TOOL_OPTIONS already sets a proxy, or comes from another object, so the render did not change it.", "Remove the proxy flags from it. Or add the flags in the result where it is defined.")
	CodeJavaNoProxy        = info("java-no-proxy", "Some entries of NO_PROXY can't be written in Java's http.nonProxyHosts: networks, and hosts with a port.", "If Java should reach those hosts directly, list the hosts in the option noProxy.")
	CodeHostsInferred      = info("capture-hosts-inferred", "With capture-hosts auto, the render took hosts from the application's environment.", "To capture other hosts, list them in tapedeck.dev/capture-hosts.")
	CodeHostsLeft          = info("capture-hosts-left-out", "The hosts file does not capture some hosts: this workload can't capture hosts of the option captureHosts, or capture-hosts auto left hosts out.", "The result gives the reason. To capture a host anyway, list it in tapedeck.dev/capture-hosts.")
	CodeHostsNone          = warning("capture-hosts-none", "With capture-hosts auto, the application's environment has no host that can be captured.", "List the hosts in tapedeck.dev/capture-hosts, or render the Services, ConfigMaps and Secrets together with the workload.")
	CodeHostsMounted       = warning("capture-hosts-mounted", "A container mounts a file at /etc/hosts, so it does not see the hosts file that leads to the sidecar.", "Remove that mount. Otherwise the sidecar captures only what the container calls through its proxy variables.")
	CodeHostsInit          = info("capture-hosts-init", "Init containers start before the sidecar, so the hosts file does not lead them to it.", "With a native sidecar, set sidecar.speedscale.com/insert-init-first: \"true\" to start it before them.")
	CodeHostsSysctl        = info("capture-hosts-sysctl", "A captured host has a port below 1024, so the render set the safe sysctl net.ipv4.ip_unprivileged_port_start.", "")
	CodeHostAlias          = warning("capture-host-alias", "The pod's hostAliases include a captured host. The application connects to the sidecar, and the sidecar to the address of the alias.", "If that address belongs to the host, do nothing. Otherwise remove the alias.")
	CodeHostPods           = info("capture-host-pods", "Captured hosts are names of single pods of a headless Service. A hosts file has the listed names only.", "List every pod that may exist.")
	CodeHostPorts          = warning("capture-host-ports", "A captured Service has more ports. The hosts file leads calls to them into the pod too, where they are refused or reach another listener.", "If the application calls those ports, list them in tapedeck.dev/capture-hosts too.")
	CodeHostProbe          = warning("capture-host-probe", "A probe of the application calls a captured host. The sidecar accepts the connection even if that host is down.", "Let the probe wait for an answer of the host, as pg_isready and redis-cli ping do, or remove the host from the list.")
	CodeHostReconnect      = info("capture-host-reconnect", "Clients of this protocol reconnect to hosts that the server names. The sidecar captures that traffic only if those hosts are listed.", "List every broker, member or node by the name that it announces. See docs/outbound.md.")
	CodeCASecret           = info("ca-secret", "tls-out needs the Secret with the CA in the workload's namespace. Without it, TLS passes through unread.", "Create it with `tapedeck ca`.")
	CodeNameHashed         = warning("name-hashed", "The sidecar mounts a ConfigMap or Secret to whose name kustomize appended a hash. kustomize does not change names in annotations and options.", "Set options: {disableNameSuffixHash: true} in its generator, and use the name with its prefix and suffix. Or run Tapedeck as a transformer of the kustomization: then kustomize changes the names that it writes.")
	CodeRedactKey          = warning("redact-key", "The Secret in the option redactKeySecret has no key that the sidecar can use. Each process generates a random key, so equal secrets get different tokens.", "Put 16 or more random bytes under `key`. If something adds them in the cluster, do nothing.")
	CodeSinkToken          = warning("sink-token", "The Secret in the option sinkTokenSecret has no token for a collector, so recordings stay in the pod.", "Put the output of `tapedeck collect token` for the namespace under `token`. If something adds it in the cluster, do nothing.")
	CodeSinkPolicy         = info("sink-policy", "NetworkPolicies in the input restrict egress of the pods, so the render added a NetworkPolicy that allows the collector.", "")
	CodeScrapeKept         = warning("scrape-annotations-kept", "The pod already has prometheus.io annotations, so the render did not change them.", "Scrape the sidecar's port with a PodMonitor.")
	CodeHelmHooks          = info("helm-hooks-unseen", "The input comes from Helm 3, which does not pass hooks to post-renderers. Jobs and Pods that are hooks are not captured.", "Use Helm 4, which passes hooks too.")
	CodeUndoPath           = warning("undo-path", "The undo record of an earlier render names something that no longer exists, so Tapedeck can't undo that change.", "If it was renamed, remove the additions of the render from it, or render from the original manifest.")
	CodeUndoEdited         = warning("undo-edited", "Somebody edited the sidecar's container or one of its volumes after a render. Tapedeck discards that edit.", "Use an annotation or an option instead.")
	CodeUndoChanged        = warning("undo-changed", "Somebody changed a value that an earlier render wrote, so Tapedeck did not undo it.", "Set the value yourself, or render from the original manifest.")
	CodeReformatted        = warning("reformatted", "Tapedeck could not edit the document line by line, so it printed the whole document. Its content is the same.", "")

	CodeHeld          = info("replay-held", "A ConfigMap replaces a TrafficReplay or TestConfig and keeps its text, because a cluster need not have these kinds. The next render and uninject read that text.", "")
	CodeHoldRefused   = failure("replay-held-refused", "A ConfigMap can't keep a TrafficReplay or TestConfig, or it has content that no render writes.", "The result gives the reason.")
	CodeReplayRenamed = warning("replay-renamed", "An object of a replay was renamed or moved to another namespace after the render, so the parts of the replay no longer find each other.", "Apply the namePrefix, nameSuffix and namespace of an overlay first, and render the result.")

	CodeNotManifest    = info("not-manifest", "A file in a directory is not a Kubernetes manifest, so the render skipped it. If the file was named, this is an error.", "Name only manifests. Render the templates of a chart with `helm template`, and a kustomization with `-k`.")
	CodeConfigDocument = warning("config-document", "There is a configuration among the manifests. The render does not read it there.", "Pass it with --config, and remove it from the manifests: no cluster has its kind.")

	CodeReplayRendered   = info("replay-rendered", "The render wrote the objects of a replay.", "")
	CodeReplayIgnored    = info("replay-ignored", "An object that asks for a replay is marked to be ignored, or nobody applies it.", "")
	CodeSnapshotUnpinned = warning("snapshot-unpinned", "A replay names its snapshot without the digest, so whoever can write to the place can replace it. `strict` makes this an error.", "Write ID@sha256:DIGEST, as `tapedeck snapshot show` prints it.")
	CodeReplayField      = warning("replay-field-unknown", "A TrafficReplay or test config has an unknown field. `strict` makes this an error.", "Correct the name of the field, or remove it. docs/cluster-replay.md lists all names.")
	CodeReplayNotMocked  = warning("replay-not-mocked", "A full replay has no mocks, so its copy gets no recorded answers.", "List slice keys under mocks, or * for all.")
	CodeReplayNoSnapshot = failure("replay-no-snapshot", "The object configures a replay, but names no snapshot.", "Set replay.speedscale.com/snapshot-id, or spec.snapshotID.")
	CodeReplayNoPlace    = failure("replay-no-place", "A replay has no place for its snapshot and its report.", "Set the option replayPlace to a bucket, or to a separate directory together with the option replayClaim.")
	CodeReplayWorkload   = failure("replay-workload", "A TrafficReplay names a workload that is not in the input, or matches more than one.", "Render the workload together with the TrafficReplay.")
	CodeReplayConfig     = failure("replay-test-config", "A replay names a test config that does not exist, exists more than once, or can't be read.", "Use a test config that the result lists, or render the test config together with the replay.")

	CodeBadValue        = failure("bad-value", "A value is not allowed.", "The result says what was found and what is allowed.")
	CodeBadCombination  = failure("bad-combination", "Two settings exclude each other.", "The result names both.")
	CodePortReserved    = failure("port-reserved", "The sidecar would use a port that a mesh uses.", "Choose another port.")
	CodePortClash       = failure("port-clash", "Two listeners in the pod would use the same port.", "Choose another port.")
	CodeHostPort        = failure("capture-host-port", "A captured host has a port on which the pod itself listens. While the sidecar listens there on a loopback address, no other process can listen on all addresses.", "Remove the host from tapedeck.dev/capture-hosts, or let the application listen on another port.")
	CodeHostOwnPod      = failure("capture-host-own-pod", "A captured host is the name of one of the workload's pods. The pod needs that name for its own address.", "Remove the host from tapedeck.dev/capture-hosts.")
	CodeHostSink        = failure("capture-host-sink", "A captured host is the collector to which the sidecar sends its recordings.", "Remove the host from tapedeck.dev/capture-hosts.")
	CodeEnvoyUID        = failure("envoy-uid", "User or group 1337 belongs to Envoy. Istio lets traffic of that user bypass the mesh.", "Choose another user or group.")
	CodeProxyConflict   = failure("proxy-conflict", "The sidecar can't forward through the proxy in the application's variables.", "The result gives the reason.")
	CodeNameClash       = failure("name-clash", "The pod already uses a name or path that the sidecar needs.", "Rename it.")
	CodeClassicJob      = failure("classic-job", "A Job, or a Pod that should end, never ends with a classic sidecar.", "Use the native sidecar.")
	CodeImageContract   = failure("image-contract", "A setting needs a newer image than the option imageContract allows.", "Use a newer image, or remove the setting.")
	CodeSinkPlainHTTP   = failure("sink-plain-http", "The sink is a collector over plain HTTP, and no mesh encrypts the connection. Recorded bodies and the token would travel unencrypted.", "Use https://, label the pod or its namespace for Istio's injector, or, in a trusted network, set the option sinkPlainHTTP.")
	CodeSidecarConflict = failure("sidecar-conflict", "The Istio Sidecars in the input leave no room for the sidecar's listener.", "Keep one Sidecar for each pod. The result names those that conflict.")
	CodeServiceShared   = failure("service-shared", "The Service also selects a workload that serves the port and has no sidecar.", "Inject that workload too, with the same ports, or use the option inbound: sidecar.")
	CodePolicyShared    = failure("policy-shared", "A policy with the application's port also selects another workload, and the sidecars of both use the same port.", "Set sidecar.speedscale.com/proxy-in-port to another port in one of them.")
	CodeDuplicateKey    = failure("duplicate-key", "A mapping has the same key twice, so its meaning is ambiguous.", "Remove one of the two.")
	CodeMalformed       = failure("malformed-workload", "A part of the workload does not have the type that Kubernetes requires.", "The result names the field.")
	CodeUndo            = failure("undo-unreadable", "The undo record of an earlier render can't be read.", "Render from the original manifest.")
	CodeUndoRefused     = failure("undo-refused", "The annotation tapedeck.dev/undo has an entry that no render writes. Somebody else wrote or changed it.", "Remove the annotation, or render from the original manifest.")
	CodeReplayTwice     = failure("replay-twice", "Two replays of one workload have the same settings, so their objects would have the same names.", "Remove one of the two.")
	CodeReplayName      = failure("replay-name-taken", "An object in the input has a name that a replay needs, and no render created that object.", "Rename or remove the object.")
	CodeReplaySecret    = warning("replay-secret", "The pods of a replay need a Secret that is not in the input. They don't start without it.", "Create it in their namespace. `tapedeck ca` creates the Secret of the CA. If it is already in the cluster, do nothing.")
	CodeReplaySecretKey = warning("replay-secret-key", "The pods of a replay need a key that a Secret in the input does not have.", "Add it. `credentials` has lines such as header.Authorization=Bearer …. If something adds it in the cluster, do nothing.")
	CodeReplayTLS       = warning("replay-tls", "The copy accepts TLS with the certificate of the original, and the generator verifies that certificate.", "If the certificate has the name in the result, do nothing. Otherwise add that name to the certificate.")
	CodeNotCreated      = failure("created-for-refused", "The annotation tapedeck.dev/created-for is on an object that no render created, or that was changed too much to recognise.", "Remove the annotation or the object.")
	CodeInvalidYAML     = failure("invalid-yaml", "The input is not valid YAML.", "The result gives the line.")
	CodeInvalidConfig   = failure("invalid-config", "The configuration is not valid.", "The result names the field.")

	CodeReplayNoSidecar = warning("replay-no-sidecar", "The workload of a replay is not captured, so its copy has no sidecar. Only its variables lead it to the responder.", "Annotate the workload with sidecar.speedscale.com/inject: \"true\".")
	CodeReplayInPlace   = warning("replay-in-place", "A replay uses the workload in place. The workload answers every caller with mocked dependencies, and works on its own data.", "Do this in test clusters only.")
	CodeReplayInit      = warning("replay-init", "A copy runs the original's init containers, and only the responder answers them.", "Remove init containers from the pod that migrate or wait for a database, or let them fail without harm.")
	CodeReplayHosts     = info("replay-hosts", "The environment of a copy names hosts. Only its proxy variables lead calls to them through the responder.", "If the program ignores proxy variables, set routing: hostalias.")
	CodeReplayNode      = warning("replay-node", "A copy can reach its node as the original can: through a directory of the node, as a privileged process or with a capability. No NetworkPolicy prevents that.", "Remove that access from the pod if the copy does not need it.")
	CodeReplayAPI       = info("replay-kubernetes-api", "A copy has a token for the Kubernetes API. The NetworkPolicy does not let it reach that API.", "")
	CodeReplayProxy     = info("replay-proxy", "The responder replaces the application's proxy.", "")
	CodeReplayLeftOut   = info("replay-left-out", "The render removed fields from the copy's pods that would compete with the original, or keep the copy from getting ready.", "")
	CodeReplayEmptied   = info("replay-volume-emptied", "A copy has an empty volume instead of one that it would write to.", "")
	CodeReplayKind      = failure("replay-kind", "Tapedeck can copy only a Deployment for a replay.", "In a test cluster, set tapedeck.dev/replay: in-place.")
	CodeReplayShared    = failure("replay-in-place-shared", "A workload with a replay in place has another replay.", "Remove one of the two, or let both use copies.")
	CodeReplaySidecar   = failure("replay-in-place-sidecar", "A workload with a replay in place has no sidecar.", "Annotate it with sidecar.speedscale.com/inject: \"true\".")
	CodeReplayHost      = failure("replay-host-network", "Tapedeck can't copy a workload whose pods use the network of their nodes, because NetworkPolicies don't apply there.", "Remove hostNetwork.")
	CodeReplayVolume    = failure("replay-volume", "A copy would write to the original's data through a volume.", "Mount the volume read-only, or set the option replayVolumes to emptyDir.")
	CodeReplayPorts     = failure("replay-ports", "The port at which the workload of a replay accepts requests is unknown.", "Render its Service too, or declare a containerPort.")
	CodeReplaySelected  = failure("replay-selected", "A Service in the input would select a copy, or the Service of a replay would select pods of production.", "The result names the labels.")
)

// Reasons returns the table of reason codes.
func Reasons() map[Code]Reason { return reasons }

// reasons holds the rows that are declared above. Go initializes it first, because they depend on it.
var reasons = map[Code]Reason{}

func info(code Code, sentence, help string) Code {
	return row(code, Reason{Info, false, sentence, help})
}
func warning(code Code, sentence, help string) Code {
	return row(code, Reason{Warning, false, sentence, help})
}
func failure(code Code, sentence, help string) Code {
	return row(code, Reason{Error, false, sentence, help})
}
func skip(code Code, sentence, help string) Code {
	return row(code, Reason{Warning, true, sentence, help})
}

func row(code Code, r Reason) Code {
	if _, taken := reasons[code]; taken {
		panic("two reasons have the code " + string(code))
	}
	reasons[code] = r
	return code
}
