// Package front accepts connections from the mock's clients, in all the ways in which clients
// reach dependencies through the sidecar. One port accepts
//
//	GET http://host/path      a request to a forward proxy, in absolute-form
//	CONNECT host:port         a tunnel
//	SOCKS4, SOCKS4a, SOCKS5   a tunnel
//	GET /path, Host: host     a request in origin-form, by its Host or authority
//	TLS                       any of these inside TLS
//
// Each further port ([Map]) stands for one host, for clients that can't use a proxy. In a
// tunnel, the client's first bytes decide:
//
//	ClientHello ──▶ TLS ends here, with a certificate for the name ──▶ look again
//	PRI * HTTP/2.0, GET /… HTTP/1.1 ──▶ net/http's server ──▶ Config.HTTP
//	anything else, or silence before a server that speaks first ──▶ Config.Stream
//
// The package never connects to a host or resolves a name. Handlers find the name that the client
// asked for in the [Conn].
//
// It imports contract, proxy/ca, proxy/intercept, proxy/plainhttp, proxy/pump,
// proxy/socks, x/net's http2 and the standard library. It logs to the logger in
// [Config].
package front
