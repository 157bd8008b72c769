// Package traffic sends real traffic through the real sidecar: the built
// `tapedeck proxy`, with an environment like the renderer's, between clients and
// servers of other projects.
//
//	client ─▶ tee ─▶ 4143 ┐ tapedeck ┌─▶ tee ─▶ application
//	client ─▶ tee ─▶ 4140 ┘    │     └─▶ tee ─▶ dependency
//	                       recording
//
// One file shows one kind of traffic. Each test asserts that the traffic works,
// that the tees on both sides saw the same bytes, and what the recording has.
//
//	modes_test.go      every PROXY_TYPE and PROXY_PROTOCOL
//	chain_test.go      a corporate proxy on the way out
//	grpc_test.go       all four kinds of call, in every way through the sidecar
//	h2c_test.go        HTTP/2 without TLS, by prior knowledge and by upgrade
//	h2spec_test.go     conformance tests of HTTP/2, including everything that it forbids
//	tlsout_test.go     TLS that is decrypted, and TLS that must not be
//	websocket_test.go  messages, fragments, compression, control frames
//	http_test.go       HTTP/1.0 and 1.1, as curl and raw sockets speak it
//	forward_test.go    requests in absolute-form, on one connection
//	clients_test.go    habits of single clients: https in absolute-form, long heads,
//	                   asking a metadata server through a proxy
//	hosts_test.go      clients without proxy support, captured by a hosts file
//	mariadb_test.go    a protocol in which the server speaks first
//	smtp_test.go       another one, with STARTTLS
//	tlsapp_test.go     an application that speaks TLS itself
//	ipv6_test.go       both halves over ::1
//	stream_test.go     10 GiB in one stream
//	stalled_test.go    clients and servers that fall silent halfway
//	idle_test.go       10,000 idle connections
//	check_test.go      the findings of `tapedeck check` about a sidecar, as things break and are repaired
//	wire_test.go       recorded calls and WebSockets, sent again
//
// The tests run in a network namespace that they make, because the ports of the sidecar are fixed.
// This needs root, or a kernel that lets users create namespaces.
package traffic
