package recording

// Names of tags. The first group comes from the ecosystem. The second group has facts for which the
// ecosystem's records have no field.
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

// Tags that a mock adds to its records. The first two come from the ecosystem.
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
		{TagRefUUID, "For a hit: `uuid` of the recorded exchange that was served, in canonical form."},
		{TagReason, "Why there was no recorded answer, or why it was not served."},
		{TagFault, "Fault rules that affected the answer."},
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
		{TagProxyLocation, "`in` or `out`, like `direction`."},
		{TagProxyProtocol, "Protocols of the proxy's two sides, such as `tcp:http`."},
		{TagProxyType, "`reverse`, `forward` or `dual`."},
		{TagProxyVersion, "Version of the recorder."},
		{TagReverseProxyHost, "Host of the application."},
		{TagReverseProxyPort, "Port of the application. If several ports are captured, the one that an inbound request was for."},
		{TagSequence, "Number of the record in its process, from 1. A missing one was dropped."},
		{TagSource, "Name of the recorder: `tapedeck`."},
		{TagDecoded, "Which bodies are stored without the codings that their Content-Encoding names: `request`, `response`, or `true` for both. The header remains as it was sent, and so does Content-Length."},
		{TagVia, "How the client reached the proxy: `tcp`, `http`, `connect`, `socks4`, `socks5`, or `hosts-file` for a client that does not use the proxy itself."},
		{TagRequestEnd, "Microseconds from `ts` to the request's last byte."},
		{TagResponseStart, "Microseconds from `ts` to the answer's first byte."},
		{TagRequestBodySize, "Bytes that the request's body had, if it was cut."},
		{TagResponseBodySize, "Bytes that the answer's body had, if it was cut."},
		{TagPace, "Pauses of 5 ms or more in the answer's body: pairs of the bytes before the pause and the microseconds from `ts` to its end, such as `0:1800,64:1002000`. At most 512."},
		{TagRequestTrailers, "Names of the request's trailers that are not announced in the field `Trailer`, separated by commas."},
		{TagResponseTrailers, "The same for the answer, without gRPC's own trailers."},
		{TagTruncated, "`true` if a body or message was cut, or content left out, by a limit."},
		{TagRequestSentSize, "Bytes that the request's body had, if redaction changed its size and it was not cut."},
		{TagResponseSentSize, "Bytes that the answer's body had, if redaction changed its size and it was not cut."},
		{TagRedacted, "Where secrets were replaced, as a list of [places](#places)."},
		{TagIncomplete, "What is missing: `no_answer`, `cut` (the connection ended within a message, or capture was turned off), `reset` (one side cancelled the stream), `bytes_lost` (the tap was full), `headers_lost` (names of headers were in bytes that were lost before; such headers are called `:unknown`), `malformed` (the following bytes could not be parsed), `no_memory` (no memory was left to assemble the following bytes) or, in a conversation that a reader joined, `parts_missing` (parts of the conversation are not in the recording)."},
		{TagUndecoded, "Decoder that gave up on the connection, and why. A separate record counts the following bytes, up to the point from which HTTP/1 or HTTP/2 can be decoded again. The bytes are not kept, because they may hold secrets."},
		{TagParent, "Outbound: `uuid` of the inbound exchange that caused this one, in canonical form; `unknown`; or `ambiguous`, if several might have."},
		{TagParentBy, "Header that identified the parent: `traceparent`, `b3`, `x-b3-traceid` or `x-request-id`."},
		{TagPeer, "Inbound: the caller, as a SPIFFE identity or an address; or `unknown`."},
		{TagPeerBy, "Source of the tag `peer`: `x-forwarded-client-cert`, `x-forwarded-for`, `address` or `unknown`."},
		{TagReplay, "ID of the replay run that sent the request, or, outbound, the request that caused this one: the value of the header `Tapedeck-Replay`."},
		{TagConversation, "`uuid` of part 1, in canonical form; on each part of a conversation with several parts."},
		{TagTunnel, "`uuid` of the CONNECT that opened the tunnel of this exchange, in canonical form."},
		{TagInterim, "Status of the last interim answer, such as `100` or `103`."},
		{TagReset, "Side that cancelled the HTTP/2 stream, and the code, such as `client: CANCEL`."},
		{TagPush, "`true` if the server pushed the answer without a request."},
		{TagUpgrade, "`h2c` if the request asked for an upgrade to HTTP/2 and the answer came in HTTP/2."},
		{TagProxied, "Address and port of the client, from the PROXY protocol header at the beginning of the connection."},
		{TagFraming, "`both` if the request had Content-Length and Transfer-Encoding. The record follows Transfer-Encoding. Bytes that the client sent after the request and before the answer are not decoded, because they may be a part of it or another request."},
	}
}
