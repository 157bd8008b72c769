package recording

import "time"

// MsgType is the msgType of every exchange.
const MsgType = "rrpair"

// Directions of an exchange, seen from the application in the pod.
const (
	In  = "IN"
	Out = "OUT"
)

// Senders of a [Message].
const (
	Client = "client"
	Server = "server"
)

// Values of L7Protocol.
const (
	HTTP1     = "http"
	HTTPS     = "https"
	GRPC      = "grpc"
	WebSocket = "websocket"
	TCP       = "tcp"
)

// Undefined is the value of unknown names, as in the ecosystem's records.
const Undefined = "undefined"

// Exchange is one record, an RRPair. Field names, types and the omission of
// empty fields follow records that the ecosystem's own tools wrote: 64-bit
// counts are strings and byte strings are base64, as in protobuf's JSON
// mapping. Only Tapedeck has `grpc`, `websocket` and `tcp`. An exchange of
// plain HTTP uses none of them. Further facts are in tags.
type Exchange struct {
	// Always `rrpair`.
	MsgType string `json:"msgType"`
	// Name of the workload at which the record was captured.
	Resource string `json:"resource,omitempty"`
	// When the request's first byte was seen: RFC 3339, UTC, nanoseconds.
	TS time.Time `json:"ts"`
	// Whether the client used TLS.
	IsTLS bool `json:"isTls,omitempty"`
	// `http`, `https`, `grpc`, `websocket` or `tcp`.
	L7Protocol string `json:"l7protocol,omitempty"`
	// Milliseconds from the request's first byte to the answer's last.
	Duration int64 `json:"duration"`
	// Protocol that TLS negotiated, such as `h2`.
	ALPN string `json:"alpn,omitempty"`
	// Strings by name; see the table of tags.
	Tags Tags `json:"tags,omitempty"`
	// Identity: 16 bytes, base64.
	UUID UUID `json:"uuid"`
	// `IN` to the workload or `OUT` of it.
	Direction string `json:"direction"`
	// Name of the cluster; `undefined` if unknown.
	Cluster string `json:"cluster,omitempty"`
	// Namespace of the workload; `undefined` if unknown.
	Namespace string `json:"namespace,omitempty"`
	// Name of the workload, like `resource`; `undefined` if unknown.
	Service string `json:"service,omitempty"`
	// Format of the payload, such as `JSON`.
	Tech string `json:"tech,omitempty"`
	// Server that the client asked for, as `host:port`.
	NetworkAddress string `json:"network_address,omitempty"`
	// HTTP's method.
	Command string `json:"command,omitempty"`
	// HTTP's path, without the query.
	Location string `json:"location,omitempty"`
	// HTTP's status code, in decimal; for gRPC, grpc-status.
	Status string `json:"status,omitempty"`
	// The HTTP request and its answer.
	HTTP *HTTP `json:"http,omitempty"`
	// Messages of a gRPC call; `http` then has its headers.
	GRPC *Conversation `json:"grpc,omitempty"`
	// Frames of a WebSocket; `http` then has the handshake.
	WebSocket *Conversation `json:"websocket,omitempty"`
	// Messages of a stream in an unknown protocol.
	TCP *Conversation `json:"tcp,omitempty"`
	// Values by which a mock matches, by name. Capture omits it, because it
	// can be computed from the other fields.
	Signature map[string][]byte `json:"signature,omitempty"`
	// The connection.
	NetInfo *NetInfo `json:"netinfo,omitempty"`
	// Members of other tools for which Exchange has no field. They are written after the others.
	Extra []Member `json:"-"`
}

// HTTP is a request and its answer.
type HTTP struct {
	// The request.
	Req HTTPRequest `json:"req"`
	// The answer; without `statusCode`, none was seen.
	Res HTTPResponse `json:"res"`
}

// HTTPRequest is an HTTP request.
type HTTPRequest struct {
	// Path, without the query.
	URL string `json:"url,omitempty"`
	// Request target as sent: path and query, absolute URL, authority or `*`.
	URI string `json:"uri,omitempty"`
	// `1.0`, `1.1` or `2.0`.
	Version string `json:"version,omitempty"`
	// Method.
	Method string `json:"method,omitempty"`
	// Host header or `:authority`.
	Host string `json:"host,omitempty"`
	// Values by name, names in canonical form, in order of first appearance; trailers come last.
	Headers Headers `json:"headers,omitempty"`
	// Body without its framing, still compressed if it was sent so.
	Body []byte `json:"bodyBase64,omitempty"`
	// As in the exchange.
	Extra []Member `json:"-"`
	// Size of the body that [Decoder.Light] left out.
	BodyLeft int64 `json:"-"`
}

// UnknownName replaces the name of a header if the real name was in an HTTP/2 header block
// that was lost. Its values are empty. No real header can have this name.
const UnknownName = ":unknown"

// HTTPResponse is an HTTP answer.
type HTTPResponse struct {
	// Content-Type header.
	ContentType string `json:"contentType,omitempty"`
	// Status code.
	StatusCode int `json:"statusCode,omitempty"`
	// Status code and reason, such as `200 OK`.
	StatusMessage string `json:"statusMessage,omitempty"`
	// As in the request.
	Headers Headers `json:"headers,omitempty"`
	// As in the request.
	Body []byte `json:"bodyBase64,omitempty"`
	// As in the exchange.
	Extra []Member `json:"-"`
	// As in the request.
	BodyLeft int64 `json:"-"`
}

// Conversation is a sequence of messages on one connection or stream. A long
// one is written in parts, each as a separate exchange.
type Conversation struct {
	// Number of this part, from 1.
	Part int `json:"part"`
	// Whether the conversation ended with this part.
	Last bool `json:"last,omitempty"`
	// Bytes that the client sent up to now, kept or not.
	ClientBytes int64 `json:"clientBytes,omitempty,string"`
	// Bytes that the server sent up to now, kept or not.
	ServerBytes int64 `json:"serverBytes,omitempty,string"`
	// In the order in which they were seen.
	Messages []Message `json:"messages,omitempty"`
}

// Message is one gRPC message, one WebSocket frame, or bytes of a stream that
// were seen together.
type Message struct {
	// `client` or `server`.
	From string `json:"from"`
	// Microseconds since the exchange's `ts`.
	At int64 `json:"at"`
	// WebSocket's opcode: `text`, `binary`, `continuation`, `close`, `ping` or `pong`.
	Type string `json:"type,omitempty"`
	// Whether further frames of the same message follow.
	More bool `json:"more,omitempty"`
	// Whether the data is compressed: gRPC's flag, WebSocket's permessage-deflate.
	Compressed bool `json:"compressed,omitempty"`
	// Size when sent, if the data was cut or left out.
	Size int64 `json:"size,omitempty"`
	// The payload.
	Data []byte `json:"dataBase64,omitempty"`
}

// NetInfo describes the connection on which an exchange was seen.
type NetInfo struct {
	// Connection's number in its process.
	ID string `json:"id,omitempty"`
	// When the connection was accepted.
	StartTime time.Time `json:"startTime"`
	// Side of the client.
	Downstream Endpoint `json:"downstream"`
	// Side of the server.
	Upstream Endpoint `json:"upstream"`

	prepared *[2][]byte // JSON up to Downstream's BytesSent, and of Upstream up to its BytesSent
}

// Endpoint is one end of a connection.
type Endpoint struct {
	// When this side was connected; absent if it never was.
	Established time.Time `json:"established,omitzero"`
	// Address.
	IPAddress string `json:"ipAddress,omitempty"`
	// Port.
	Port int `json:"port,omitempty"`
	// Name that was asked for.
	Hostname string `json:"hostname,omitempty"`
	// Bytes that this side had sent on the connection when the exchange ended.
	BytesSent int64 `json:"bytesSent,omitempty,string"`
}
