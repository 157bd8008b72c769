// Package front lets clients reach a responder as they reach dependencies through
// the sidecar. On one port it takes
//
//	GET http://host/path      a request to a forward proxy, in absolute-form
//	CONNECT host:port         a tunnel
//	SOCKS4, SOCKS4a, SOCKS5   a tunnel
//	GET /path, Host: host     a request in origin-form, by its Host or authority
//	TLS                       any of these inside TLS
//
// and on further ports ([Map]) connections of clients that know no proxy, to a host
// that the port stands for. In a tunnel it looks at the client's first bytes:
//
//	ClientHello ──▶ TLS ends here, with a leaf for the name ──▶ look again
//	PRI * HTTP/2.0, GET /… HTTP/1.1 ──▶ net/http's server ──▶ Config.HTTP
//	anything else, or silence before a server that speaks first ──▶ Config.Stream
//
// It connects to nobody and looks no name up: what a client asks for is only a name,
// which handlers find in the [Conn].
//
// The package imports contract, proxy/ca, proxy/intercept, proxy/plainhttp, proxy/pump,
// proxy/socks, x/net's http2 and the standard library. It logs to the logger that it is
// given.
package front
