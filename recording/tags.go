package recording

// Names of tags. The first group is the ecosystem's; the second says what its
// fields have no place for.
const (
	TagCaptureMode      = "captureMode"
	TagAppLabel         = "k8sAppLabel"
	TagPodName          = "k8sAppPodName"
	TagPodNamespace     = "k8sAppPodNamespace"
	TagClusterName      = "k8sClusterName"
	TagProxyLocation    = "proxyLocation"
	TagProxyProtocol    = "proxyProtocol"
	TagProxyType        = "proxyType"
	TagProxyVersion     = "proxyVersion"
	TagReverseProxyHost = "reverseProxyHost"
	TagReverseProxyPort = "reverseProxyPort"
	TagSequence         = "sequence"
	TagSource           = "source"
	TagDecoded          = "decoded"

	TagVia              = "via"
	TagRequestEnd       = "requestEndUs"
	TagResponseStart    = "responseStartUs"
	TagRequestBodySize  = "requestBodySize"
	TagResponseBodySize = "responseBodySize"
	TagTruncated        = "truncated"
	TagRedacted         = "redacted"
	TagRequestSentSize  = "requestSentSize"
	TagResponseSentSize = "responseSentSize"
	TagIncomplete       = "incomplete"
	TagUndecoded        = "undecoded"
	TagParent           = "parent"
	TagParentBy         = "parentBy"
	TagPeer             = "peer"
	TagPeerBy           = "peerBy"
	TagReplay           = "replay"
	TagConversation     = "conversation"
	TagTunnel           = "tunnel"
	TagInterim          = "interim"
	TagReset            = "reset"
	TagPush             = "push"
	TagUpgrade          = "upgrade"
	TagProxied          = "proxied"
	TagFraming          = "framing"
	TagRequestTrailers  = "requestTrailers"
	TagResponseTrailers = "responseTrailers"
	TagPace             = "responsePace"
)

// Tags that a mock adds to what it records. The first two are the ecosystem's.
const (
	TagMatch   = "match"
	TagRefUUID = "refUuid"
	TagReason  = "reason"
	TagFault   = "fault"
)

// MockTagDocs lists the tags that a mock adds.
func MockTagDocs() []TagDoc {
	return []TagDoc{
		{TagMatch, "Verdict: `HIT`, `MISS` or `PASSTHROUGH`."},
		{TagRefUUID, "Of a hit: `uuid` of the recorded exchange that was served, in canonical form."},
		{TagReason, "Why there was no recorded answer, or none was given."},
		{TagFault, "Rules for faults that had a part in the answer."},
	}
}

// TagDoc describes one tag.
type TagDoc struct{ Name, Doc string }

// TagDocs lists every tag that capture writes.
func TagDocs() []TagDoc {
	return []TagDoc{
		{TagCaptureMode, "`proxy`."},
		{TagAppLabel, "The workload's name, as in `service`."},
		{TagPodName, "Name of the pod."},
		{TagPodNamespace, "Namespace of the pod."},
		{TagClusterName, "Name of the cluster."},
		{TagProxyLocation, "`in` or `out`, as `direction`."},
		{TagProxyProtocol, "What the proxy's halves spoke, as `tcp:http`."},
		{TagProxyType, "`reverse`, `forward` or `dual`."},
		{TagProxyVersion, "Version of the recorder."},
		{TagReverseProxyHost, "Host of the application."},
		{TagReverseProxyPort, "Port of the application. Where several are captured, inbound: the one that was called."},
		{TagSequence, "Number of the record in its process, from 1. A missing one was dropped."},
		{TagSource, "Name of the recorder: `tapedeck`."},
		{TagDecoded, "Which bodies are stored without the codings that their Content-Encoding names: `request`, `response`, or `true` for both. The header stays as it was sent, and so does Content-Length."},
		{TagVia, "How the client reached the proxy: `tcp`, `http`, `connect`, `socks4`, `socks5`, or `hosts-file` of a client that knows of no proxy."},
		{TagRequestEnd, "Microseconds from `ts` to the request's last byte."},
		{TagResponseStart, "Microseconds from `ts` to the answer's first byte."},
		{TagRequestBodySize, "Bytes that the request's body had, if it was cut."},
		{TagResponseBodySize, "Bytes that the answer's body had, if it was cut."},
		{TagPace, "When the answer's body went on after a pause of 5 ms or more: pairs of the bytes that came before and the microseconds from `ts`, as `0:1800,64:1002000`. At most 512."},
		{TagRequestTrailers, "Names of the request's trailers that no field `Trailer` announces, separated by commas."},
		{TagResponseTrailers, "The same of the answer. gRPC's own are not listed."},
		{TagTruncated, "`true` if a body or message was cut, or content left out, by a limit."},
		{TagRequestSentSize, "Bytes that the request's body had, if redaction changed its size and it was not cut."},
		{TagResponseSentSize, "Bytes that the answer's body had, if redaction changed its size and it was not cut."},
		{TagRedacted, "Where secrets were replaced, as a list of [places](#places)."},
		{TagIncomplete, "What is missing: `no_answer`, `cut` (the connection ended within a message, or capture was turned off), `reset` (one side gave the stream up), `bytes_lost` (the tap was full), `headers_lost` (names of headers were in bytes that were lost before; such headers are called `:unknown`), `malformed` (what followed could not be parsed), `no_memory` (what followed could not be put together) or, in what a reader put together, `parts_missing` (parts of the conversation are not in the recording)."},
		{TagUndecoded, "Decoder that gave the connection up, and why. Its further bytes, up to a place from which HTTP/1 or HTTP/2 can be decoded again, are counted in a record of their own, and not kept: they may hold secrets."},
		{TagParent, "Outbound: `uuid` of the inbound exchange that caused this one, in canonical form; `unknown`; or `ambiguous`, if several might have."},
		{TagParentBy, "Header by which the parent was found: `traceparent`, `b3`, `x-b3-traceid` or `x-request-id`."},
		{TagPeer, "Inbound: who asked, a SPIFFE identity or an address; or `unknown`."},
		{TagPeerBy, "How the peer is known: `x-forwarded-client-cert`, `x-forwarded-for`, `address` or `unknown`."},
		{TagReplay, "ID of the replay's run that sent the request, or, outbound, the request that caused this one: the value of the header `Tapedeck-Replay`."},
		{TagConversation, "`uuid` of part 1, in canonical form, on each part of a conversation that has several."},
		{TagTunnel, "`uuid` of the CONNECT that opened the tunnel in which this was said, in canonical form."},
		{TagInterim, "Status of the last interim answer, as `100` or `103`."},
		{TagReset, "Who gave the HTTP/2 stream up, and the code, as `client: CANCEL`."},
		{TagPush, "`true` if the server pushed the answer unasked."},
		{TagUpgrade, "`h2c` if the request asked to go on in HTTP/2, and was answered in it."},
		{TagProxied, "Address and port of the client, as the header of the PROXY protocol has them that the connection began with."},
		{TagFraming, "`both` if the request had Content-Length and Transfer-Encoding. The record follows the latter. What the client sent behind it before the answer is not decoded: it may be a part of the request or another one."},
	}
}
