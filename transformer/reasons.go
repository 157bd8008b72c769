package transformer

// Code is a stable reason code, found in a result's tags under "code".
type Code string

// Reason is one row of the table of reason codes: the source of the severity
// of results and of docs/reason-codes.md.
type Reason struct {
	Severity Severity
	// Skip marks the reasons for which a workload that asked to be injected
	// is left alone; `strict` makes errors of them.
	Skip bool
	// Sentence says what happened.
	Sentence string
	// Help says what to do about it.
	Help string
}

// The reason codes.
const (
	CodeInjected     Code = "injected"
	CodeNotWritten   Code = "not-written"
	CodeUninjected   Code = "uninjected"
	CodeUndone       Code = "undone"
	CodeDeleted      Code = "deleted"
	CodeNotRequested Code = "not-requested"
	CodeIgnored      Code = "ignored"
	CodeLocalConfig  Code = "local-config"
	CodeNoPods       Code = "no-pods"

	CodeTransparent      Code = "transparent"
	CodeHostNetwork      Code = "host-network"
	CodeWindows          Code = "windows"
	CodeLinkerd          Code = "linkerd"
	CodeOtherSidecar     Code = "other-sidecar"
	CodeNoTemplate       Code = "no-template"
	CodeNotInMesh        Code = "not-in-mesh"
	CodeAmbient          Code = "ambient"
	CodePortExcluded     Code = "port-excluded"
	CodeInterceptionNone Code = "interception-none"
	CodeGateway          Code = "gateway"
	CodeMeshItself       Code = "mesh-itself"
	CodeNoInboundPort    Code = "no-inbound-port"
	CodeProxyless        Code = "proxyless"
	CodeUnsupported      Code = "unsupported-kind"
	CodeOwned            Code = "owned"

	CodeLegacyAnnotation   Code = "legacy-annotation"
	CodeUnknownAnnotation  Code = "unknown-annotation"
	CodeUnknownField       Code = "unknown-field"
	CodeNoMeaning          Code = "no-meaning"
	CodeNeedless           Code = "needless-annotation"
	CodeMemoryLimit        Code = "memory-limit-small"
	CodeReplayPolicy       Code = "replay-network-policy"
	CodeReplayEgressOpen   Code = "replay-egress-open"
	CodeReplayIngressOpen  Code = "replay-ingress-open"
	CodeReplayLocal        Code = "replay-recordings-kept"
	CodeReplayPassthrough  Code = "replay-passthrough-open"
	CodeReplayAccount      Code = "replay-service-account"
	CodeReplayPlaceOpen    Code = "replay-place-open"
	CodeReplayMesh         Code = "replay-mesh-unknown"
	CodeReplayIdentity     Code = "replay-no-identity"
	CodeReplayDenied       Code = "replay-denied"
	CodeReplayOtherPolicy  Code = "replay-other-policy"
	CodeReplayNamespace    Code = "replay-no-namespace"
	CodeReplayEgressClosed Code = "replay-egress-closed"
	CodeReplayProduction   Code = "replay-production"
	CodeNoService          Code = "no-service"
	CodePortNotServed      Code = "port-not-served"
	CodeOutboundOnly       Code = "outbound-only"
	CodePortsUnclear       Code = "ports-unclear"
	CodePortsNotCaptured   Code = "ports-not-captured"
	CodeEgress             Code = "egress-not-inherited"
	CodeEgressClosed       Code = "egress-closed"
	CodeSidecarPatched     Code = "sidecar-patched"
	CodeVirtualServiceHost Code = "virtualservice-host"
	CodeVirtualServiceDone Code = "virtualservice-mended"
	CodeServiceEntryKept   Code = "service-entry-kept"
	CodeRouteParent        Code = "route-parent"
	CodeRouteMended        Code = "route-mended"
	CodeRouteNeedless      Code = "route-needless"
	CodeServicePatched     Code = "service-patched"
	CodeServiceHeadless    Code = "service-headless"
	CodePortFollowed       Code = "port-followed"
	CodePortNotFollowed    Code = "port-not-followed"
	CodePortExposed        Code = "port-exposed"
	CodeEnvoyFilter        Code = "envoy-filter"
	CodeProxyChained       Code = "proxy-chained"
	CodeNoProxyKept        Code = "no-proxy-kept"
	CodeNoProxyWide        Code = "no-proxy-wide"
	CodeProxyApart         Code = "proxy-apart"
	CodeEnvFrom            Code = "env-from"
	CodeSocks              Code = "socks-clients"
	CodePodResources       Code = "pod-resources"
	CodeQuota              Code = "quota"
	CodeLimitRange         Code = "limit-range"
	CodeLimitsGiven        Code = "limits-given"
	CodeQoS                Code = "qos-class"
	CodeAverage            Code = "autoscaler-average"
	CodeMountNested        Code = "mount-nested"
	CodeEgressPolicy       Code = "egress-policy"
	CodeEnvKept            Code = "env-kept"
	CodeTrustKept          Code = "trust-kept"
	CodeJavaKept           Code = "java-proxy-kept"
	CodeJavaNoProxy        Code = "java-no-proxy"
	CodeHostsInferred      Code = "capture-hosts-inferred"
	CodeHostsLeft          Code = "capture-hosts-left-out"
	CodeHostsNone          Code = "capture-hosts-none"
	CodeHostsMounted       Code = "capture-hosts-mounted"
	CodeHostsInit          Code = "capture-hosts-init"
	CodeHostsSysctl        Code = "capture-hosts-sysctl"
	CodeHostAlias          Code = "capture-host-alias"
	CodeHostPods           Code = "capture-host-pods"
	CodeHostPorts          Code = "capture-host-ports"
	CodeHostProbe          Code = "capture-host-probe"
	CodeHostReconnect      Code = "capture-host-reconnect"
	CodeCASecret           Code = "ca-secret"
	CodeNameHashed         Code = "name-hashed"
	CodeRedactKey          Code = "redact-key"
	CodeSinkToken          Code = "sink-token"
	CodeSinkPolicy         Code = "sink-policy"
	CodeScrapeKept         Code = "scrape-annotations-kept"
	CodeHelmHooks          Code = "helm-hooks-unseen"
	CodeReformatted        Code = "reformatted"
	CodeUndoPath           Code = "undo-path"
	CodeUndoChanged        Code = "undo-changed"
	CodeUndoEdited         Code = "undo-edited"
	CodeConfigDocument     Code = "config-document"
	CodeNotManifest        Code = "not-manifest"

	CodeHeld             Code = "replay-held"
	CodeHoldRefused      Code = "replay-held-refused"
	CodeReplayRenamed    Code = "replay-renamed"
	CodeReplayRendered   Code = "replay-rendered"
	CodeReplayIgnored    Code = "replay-ignored"
	CodeSnapshotUnpinned Code = "snapshot-unpinned"
	CodeReplayField      Code = "replay-field-unknown"
	CodeReplayNotMocked  Code = "replay-not-mocked"
	CodeReplayNoSnapshot Code = "replay-no-snapshot"
	CodeReplayNoPlace    Code = "replay-no-place"
	CodeReplayWorkload   Code = "replay-workload"
	CodeReplayConfig     Code = "replay-test-config"

	CodeBadValue        Code = "bad-value"
	CodeBadCombination  Code = "bad-combination"
	CodePortReserved    Code = "port-reserved"
	CodePortClash       Code = "port-clash"
	CodeHostPort        Code = "capture-host-port"
	CodeHostOwnPod      Code = "capture-host-own-pod"
	CodeHostSink        Code = "capture-host-sink"
	CodeEnvoyUID        Code = "envoy-uid"
	CodeProxyConflict   Code = "proxy-conflict"
	CodeNameClash       Code = "name-clash"
	CodeClassicJob      Code = "classic-job"
	CodeImageContract   Code = "image-contract"
	CodeSinkPlainHTTP   Code = "sink-plain-http"
	CodeSidecarConflict Code = "sidecar-conflict"
	CodeServiceShared   Code = "service-shared"
	CodePolicyShared    Code = "policy-shared"
	CodeDuplicateKey    Code = "duplicate-key"
	CodeMalformed       Code = "malformed-workload"
	CodeUndo            Code = "undo-unreadable"
	CodeUndoRefused     Code = "undo-refused"
	CodeReplayTwice     Code = "replay-twice"
	CodeReplayName      Code = "replay-name-taken"
	CodeReplaySecret    Code = "replay-secret"
	CodeReplaySecretKey Code = "replay-secret-key"
	CodeReplayTLS       Code = "replay-tls"
	CodeNotCreated      Code = "created-for-refused"
	CodeInvalidYAML     Code = "invalid-yaml"
	CodeInvalidConfig   Code = "invalid-config"

	CodeReplayNoSidecar Code = "replay-no-sidecar"
	CodeReplayInPlace   Code = "replay-in-place"
	CodeReplayInit      Code = "replay-init"
	CodeReplayHosts     Code = "replay-hosts"
	CodeReplayNode      Code = "replay-node"
	CodeReplayAPI       Code = "replay-kubernetes-api"
	CodeReplayProxy     Code = "replay-proxy"
	CodeReplayLeftOut   Code = "replay-left-out"
	CodeReplayEmptied   Code = "replay-volume-emptied"
	CodeReplayKind      Code = "replay-kind"
	CodeReplayShared    Code = "replay-in-place-shared"
	CodeReplaySidecar   Code = "replay-in-place-sidecar"
	CodeReplayHost      Code = "replay-host-network"
	CodeReplayVolume    Code = "replay-volume"
	CodeReplayPorts     Code = "replay-ports"
	CodeReplaySelected  Code = "replay-selected"
)

// Reasons returns the table of reason codes.
func Reasons() map[Code]Reason { return reasons }

var reasons = map[Code]Reason{
	CodeInjected:     {Info, false, "The workload was given the sidecar.", ""},
	CodeNotWritten:   {Info, false, "Another object has an error, and then nothing is written; this workload has none that was found.", "Mend the errors."},
	CodeUninjected:   {Info, false, "The changes of an earlier render were taken back.", ""},
	CodeUndone:       {Info, false, "The changes of an earlier render were taken back, and the object was rendered anew.", ""},
	CodeDeleted:      {Info, false, "An object that an earlier render had created, and this one does not, was deleted.", ""},
	CodeNotRequested: {Info, false, "The workload does not ask for the sidecar.", "Set sidecar.speedscale.com/inject: \"true\" to capture it."},
	CodeIgnored:      {Info, false, "The workload says operator.speedscale.com/ignore: \"true\".", "Remove that annotation to capture the workload."},
	CodeLocalConfig:  {Info, false, "The object is marked config.kubernetes.io/local-config: \"true\", so it is never applied.", ""},

	CodeNoPods: {Info, false, "The object has annotations of a workload beside it, as commonAnnotations of a kustomization put them there, and has no pods.", ""},

	CodeTransparent:      {Warning, true, "proxy-type transparent redirects packets with iptables: that needs NET_ADMIN, and collides with Istio.", "Remove sidecar.speedscale.com/proxy-type, or set it to dual, reverse or forward."},
	CodeHostNetwork:      {Warning, true, "The pod uses the node's network: Istio does not inject it, and the sidecar's ports would be the node's.", "Remove hostNetwork, or leave the workload uncaptured."},
	CodeWindows:          {Warning, true, "The pod runs on Windows, for which there is no sidecar.", "Leave the workload uncaptured."},
	CodeLinkerd:          {Warning, true, "The pod is in a Linkerd mesh, whose proxy has the ports 4140 and 4143.", "Take the workload out of that mesh, or leave it uncaptured."},
	CodeOtherSidecar:     {Warning, true, "The pod has the container speedscale-goproxy already.", "Let one of the two inject: remove that container."},
	CodeNoTemplate:       {Warning, true, "The workload has no pod template of its own.", "Annotate the workload that it refers to."},
	CodeNotInMesh:        {Warning, true, "The pod is kept out of the mesh by sidecar.istio.io/inject: \"false\", or its namespace by istio-injection: disabled, so no Envoy sends its inbound traffic on.", "Set the option inbound to service, or proxy-type to forward."},
	CodeAmbient:          {Warning, true, "The pod is in an ambient mesh, where Istio ignores Sidecar resources.", "Set the option inbound to service, or proxy-type to forward."},
	CodePortExcluded:     {Warning, true, "Istio is told not to intercept the port to be captured.", "Change the traffic.sidecar.istio.io annotation, or set the option inbound to service."},
	CodeInterceptionNone: {Warning, true, "The pod's sidecar.istio.io/interceptionMode is NONE: Envoy would bind the application's own port.", "Remove that annotation, or set the option inbound to service."},
	CodeGateway:          {Warning, true, "The pod is a gateway of Istio's, which takes no notice of Sidecar resources and has no application.", "Capture the workloads behind it."},
	CodeMeshItself:       {Warning, true, "The pod is a part of the mesh itself: ztunnel, Istio's CNI agent or its control plane. It carries or steers the traffic of others.", "Leave it uncaptured, and capture the workloads."},
	CodeNoInboundPort:    {Warning, true, "Only inbound traffic is to be captured, and which port is not known: no Service in the input leads to one, and there is not exactly one containerPort.", "Render the Service together with the workload, or set sidecar.speedscale.com/proxy-port."},
	CodeProxyless:        {Warning, true, "The pod gets Istio's agent for proxyless gRPC, and no Envoy.", "Set the option inbound to service, or proxy-type to forward."},

	CodeUnsupported: {Warning, true, "An object of a kind that is not rendered has annotations that ask for something.", "Annotate a workload of one of the kinds that the result names, or remove the annotation."},
	CodeOwned:       {Warning, true, "The object belongs to another one, which makes its pods.", "Annotate the owner, and leave objects out of the input that a cluster made."},

	CodeLegacyAnnotation:   {Warning, false, "The annotation's spelling is an old one.", "Use the spelling that the result gives."},
	CodeUnknownAnnotation:  {Warning, false, "No annotation has that name.", "See docs/annotations.md for the names."},
	CodeUnknownField:       {Warning, false, "An object of Istio's has a field that the version of its API which Tapedeck knows does not have; `strict` makes an error of it.", "Correct the field's name; if your Istio is newer and has the field, leave it."},
	CodeNoMeaning:          {Warning, false, "The annotation, or the field, can have no effect here.", "Remove it; the result says why."},
	CodeNeedless:           {Warning, false, "The annotation has no effect together with the others.", "See its row in docs/annotations.md for where it is valid."},
	CodeMemoryLimit:        {Warning, false, "The sidecar's memory limit is too small for any traffic.", "Raise sidecar.speedscale.com/memory-limit to 32Mi or more; 128Mi takes a few hundred busy connections with TLS."},
	CodeReplayPolicy:       {Info, false, "NetworkPolicies keep the copy of a replay from all but its responder, which holds only where the cluster's network plugin enforces them.", "Nothing, if it does. Or else have the copy in a mesh of sidecars, whose Envoy keeps it from the rest, or in a cluster of its own. Where a cloud runs the control plane, add a NetworkPolicy by which Envoy reaches that."},
	CodeReplayEgressOpen:   {Warning, false, "The copy of a replay may reach what is mocked, because nothing is mocked or because other NetworkPolicies of the input allow it more.", "Exclude the pods that have the label tapedeck.dev/replay from those policies, by matchExpressions with the operator DoesNotExist."},
	CodeReplayIngressOpen:  {Warning, false, "Other NetworkPolicies of the input let others call the responder of a replay, which holds what was recorded.", "Exclude the pods that have the label tapedeck.dev/replay from those policies, by matchExpressions with the operator DoesNotExist."},
	CodeReplayLocal:        {Info, false, "Recordings of a replayed workload stay in its pod: a NetworkPolicy can't name a collector outside the cluster, and would open its port to the real dependencies.", "Nothing, if you don't need recordings of replays. Or else have a collector in the cluster."},
	CodeReplayPassthrough:  {Info, false, "A NetworkPolicy opens the ports of hosts that the responder passes calls on to, or the generator sends to, at every address, because it can't name hosts.", ""},
	CodeReplayAccount:      {Info, false, "AuthorizationPolicies tell pods by their service account, and parts of a replay share theirs with other pods, which are then admitted, too.", "Set the options replayServiceAccount and replayCopyServiceAccount to service accounts that nothing else has."},
	CodeReplayPlaceOpen:    {Info, false, "ServiceEntries open the hosts of the place to all pods of the namespace. It is a warning where the place does not name its region or account, so that all of them are open.", "Put region or storage_account into the option replayPlace: see docs/places.md."},
	CodeReplayMesh:         {Info, false, "Nothing in the input says whether the pods of a replay are in a mesh, so it has no AuthorizationPolicies, ServiceEntries and Sidecar.", "Nothing, without Istio. Or else render the Namespace together with the workload, or set a label of the pods such as sidecar.istio.io/inject."},
	CodeReplayIdentity:     {Warning, false, "Pods of a replay are called without mutual TLS, so no AuthorizationPolicy can tell who calls them.", "Nothing, where NetworkPolicies are enforced. Or else enable mutual TLS in the namespace."},
	CodeReplayDenied:       {Warning, false, "Policies or routes of the input also hold for the pods of a replay, and may refuse the recorded requests or lead them elsewhere.", "Exclude the pods of replays, or expect that those requests fail."},
	CodeReplayOtherPolicy:  {Warning, false, "The input has policies of a network plugin that may hold for the pods of a replay, and that a render does not evaluate.", "Leave the pods that have the label tapedeck.dev/replay out of them, or make sure that they allow no more than the NetworkPolicies of the replay."},
	CodeReplayNamespace:    {Warning, false, "Manifests of a replay in a mesh name no namespace, so its AuthorizationPolicies and its Sidecar open more than they need.", "Set metadata.namespace, as by an overlay, before Tapedeck renders."},
	CodeReplayEgressClosed: {Warning, false, "An Istio Sidecar of the input selects pods of a replay and keeps them from what they need.", "Add to its egress what the result names."},
	CodeReplayProduction:   {Warning, false, "The requests of a replay go to a Service of the input, which production uses.", "Give the URL of a test environment, or leave its host out, so that a copy takes the requests."},
	CodeNoService:          {Warning, false, "No Service in the input selects the workload's pods.", "Render the Service together with the workload."},
	CodePortNotServed:      {Warning, false, "A Service selects the workload's pods, but none of its ports leads to the port that is captured.", "Set sidecar.speedscale.com/proxy-port to the container port that the Service targets, or remove it."},
	CodeOutboundOnly:       {Info, false, "The workload has no port to capture, so only its outbound traffic is captured.", "If it serves a port, render its Service together with it, or set sidecar.speedscale.com/proxy-port."},
	CodePortsUnclear:       {Warning, false, "The containers have several ports and no Service in the input leads to one, so only outbound traffic is captured.", "Render the Service together with the workload, or name the ports in tapedeck.dev/proxy-ports."},
	CodePortsNotCaptured:   {Info, false, "The Services have further ports; they go to the application directly.", ""},
	CodeEgress:             {Warning, false, "The generated Istio Sidecar has no egress: Istio then allows every host, whatever the namespace's own Sidecar says; an outbound policy REGISTRY_ONLY of that Sidecar is lost.", "Render the namespace's Sidecar together with the workload, or set the option egress or outboundTrafficPolicy. It is an error under strict."},
	CodeEgressClosed:       {Warning, false, "An Istio Sidecar that is left as it is allows no egress to the namespace of the ServiceEntry, or of the collector.", "Add NAMESPACE/* to its egress, with the namespace that the result names."},
	CodeSidecarPatched:     {Warning, false, "An Istio Sidecar of the input selects the pods already, and was pointed at the sidecar; it selects the pods of the previous revision too, which have none.", "Apply it when no pod of the previous revision runs any more, or accept that calls of those fail until then."},
	CodeVirtualServiceHost: {Warning, false, "The workload's Service is exposed by a VirtualService that does not list the Service's own host, or not the gateway mesh, so calls from inside the mesh are not routed by it.", "Do what the result advises: add the host and the gateway mesh (the option mendVirtualServices does), or write a second VirtualService where one can't hold for both."},
	CodeVirtualServiceDone: {Info, false, "The VirtualService was given the Service's host and the gateway mesh.", ""},
	CodeServiceEntryKept:   {Warning, false, "The input has the ServiceEntry already; it is left as it is, and lacks hosts that were asked for.", "Add the hosts to it, or remove it and let the render write it."},
	CodeRouteParent:        {Warning, false, "An HTTPRoute or GRPCRoute exposes the Service through a Gateway and does not name the Service as a parent: calls from inside the mesh are not routed by it.", "Do what the result advises: add the Service to parentRefs (the option mendVirtualServices does), or write a second route where one can't hold for both."},
	CodeRouteMended:        {Info, false, "The route was given the Service as a parent.", ""},
	CodeRouteNeedless:      {Info, false, "A VirtualService, HTTPRoute or GRPCRoute exposes the Service outside the mesh only, and its routes lead to that Service without changing anything: calls from inside need none of them.", ""},
	CodeServiceHeadless:    {Warning, false, "With inbound: service, callers of a headless Service dial the pods themselves, and pass the sidecar by.", "Use a Service with an address, or the option inbound: sidecar."},
	CodePortFollowed:       {Info, false, "A policy names the application's port, and the Service leads to the sidecar's now, so the policy was given that port too.", ""},
	CodePortNotFollowed:    {Warning, false, "A NetworkPolicy of the callers allows the application's port by address, or in a namespace that the input does not have, and the Service leads to the sidecar's now.", "Allow the sidecar's port too, if the pods are meant, or render their Namespace together with them."},
	CodePortExposed:        {Warning, false, "A NetworkPolicy allows the sidecar's port to callers that may not call the application's.", "Take the port out of that rule, or set sidecar.speedscale.com/proxy-in-port to one that no rule has."},
	CodeEnvoyFilter:        {Warning, false, "An EnvoyFilter changes where Envoy sends the captured port, or goes by a name or a number that is another one now.", "The result says which; change the EnvoyFilter."},
	CodeServicePatched:     {Info, false, "The Service's targetPort was pointed at the sidecar.", ""},
	CodeProxyChained:       {Info, false, "The application had a proxy; the sidecar goes through it now.", ""},
	CodeNoProxyKept:        {Warning, false, "NO_PROXY cannot be merged and is left as it is: it comes from elsewhere, has an entry that is no host, or is *, which no proxy is used for.", "Add localhost,127.0.0.1 to it where it is defined. Where it is *, remove it, or set the option captureNoProxy to true."},
	CodeNoProxyWide:        {Warning, false, "NO_PROXY has hosts of the cluster as a whole: outbound calls of them go past the proxy and are not captured.", "Set the option captureNoProxy to true to have those calls captured; where several containers had a proxy, it takes the hosts that are on all their lists."},
	CodeProxyApart:         {Warning, false, "The container has no proxy, another one of the pod has: the sidecar goes through that, so this one is not pointed at it.", "Give both the same proxy variables, or accept that this one's outbound calls are not captured."},
	CodeEnvFrom:            {Warning, false, "The container takes variables from an object that is not in the input; where both set one, the rendered value wins.", "Render that object too if it holds proxy or trust variables."},
	CodeSocks:              {Warning, false, "Proxy variables with socks5:// break common clients: urllib, wget and axios fail on them, requests does without PySocks, and httpx without socksio.", "Set sidecar.speedscale.com/proxy-protocol to tcp:http, or http with proxy-type forward: the same port takes SOCKS from clients that are told to speak it."},
	CodeQuota:              {Warning, false, "A ResourceQuota of the input will refuse the pod with the sidecar.", "Set the annotation that the result names, or raise the quota."},
	CodePodResources:       {Warning, false, "The pod states resources as a whole, and they have no room for the sidecar: Kubernetes will refuse it.", "Set the annotation that the result names, or raise the pod's."},
	CodeLimitRange:         {Warning, false, "A LimitRange of the input will refuse the pod with the sidecar.", "Set the annotation that the result names, or change the LimitRange."},
	CodeLimitsGiven:        {Info, false, "A LimitRange of the input gives the sidecar limits that no annotation sets.", "Set sidecar.speedscale.com/cpu-limit and memory-limit if these are too small."},
	CodeQoS:                {Warning, false, "The pod's QoS class is Guaranteed without the sidecar, and Burstable with it: under pressure it is evicted earlier, and it gets no CPUs of its own.", "Set sidecar.speedscale.com/cpu-request and cpu-limit to one value, such as 500m, and memory-request and memory-limit to one, such as 128Mi."},
	CodeAverage:            {Warning, false, "An autoscaler of the input goes by the resources of whole pods, and the sidecar changes the average.", "Have it go by the application's container: type ContainerResource in a HorizontalPodAutoscaler, containerName in a trigger of KEDA."},
	CodeMountNested:        {Warning, false, "A mount lies in a read-only volume of another one, where no container runtime can create it: the container will not start unless the volume has it.", "Mount one of the two elsewhere, or set mount-known-ca to false where it is the reason."},
	CodeEgressPolicy:       {Warning, false, "NetworkPolicies of the input restrict egress of the pod and leave out what the sidecar needs.", "Allow what the result names."},
	CodeEnvKept:            {Warning, false, "The variable is set already and is left as it is.", "Remove one of the two."},
	CodeTrustKept:          {Warning, false, "A trust variable is set already and is left as it is: that runtime will not trust the CA.", "Add the CA to the file that it names, or remove the variable."},
	CodeJavaKept:           {Warning, false, "JAVA_TOOL_OPTIONS names a proxy already, or comes from elsewhere, and is left as it is.", "Remove the flags for a proxy from it, or add those that the result gives where it is defined."},
	CodeJavaNoProxy:        {Info, false, "Entries of NO_PROXY have no notation in Java's http.nonProxyHosts: networks, and hosts with a port.", "Name the hosts in the option noProxy if Java is to reach them directly."},
	CodeHostsInferred:      {Info, false, "With capture-hosts auto, hosts were taken from the environment of the application.", "Name the hosts in tapedeck.dev/capture-hosts to have others."},
	CodeHostsLeft:          {Info, false, "Hosts are not captured through the hosts file: what the option captureHosts names and this workload can't capture, or what capture-hosts auto found and left out.", "The result says why. Name a host in tapedeck.dev/capture-hosts to have it captured all the same."},
	CodeHostsNone:          {Warning, false, "With capture-hosts auto, the environment of the application names no host that can be captured.", "Name the hosts in tapedeck.dev/capture-hosts, or render the Services, ConfigMaps and Secrets together with the workload."},
	CodeHostsMounted:       {Warning, false, "A container mounts /etc/hosts itself, so the hosts file does not lead it to the sidecar.", "Remove that mount, or accept that only what the container calls by its proxy variables is captured."},
	CodeHostsInit:          {Info, false, "Init containers that start before the sidecar are not led to it by the hosts file.", "Set sidecar.speedscale.com/insert-init-first: \"true\" with a native sidecar to have them start after it."},
	CodeHostsSysctl:        {Info, false, "A captured host's port is below 1024, so the pod has the safe sysctl net.ipv4.ip_unprivileged_port_start.", ""},
	CodeHostAlias:          {Warning, false, "The pod's hostAliases name a captured host: the application is led to the sidecar, and the sidecar to the address of the alias.", "Nothing, if that address is the host; or else remove the alias."},
	CodeHostPods:           {Info, false, "Captured hosts are names of single pods of a headless Service; a hosts file knows no others than those that are listed.", "List every pod that there may be."},
	CodeHostPorts:          {Warning, false, "A captured Service has further ports, to which the hosts file leads calls as well: they are refused, or reach the pod itself.", "List those ports in tapedeck.dev/capture-hosts, too, if the application calls them."},
	CodeHostProbe:          {Warning, false, "A probe of the application calls a captured host, and finds the sidecar there also while that host is down.", "Have the probe wait for an answer of the host, as pg_isready and redis-cli ping do, or leave the host out."},
	CodeHostReconnect:      {Info, false, "Clients of the protocol go on to hosts that the server names, and what they send there is captured only if those are listed, too.", "List every broker, member or node by the name that it announces: see docs/outbound.md."},
	CodeCASecret:           {Info, false, "tls-out needs the CA's Secret in the workload's namespace; without it TLS passes through unread.", "Create it with `tapedeck ca`."},
	CodeNameHashed:         {Warning, false, "The sidecar mounts a ConfigMap or a Secret whose name has got a hash from kustomize, which does not change names in annotations and options.", "Set options: {disableNameSuffixHash: true} in its generator, and give the name with its prefix and suffix. Or run Tapedeck as a transformer of the kustomization: kustomize changes the names that it writes."},
	CodeRedactKey:          {Warning, false, "The Secret of the option redactKeySecret has no key that the sidecar can use: each process makes a random one, and equal secrets get different tokens.", "Put 16 random bytes or more under `key`. If something else does that in the cluster, there is nothing to do."},
	CodeSinkToken:          {Warning, false, "The Secret of the option sinkTokenSecret has no token of a collector: recordings stay in the pod.", "Put what `tapedeck collect token` prints for the namespace under `token`. If something else does that in the cluster, there is nothing to do."},
	CodeSinkPolicy:         {Info, false, "NetworkPolicies of the input restrict egress of the pods, and a NetworkPolicy was added that allows the collector.", ""},
	CodeScrapeKept:         {Warning, false, "The pod has prometheus.io annotations of its own, which are left as they are.", "Scrape the sidecar's port with a PodMonitor."},
	CodeHelmHooks:          {Info, false, "The input comes from Helm 3, which does not pass hooks to post-renderers: hook Jobs and Pods are not captured.", "Use Helm 4 to have hooks rendered too."},
	CodeUndoPath:           {Warning, false, "The record of an earlier render names something that is not there any more, so its changes can't be taken back.", "If it was renamed, remove the render's additions from it, or render from the original manifest."},
	CodeUndoEdited:         {Warning, false, "The sidecar's container or a volume of its was edited since an earlier render, and the edit goes with it.", "Use an annotation or an option instead of the edit."},
	CodeUndoChanged:        {Warning, false, "A value is not as an earlier render left it, so it was left alone.", "Set the value yourself, or render from the original manifest."},
	CodeReformatted:        {Warning, false, "The document could not be edited line by line and was printed anew; its content is the same.", ""},

	CodeHeld:          {Info, false, "A TrafficReplay or TestConfig is kept in a ConfigMap that stands in its place, because no cluster has to know its kind. The next render and uninject find its text there.", ""},
	CodeHoldRefused:   {Error, false, "A ConfigMap can't keep a TrafficReplay or TestConfig, or keeps something that no render writes.", "The result says why."},
	CodeReplayRenamed: {Warning, false, "An object of a replay was renamed, or moved to another namespace, since the render: the parts of a replay do not find each other any more.", "Apply namePrefix, nameSuffix and namespace of an overlay before Tapedeck, and render the result."},

	CodeNotManifest:    {Info, false, "A file of a directory is no Kubernetes manifest, so it is left out. A file that was named is an error.", "Name manifests alone. Render a chart's templates with `helm template`, and a kustomization with `-k`."},
	CodeConfigDocument: {Warning, false, "A configuration stands among the manifests, where it configures nothing.", "Give it with --config, and take it out of the manifests: no cluster knows its kind."},

	CodeReplayRendered:   {Info, false, "A replay was rendered.", ""},
	CodeReplayIgnored:    {Info, false, "Something that asks for a replay is to be left alone, or is never applied.", ""},
	CodeSnapshotUnpinned: {Warning, false, "A replay names its snapshot without the digest: who can write to the place can put another one there; `strict` makes an error of it.", "Write ID@sha256:DIGEST, as `tapedeck snapshot show` prints it."},
	CodeReplayField:      {Warning, false, "A TrafficReplay or a test config has a field that is not known; `strict` makes an error of it.", "Correct the field's name, or remove it; docs/cluster-replay.md has all names."},
	CodeReplayNotMocked:  {Warning, false, "A full replay lists no mocks, so nothing is mocked.", "List slice keys under mocks, or * for all."},
	CodeReplayNoSnapshot: {Error, false, "Something is said of a replay, and not which snapshot is replayed.", "Set replay.speedscale.com/snapshot-id, or spec.snapshotID."},
	CodeReplayNoPlace:    {Error, false, "A replay has no place where its snapshot is and its report goes.", "Set the option replayPlace to a bucket, or to a directory of its own with the option replayClaim."},
	CodeReplayWorkload:   {Error, false, "A TrafficReplay names a workload that is not in the input, or is not the only one.", "Render the workload together with the TrafficReplay."},
	CodeReplayConfig:     {Error, false, "A replay names a test config that is not there, is there more than once, or can't be read.", "Use one of those that the result lists, or render the test config together with the replay."},

	CodeBadValue:        {Error, false, "A value is not one of those allowed.", "The result says what was found and what is allowed."},
	CodeBadCombination:  {Error, false, "Two settings exclude each other.", "The result names both."},
	CodePortReserved:    {Error, false, "A port of the sidecar is one that a mesh uses itself.", "Choose another port."},
	CodePortClash:       {Error, false, "Two listeners of the pod would have the same port.", "Choose another port."},
	CodeHostPort:        {Error, false, "A captured host's port is one on which the pod itself listens: beside the sidecar's listener on a loopback address nobody can listen on all addresses.", "Take the host out of tapedeck.dev/capture-hosts, or have the application listen on another port."},
	CodeHostOwnPod:      {Error, false, "A captured host is the name of one of the workload's own pods, which the pod needs for its own address.", "Take the host out of tapedeck.dev/capture-hosts."},
	CodeHostSink:        {Error, false, "A captured host is the collector to which the sidecar sends its recordings.", "Take the host out of tapedeck.dev/capture-hosts."},
	CodeEnvoyUID:        {Error, false, "User or group 1337 is Envoy's: Istio lets its traffic out of the mesh.", "Choose another user or group."},
	CodeProxyConflict:   {Error, false, "The application's proxy variables cannot be chained to.", "The result says why."},
	CodeNameClash:       {Error, false, "The pod has something of its own under a name or path that the sidecar needs.", "Rename it."},
	CodeClassicJob:      {Error, false, "A Job, or a Pod that is meant to end, never does with a classic sidecar.", "Use the native sidecar."},
	CodeImageContract:   {Error, false, "A setting needs what images of the option imageContract do not understand.", "Use a newer image, or leave the setting out."},
	CodeSinkPlainHTTP:   {Error, false, "The sink is a collector by plain HTTP, and no mesh encrypts the way there: recorded bodies and the token would travel in clear.", "Use https://, label the pod or its namespace for Istio's injector, or set the option sinkPlainHTTP where the network is trusted."},
	CodeSidecarConflict: {Error, false, "The Istio Sidecars of the input leave no place for the sidecar's listener.", "Leave one Sidecar for each pod; the result names those concerned."},
	CodeServiceShared:   {Error, false, "The Service also selects a workload that serves and has no proxy to send to.", "Inject that workload too, with the same ports, or use the option inbound: sidecar."},
	CodePolicyShared:    {Error, false, "A policy that has the application's port holds for another workload too, and the sidecars of both have the same port.", "Set sidecar.speedscale.com/proxy-in-port of one of them to another port."},
	CodeDuplicateKey:    {Error, false, "A mapping has the same key twice, so what the workload says is not certain.", "Remove one of the two."},
	CodeMalformed:       {Error, false, "A part of the workload is not of the kind that Kubernetes asks for.", "The result names the field."},
	CodeUndo:            {Error, false, "The record of an earlier render cannot be read.", "Render from the original manifest."},
	CodeUndoRefused:     {Error, false, "The annotation tapedeck.dev/undo has an entry that no render writes: somebody else wrote or changed it.", "Remove the annotation, or render from the original manifest."},
	CodeReplayTwice:     {Error, false, "Two replays of one workload have the same settings, so they would have the same names.", "Remove one of the two."},
	CodeReplayName:      {Error, false, "An object of the input has the name that a replay needs, and no render created it.", "Rename or remove the object."},
	CodeReplaySecret:    {Warning, false, "The pods of a replay need a Secret that is not in the input: they don't start until it is there.", "Create it in their namespace; `tapedeck ca` makes that of the CA. If it is in the cluster already, there is nothing to do."},
	CodeReplaySecretKey: {Warning, false, "The pods of a replay need a key that a Secret of the input does not have.", "Add it: `credentials` has lines such as header.Authorization=Bearer …. If something else does that in the cluster, there is nothing to do."},
	CodeReplayTLS:       {Warning, false, "The copy takes TLS, and the generator verifies the certificate, which is the original's.", "Nothing, if the certificate has the name that the result gives; or else have it signed for that, too."},
	CodeNotCreated:      {Error, false, "The annotation tapedeck.dev/created-for is on an object that no render created, or that was changed too far to tell.", "Remove the annotation, or the object."},
	CodeInvalidYAML:     {Error, false, "The input is not YAML that can be read.", "The result gives the line."},
	CodeInvalidConfig:   {Error, false, "The configuration is not valid.", "The result names the field."},

	CodeReplayNoSidecar: {Warning, false, "The workload of a replay is not captured, so its copy has no sidecar: variables alone lead it to the responder.", "Annotate the workload with sidecar.speedscale.com/inject: \"true\"."},
	CodeReplayInPlace:   {Warning, false, "A workload is replayed to in place: it answers from mocks to whoever calls it, and works on its own data.", "Do this in test clusters only."},
	CodeReplayInit:      {Warning, false, "A copy runs the original's init containers, which nothing answers but the responder.", "Take those that migrate or wait for a database out of the pod, or let them fail without harm."},
	CodeReplayHosts:     {Info, false, "The environment of a copy names hosts to which only its proxy variables lead it through the responder.", "Set routing: hostalias if the program reads no proxy variables."},
	CodeReplayNode:      {Warning, false, "A copy reaches its node as the original does, by a directory of it, as a privileged process or by a capability: no NetworkPolicy stops what it does there.", "Take that out of the pod if it can do without."},
	CodeReplayAPI:       {Info, false, "A copy has a token for the Kubernetes API, from which the NetworkPolicy keeps it.", ""},
	CodeReplayProxy:     {Info, false, "The responder takes the place of a proxy that the application has.", ""},
	CodeReplayLeftOut:   {Info, false, "A copy is made without fields of the original's pods by which it would take something from those, or never become ready.", ""},
	CodeReplayEmptied:   {Info, false, "A copy has an empty volume in place of one that it would write into.", ""},
	CodeReplayKind:      {Error, false, "Only a Deployment can be copied for a replay.", "Set tapedeck.dev/replay: in-place in a test cluster."},
	CodeReplayShared:    {Error, false, "A workload that is replayed to in place has another replay, too.", "Remove one of the two, or have both use copies."},
	CodeReplaySidecar:   {Error, false, "A workload that is to be replayed to in place has no sidecar.", "Annotate it with sidecar.speedscale.com/inject: \"true\"."},
	CodeReplayHost:      {Error, false, "A workload whose pods are in their nodes' network can't be copied, since no NetworkPolicy holds for those.", "Take hostNetwork out."},
	CodeReplayVolume:    {Error, false, "A copy would write into the data of the original through a volume.", "Mount the volume read-only, or set the option replayVolumes to emptyDir."},
	CodeReplayPorts:     {Error, false, "Nothing says at which port the workload of a replay takes requests.", "Render its Service together with it, or declare a containerPort."},
	CodeReplaySelected:  {Error, false, "A Service of the input would lead to a copy, or the Service of a replay to pods of production.", "The result names the labels."},
}
